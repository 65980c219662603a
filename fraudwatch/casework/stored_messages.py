"""Messages that the ledger holds, in the order of the stream: account state is made of them again.

A restart reads up to a million of them, so they are read past the ORM and in binary form: a tenth
of the time, most of which went into bytes written as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework.archive_rows import archives_with, in_order
from fraudwatch.casework.ledger_tables import hold, within_offsets
from fraudwatch.casework.models import LedgerRow

_NAMES = ("offset", "account_id", "payload")
_COLUMNS = (LedgerRow.offset, LedgerRow.account_id, LedgerRow.payload)


class StoredMessage(NamedTuple):
    """A transaction's message as it came, where it was, and whose it is."""

    offset: int
    account_id: str
    payload: bytes


def replay(
    session: Session, partition: int, start: int, end: int, chunk: int = 20_000
) -> Iterator[list[StoredMessage]]:
    """The messages of a partition with start <= offset < end, in offset order, in chunks.

    Archives that were deleted for their age are left out: accounts forget what they held. Raises
    `ArchiveError` where one is damaged or missing.
    """
    hold(session)
    archives = [
        (first, archived)
        for first, archived in archives_with(session, partition, start, end)
        if archived.deleted_at is None
    ]
    online = _online(session, partition, start, end, chunk)
    if not archives:
        yield from online
        return
    single = (message for messages in online for message in messages)
    rows = in_order(archives, single, partition, start, end, _NAMES)
    while piece := [StoredMessage(*row) for row in islice(rows, chunk)]:
        yield piece


def _online(
    session: Session, partition: int, start: int, end: int, chunk: int
) -> Iterator[list[StoredMessage]]:
    driver = session.connection().connection.driver_connection
    if driver is None:
        raise RuntimeError("the session has no connection")
    at = start
    while at < end:
        wanted = (
            select(*_COLUMNS)
            .where(within_offsets(session, partition, at, end))
            .order_by(LedgerRow.offset)
            .limit(chunk)
        ).compile(session.get_bind(), compile_kwargs={"render_postcompile": True})
        with driver.cursor(binary=True) as cursor:
            found = cursor.execute(str(wanted), wanted.params).fetchall()
        if not found:
            return
        yield list(map(StoredMessage._make, found))
        at = found[-1][0] + 1
