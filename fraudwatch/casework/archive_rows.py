"""Rows that have gone into the archive, as readers of the ledger see them."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import archive_files
from fraudwatch.casework.archive_files import Archived
from fraudwatch.casework.models import ArchivedOffsets, LedgerArchive
from fraudwatch.errors import ArchiveError

_COLUMNS = (
    LedgerArchive.id,
    LedgerArchive.first_day,
    LedgerArchive.until_day,
    LedgerArchive.path,
    LedgerArchive.size,
    LedgerArchive.sha256,
    LedgerArchive.rows,
    LedgerArchive.deleted_at,
)


def read_archives(session: Session) -> list[Archived]:
    """All archived tables, the oldest first; also those whose files were deleted for their age."""
    found = session.execute(select(*_COLUMNS).order_by(LedgerArchive.first_day))
    return [_archived(row) for row in found]


def _archived(row: Any) -> Archived:
    return Archived(
        row.id,
        row.first_day,
        row.until_day,
        Path(row.path),
        row.size,
        row.sha256,
        row.rows,
        row.deleted_at,
    )


def archives_with(
    session: Session, partition: int, start: int, end: int
) -> list[tuple[int, Archived]]:
    """The archives that may hold rows of a partition with start <= offset < end, each with its
    first offset there, in the order of these."""
    found = session.execute(
        select(ArchivedOffsets.first_offset, *_COLUMNS)
        .join(LedgerArchive, LedgerArchive.id == ArchivedOffsets.archive_id)
        .where(
            ArchivedOffsets.partition == partition,
            ArchivedOffsets.first_offset < end,
            ArchivedOffsets.next_offset > start,
        )
        .order_by(ArchivedOffsets.first_offset)
    )
    return [(row.first_offset, _archived(row)) for row in found]


def require_sound(session: Session) -> None:
    """Raise `ArchiveError` naming every file that is missing or damaged; reads all of each.

    For who needs all of them and would rather find out before than in the midst.
    """
    archives = [one for one in read_archives(session) if one.deleted_at is None]
    faults = [fault for fault in map(archive_files.fault_of, archives) if fault is not None]
    if faults:
        raise ArchiveError("; ".join(faults))


def in_order(
    archives: Sequence[tuple[int, Archived]],
    online: Iterator[Any],
    partition: int,
    start: int,
    end: int,
    names: Sequence[str],
) -> Iterator[Any]:
    """Rows of the archives and those of the database (`online`), together in offset order.

    A file is opened when its first offset is reached, so that few are open at a time.
    """
    waiting = deque(archives)
    ahead: list[tuple[int, int, Any, Iterator[Any]]] = []
    numbers = count()

    def take(rows: Iterator[Any]) -> None:
        row = next(rows, None)
        if row is not None:
            heapq.heappush(ahead, (row.offset, next(numbers), row, rows))

    take(online)
    while ahead or waiting:
        while waiting and (not ahead or waiting[0][0] <= ahead[0][0]):
            _, archived = waiting.popleft()
            take(archive_files.rows(archived, partition, start, end, names))
        if ahead:
            _, _, row, rows = heapq.heappop(ahead)
            yield row
            take(rows)


def between(
    session: Session, since: datetime, until: datetime, names: Sequence[str]
) -> Iterator[list[tuple[Any, ...]]]:
    """Archived rows with since <= event_time < until that were not deleted, in pieces, in no order:
    values as named."""
    for archived in read_archives(session):
        if archived.deleted_at is not None:
            continue
        if archived.first <= until.date() and archived.until >= since.date():
            for group in archive_files.groups(archived, [*{"event_time", *names}], None):
                moment = group["event_time"]
                found = group.filter(
                    pc.and_(pc.greater_equal(moment, since), pc.less(moment, until))
                )
                yield list(zip(*(found[name].to_pylist() for name in names), strict=True))
