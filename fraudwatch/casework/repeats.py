"""Transactions that come twice: decided once, and accounted for.

An id is looked for in the hours around the event time. The same transaction is always found, for
its event time is the same. Other content under the same id is found where the event times lie no
farther apart than `CONFLICT_HOURS`; farther apart, it counts as another transaction. Days in the
archive are closed: no transaction of theirs is decided any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import numpy as np
from psycopg.errors import UndefinedTable
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from fraudwatch.casework import ledger
from fraudwatch.casework.kept_connections import look_up_by_index
from fraudwatch.casework.ledger import EPOCH_DAY
from fraudwatch.casework.ledger_tables import LedgerTable, LedgerTables, midnight
from fraudwatch.domain.transaction import Transaction, content_equal
from streams.arrivals import Arrivals

CONFLICT_HOURS = 1
CONFLICT_WINDOW = timedelta(hours=CONFLICT_HOURS)
_DAY = 86_400


def reject_repeats(
    session: Session, arrivals: Sequence[Arrivals[Transaction]], tables: LedgerTables
) -> None:
    """Put aside transactions whose id was decided before, or comes twice in these batches.

    The same content is a `duplicate`, harmless; other content under a known id is a `conflict`.
    A day in the archive is closed: what comes for it is a `closed_day`, repeated or not.
    """
    transactions = [t for arrived in arrivals for t in arrived.items]
    if not transactions:
        return
    try:
        known = _known(session, transactions, tables)
    except ProgrammingError as error:
        if not isinstance(error.orig, UndefinedTable):
            raise
        # A table went into the archive since we read the list of them; perhaps the next one does
        # while we look again.
        session.rollback()
        tables.forget()
        reject_repeats(session, arrivals, tables)
        return
    days = {transaction.event_time.date() for transaction in transactions}
    closed = {day for day in days if tables.is_closed(day)}
    for arrived in arrivals:
        repeats = set()
        for index, transaction in enumerate(arrived.items):
            if closed and transaction.event_time.date() in closed:
                arrived.reject(index, "closed_day", "event_time")
                repeats.add(index)
                continue
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


def _known(
    session: Session, transactions: Sequence[Transaction], tables: LedgerTables
) -> dict[str, list[Transaction]]:
    """What the ledger may hold of these transactions, by id."""
    known: dict[str, list[Transaction]] = {}
    look_up_by_index(session)
    for table, ids, around in _where_to_look(transactions, tables):
        for payload in ledger.stored_payloads(session, table, ids, around):
            found = ledger.stored(payload)
            known.setdefault(found.transaction_id, []).append(found)
    return known


def _near(one: Transaction, other: Transaction) -> bool:
    return abs(one.event_time - other.event_time) <= CONFLICT_WINDOW


def _where_to_look(
    transactions: Sequence[Transaction], tables: LedgerTables
) -> Iterator[tuple[LedgerTable, list[str], list[int]]]:
    """Tables, the ids to look for there, and the hour of each: at least all that may be near."""
    ids = [transaction.transaction_id for transaction in transactions]
    seconds = np.fromiter((t.event_time.timestamp() for t in transactions), np.float64, len(ids))
    hours = (seconds // 3600).astype(np.int64)
    first, last = (hours - CONFLICT_HOURS) * 3600, (hours + CONFLICT_HOURS + 1) * 3600
    days = np.unique(np.concatenate([first, last]) // _DAY)
    for table in tables.known([date.fromordinal(EPOCH_DAY + int(day)) for day in days]):
        begin, end = midnight(table.first).timestamp(), midnight(table.until).timestamp()
        rows = np.flatnonzero((last > begin) & (first < end)).tolist()
        chosen = ids if len(rows) == len(ids) else [ids[row] for row in rows]
        yield table, chosen, hours[rows].tolist()
