"""Old tables of the ledger become files. Every step can be cut short and run again.

For each table (`archive`): its rows are written to a temporary name in one snapshot, read back and
compared, and the manifest is written. Then one transaction locks the table against writers, counts
again, keeps the rows that went to people, notes the archive and drops the table. Until it commits
the table is there and the file is a spare copy, which the next run replaces; after it, the file is
what counts. A table without rows is dropped and leaves no file: its days stay open, as those are
that never had a table.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import archive_files
from fraudwatch.casework.archive_files import SCHEMA, Archived, Spans, disk_errors
from fraudwatch.casework.archive_rows import read_archives
from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.ledger_tables import LedgerTable, newest_table, read_tables, spans_of
from fraudwatch.casework.models import ArchivedOffsets, LedgerArchive, StreamOffset
from fraudwatch.errors import Conflict, Invalid, Unavailable

# Training looks at how long truth took and at merchants: these days are read in the database.
LEAST_DAYS = 120
_CHUNK = 10_000
_TRIES, _PAUSE = 20, 0.5
# Shorter than the time after which the server looks for deadlocks: who gives way is the archive.
_LOCK_TIMEOUT = "800ms"
_NAMES = ", ".join(f'"{name}"' for name in SCHEMA.names)

Progress = Callable[[str], None]  # told each step that has been done


@dataclass(frozen=True, slots=True)
class TableOutcome:
    """What became of a table: a file (`archived`), it stays for a `reason`, or neither: it was
    empty and is dropped."""

    table: LedgerTable
    archived: Archived | None = None
    reason: str = ""

    @property
    def dropped(self) -> bool:
        """It was empty, and is no more."""
        return self.archived is None and not self.reason


def archive(
    sessions: sessionmaker[Session],
    folder: Path,
    topic: str,
    before: date,
    *,
    tell: Callable[[TableOutcome], None] = lambda _outcome: None,
    progress: Progress = lambda _step: None,
) -> tuple[TableOutcome, ...]:
    """Archive every table whose days all lie before that one; `tell` hears of each at once.

    Raises `Invalid` when fewer than `LEAST_DAYS` before the newest day would stay, `Conflict` when
    another run is at it, `Unavailable` when readers hold the ledger for long or the disk is full,
    `ArchiveError` when a file cannot be read back: the table at hand stays then, whole, and those
    told of before are done.
    """
    with connect_errors(), sessions() as session:
        newest = newest_table(session)
        latest = newest.first - timedelta(days=LEAST_DAYS) if newest else date.min
        if before > latest:
            raise Invalid(
                f"{LEAST_DAYS} days before the newest must stay in the database: nothing after "
                f"{latest} can be archived"
            )
        tables = [table for table in read_tables(session) if table.until <= before]
    outcomes: list[TableOutcome] = []
    with alone(folder):
        for table in tables:
            with disk_errors(folder):
                outcomes.append(_archive(sessions, folder, topic, table, progress))
            tell(outcomes[-1])
    return tuple(outcomes)


def delete_old(sessions: sessionmaker[Session], folder: Path, until: date, now: datetime) -> int:
    """Delete the files whose days all lie before `until`; how many. Their counts and offsets stay.

    The database is told first: what a run that was cut short left is deleted by the next.
    """
    with alone(folder):
        with connect_errors(), sessions.begin() as session:
            marked = session.scalars(
                update(LedgerArchive)
                .where(LedgerArchive.until_day <= until, LedgerArchive.deleted_at.is_(None))
                .values(deleted_at=now)
                .returning(LedgerArchive.id)
            ).all()
        with connect_errors(), sessions() as session:
            gone = [one for one in read_archives(session) if one.deleted_at is not None]
        with disk_errors(folder):
            for archived in gone:
                archive_files.remove(archived.path)
    return len(marked)


def _archive(
    sessions: sessionmaker[Session],
    folder: Path,
    topic: str,
    table: LedgerTable,
    progress: Progress,
) -> TableOutcome:
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE)
        exported = _export(sessions, folder, topic, table, progress)
        if isinstance(exported, str):
            return TableOutcome(table, reason=exported)
        archived, spans = exported
        if _drop(sessions, table, archived, spans, progress):
            return TableOutcome(table, archived)
    return TableOutcome(table, reason="it is being written to")


def _export(
    sessions: sessionmaker[Session],
    folder: Path,
    topic: str,
    table: LedgerTable,
    progress: Progress,
) -> tuple[Archived | None, dict[int, Spans]] | str:
    """Write a table's file and manifest, neither for one without rows; or why it has to stay."""
    path = folder.resolve() / f"{table.first}-{table.id}.parquet"
    with connect_errors(), sessions() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        spans = spans_of(session, table.name)
        if not spans:
            progress("empty")
            return None, spans
        published = {
            row.partition: row.published_offset
            for row in session.execute(
                select(StreamOffset.partition, StreamOffset.published_offset).where(
                    StreamOffset.topic == topic
                )
            )
        }
        if any(held[-1, 1] > published.get(partition, 0) for partition, held in spans.items()):
            return "decisions of it are not published yet"
        with closing(_rows(session, table)) as rows:
            archive_files.write_part(path, rows)
        progress("written")
        with closing(_rows(session, table)) as rows:
            archive_files.require_equal(path, rows)
        progress("compared")
    size, sha256 = archive_files.finish(path)
    count = sum(int((held[:, 1] - held[:, 0]).sum()) for held in spans.values())
    archived = Archived(table.id, table.first, table.until, path, size, sha256, count)
    progress("named")
    archive_files.write_manifest(archived, spans)
    progress("manifest")
    return archived, spans


def _rows(session: Session, table: LedgerTable) -> Generator[pa.Table, None, None]:
    with session.execute(
        text(f'SELECT {_NAMES} FROM "{table.name}" ORDER BY partition, "offset"'),  # noqa: S608
        execution_options={"yield_per": _CHUNK},
    ) as found:
        for rows in found.partitions(_CHUNK):
            yield archive_files.table_of(rows)


def _drop(
    sessions: sessionmaker[Session],
    table: LedgerTable,
    archived: Archived | None,
    spans: dict[int, Spans],
    progress: Progress,
) -> bool:
    """Let the file take the table's place; False when rows have come meanwhile."""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE)
        try:
            with connect_errors(), sessions.begin() as session:
                return _swap(session, table, archived, spans, progress)
        except Unavailable as error:
            if attempt == _TRIES - 1 or not _is_lock(error):
                raise
    return False


def _is_lock(error: Unavailable) -> bool:
    return getattr(getattr(error.__cause__, "orig", None), "sqlstate", "") in ("55P03", "40P01")


def _swap(
    session: Session,
    table: LedgerTable,
    archived: Archived | None,
    spans: dict[int, Spans],
    progress: Progress,
) -> bool:
    session.execute(text("SET LOCAL statement_timeout = 0"))
    session.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
    session.execute(text(f'LOCK TABLE "{table.name}" IN SHARE MODE'))
    rows = session.scalar(text(f'SELECT count(*) FROM "{table.name}"'))  # noqa: S608
    if rows != (archived.rows if archived is not None else 0):
        return False
    if archived is not None:
        _note(session, table, archived, spans)
    session.execute(text("LOCK TABLE ledger_tables IN ACCESS EXCLUSIVE MODE"))
    session.execute(text("DELETE FROM ledger_tables WHERE id = :id"), {"id": table.id})
    session.execute(text(f'ALTER TABLE ledger DETACH PARTITION "{table.name}"'))
    session.execute(text(f'DROP TABLE "{table.name}"'))
    progress("dropped")
    return True


def _note(
    session: Session, table: LedgerTable, archived: Archived, spans: dict[int, Spans]
) -> None:
    """Keep the rows that went to people, and what the file holds."""
    session.execute(
        text(
            f'INSERT INTO ledger_kept ({_NAMES}) SELECT {_NAMES} FROM "{table.name}" l'  # noqa: S608
            " WHERE EXISTS (SELECT FROM alerts a WHERE a.transaction_id = l.transaction_id"
            " AND a.event_time = l.event_time)"
        )
    )
    session.execute(
        insert(LedgerArchive).values(
            id=archived.id,
            first_day=archived.first,
            until_day=archived.until,
            path=str(archived.path),
            size=archived.size,
            sha256=archived.sha256,
            rows=archived.rows,
        )
    )
    session.execute(insert(ArchivedOffsets), [_offsets(archived, *one) for one in spans.items()])


def _offsets(archived: Archived, partition: int, held: Spans) -> dict[str, Any]:
    return {
        "archive_id": archived.id,
        "partition": partition,
        "first_offset": int(held[0, 0]),
        "next_offset": int(held[-1, 1]),
        "rows": int((held[:, 1] - held[:, 0]).sum()),
        "spans": archive_files.pack_spans(held),
    }


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One run at a time writes into a folder; the lock goes with the process."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another run is writing to {folder}") from None
        yield
    finally:
        os.close(handle)
