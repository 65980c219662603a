"""Transactions that come twice: decided once, and accounted for.

An id is looked for on the days around the event time. The same transaction is always found, for
its event time is the same. Other content under the same id is found where the event times lie no
farther apart than `CONFLICT_HOURS`; farther apart, it counts as another transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from fraudwatch.casework import ledger
from fraudwatch.casework.ledger_tables import LedgerTable, LedgerTables, hours
from fraudwatch.domain.transaction import Transaction, content_equal
from streams.arrivals import Arrivals

CONFLICT_HOURS = 1
CONFLICT_WINDOW = timedelta(hours=CONFLICT_HOURS)
# A live batch lies in few hours: there all ids are looked for, without sorting them.
_FEW_HOURS = 4


def reject_repeats(
    session: Session, arrivals: Sequence[Arrivals[Transaction]], tables: LedgerTables
) -> None:
    """Put aside transactions whose id was decided before, or comes twice in these batches.

    The same content is a `duplicate`, harmless; other content under a known id is a `conflict`.
    """
    transactions = [t for arrived in arrivals for t in arrived.items]
    if not transactions:
        return
    known: dict[str, list[Transaction]] = {}
    for table, of_hours, ids in _where_to_look(transactions, tables):
        for payload in ledger.stored_payloads(session, table, of_hours, ids):
            found = ledger.stored(payload)
            known.setdefault(found.transaction_id, []).append(found)
    for arrived in arrivals:
        repeats = set()
        for index, transaction in enumerate(arrived.items):
            earlier = known.get(transaction.transaction_id)
            if earlier is None:
                known[transaction.transaction_id] = [transaction]
                continue
            near = [one for one in earlier if _near(one, transaction)]
            if near:
                same = any(content_equal(one, transaction) for one in near)
                arrived.reject(index, "duplicate" if same else "conflict", "transaction_id")
                repeats.add(index)
            else:
                earlier.append(transaction)
        arrived.drop(repeats)


def _near(one: Transaction, other: Transaction) -> bool:
    return abs(one.event_time - other.event_time) <= CONFLICT_WINDOW


def _where_to_look(
    transactions: Sequence[Transaction], tables: LedgerTables
) -> Iterator[tuple[LedgerTable, list[datetime], list[str]]]:
    """Tables, hours and the ids to look for there: at least all that may be near."""
    moments = [transaction.event_time for transaction in transactions]
    around = hours(min(moments) - CONFLICT_WINDOW, max(moments) + CONFLICT_WINDOW)
    if len(around) <= _FEW_HOURS:
        ids = [transaction.transaction_id for transaction in transactions]
        by_hour = dict.fromkeys(around, ids)
    else:
        by_hour = {}
        for transaction in transactions:
            moment = transaction.event_time
            for hour in hours(moment - CONFLICT_WINDOW, moment + CONFLICT_WINDOW):
                by_hour.setdefault(hour, []).append(transaction.transaction_id)
    tables.known({hour.date() for hour in by_hour})
    together: dict[tuple[LedgerTable, int], list[datetime]] = {}
    for hour, wanted in by_hour.items():
        table = tables.of(hour.date())
        if table is not None:
            together.setdefault((table, id(wanted)), []).append(hour)
    for (table, _), of_hours in together.items():
        yield table, of_hours, by_hour[of_hours[0]]
