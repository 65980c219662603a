"""Transactions that come twice: decided once, and accounted for.

An id is looked for on the days around the event time. The same transaction is always found, for
its event time is the same. Other content under the same id is found where the event times lie no
farther apart than `CONFLICT_HOURS`; farther apart, it counts as another transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy.orm import Session

from fraudwatch.casework import ledger
from fraudwatch.casework.ledger_tables import LedgerTable, LedgerTables
from fraudwatch.domain.transaction import Transaction, content_equal
from streams.arrivals import Arrivals

CONFLICT_HOURS = 6
_WINDOW = timedelta(hours=CONFLICT_HOURS)
# A live batch lies in one or two tables: there all ids are looked for, without sorting them.
_FEW_TABLES = 3


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
    for table, ids in _where_to_look(transactions, tables).items():
        for payload in ledger.stored_payloads(session, table, ids):
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
    return abs(one.event_time - other.event_time) <= _WINDOW


def _where_to_look(
    transactions: Sequence[Transaction], tables: LedgerTables
) -> dict[LedgerTable, list[str]]:
    """For each table the ids to look for there: at least all that may be near."""
    moments = [transaction.event_time for transaction in transactions]
    first, last = (min(moments) - _WINDOW).date(), (max(moments) + _WINDOW).date()
    if (last - first).days < _FEW_TABLES:
        days = [date.fromordinal(day) for day in range(first.toordinal(), last.toordinal() + 1)]
        ids = [transaction.transaction_id for transaction in transactions]
        return dict.fromkeys(tables.known(days), ids)
    around = [
        {(moment - _WINDOW).date(), moment.date(), (moment + _WINDOW).date()} for moment in moments
    ]
    known = tables.known(set().union(*around))
    found: dict[LedgerTable, list[str]] = {table: [] for table in known}
    for transaction, days_around in zip(transactions, around, strict=True):
        for table in {tables.of(day) for day in days_around}:
            if table is not None:
                found[table].append(transaction.transaction_id)
    return found
