"""The tables of the ledger: one for each UTC day of event time, coarser ones for long ago.

A transaction belongs to the day of its event time. The same transaction has the same event time
however often and late it comes, so it is looked for in one small table, whose indexes fit in
memory however many years there are.

Tables are made by the worker that meets a day without one, and for the next day ahead of time:
created first and attached then, in a transaction of their own, which stops neither readers nor
writers; one worker at a time. `ledger_offsets` names the offsets that each table may hold, so that
reading in the order of the stream opens few of them.

Who reads `ledger_tables` in a transaction may rely on these tables until it ends: archiving waits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Text,
    and_,
    any_,
    false,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.models import LedgerArchive, LedgerOffsets, LedgerRow, LedgerTableRow
from fraudwatch.clock import Clock

# Days longer ago than this share a table with their month: filling in decades makes few tables.
OWN_TABLE_DAYS = 400
_AHEAD = timedelta(days=1)
_LOCK = 6_402_117  # of the advisory lock under which tables are made
# Offsets are reserved for a table in steps: one small write for so many rows of a partition.
_RESERVED = 65_536
# What one query opens at most, where it is for us to choose: each table takes a few locks.
_MOST_TABLES = 64
_ERA = 14  # days that a look back takes together

Move = tuple[int, int, int]  # partition, first offset, offset after the last


@dataclass(frozen=True, slots=True, order=True)
class LedgerTable:
    """Holds the rows with first <= UTC day of event time < until."""

    first: date
    until: date
    id: int

    @property
    def name(self) -> str:
        return f"ledger_{self.first:%Y%m%d}_{self.id}"

    def __contains__(self, day: date) -> bool:
        return self.first <= day < self.until


def span(day: date, today: date, tables: Sequence[LedgerTable]) -> tuple[date, date]:
    """First day, and day after the last, of the table to make for `day`, which has none.

    The day itself or, longer ago than `OWN_TABLE_DAYS`, as much of its month as no table holds.
    """
    if day >= today - timedelta(days=OWN_TABLE_DAYS):
        return day, day + timedelta(days=1)
    first = day.replace(day=1)
    until = (first + timedelta(days=31)).replace(day=1)
    for table in tables:
        if table.until <= day:
            first = max(first, table.until)
        elif table.first > day:
            until = min(until, table.first)
    return first, until


def read_tables(session: Session) -> list[LedgerTable]:
    """All tables, the oldest first."""
    rows = session.execute(
        select(LedgerTableRow.first_day, LedgerTableRow.until_day, LedgerTableRow.id)
    )
    return sorted(LedgerTable(*row) for row in rows)


def read_closed(session: Session) -> list[LedgerTable]:
    """The tables that have gone into the archive: their days take no rows any more."""
    rows = session.execute(
        select(LedgerArchive.first_day, LedgerArchive.until_day, LedgerArchive.id)
    )
    return sorted(LedgerTable(*row) for row in rows)


def hold(session: Session) -> None:
    """Until the transaction ends no table goes into the archive. To be called first of all, before
    anything is read: what is read then stands for the whole transaction."""
    session.execute(text("LOCK TABLE ledger_tables IN ACCESS SHARE MODE"))


def make_tables(session: Session, days: Iterable[date], today: date) -> list[LedgerTable]:
    """Make the tables that days lack; returns all there are then. Commit at once.

    A day in the archive gets none.
    """
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    hold(session)
    tables, closed = read_tables(session), read_closed(session)
    for day in sorted(set(days)):
        if not any(day in table for table in (*tables, *closed)):
            first, until = span(day, today, [*tables, *closed])
            made = session.scalar(select(func.make_ledger_table(first, until)))
            tables.append(LedgerTable(first, until, int(made or 0)))
    return sorted(tables)


# -- finding rows -------------------------------------------------------------------------------


def between(since: datetime, until: datetime) -> ColumnElement[bool]:
    """since <= event_time < until, as literals: PostgreSQL opens the tables of that time only."""
    return and_(
        LedgerRow.event_time >= literal(since, literal_execute=True),
        LedgerRow.event_time < literal(until, literal_execute=True),
    )


def midnight(day: date) -> datetime:
    """00:00 UTC of a day."""
    return datetime.combine(day, time(), UTC)


_HOUR = timedelta(hours=1)


def hours(first: datetime, last: datetime) -> list[datetime]:
    """The starts of the hours from that of `first` to that of `last`."""
    at = first.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    found = []
    while at <= last:
        found.append(at)
        at += _HOUR
    return found


def by_id(since: datetime, until: datetime, transaction_ids: Sequence[str]) -> ColumnElement[bool]:
    """Rows of those transactions with since <= event_time < until, by index."""
    return and_(between(since, until), _in_hours(hours(since, until)), _with_ids(transaction_ids))


def near(transactions: Mapping[str, datetime], apart: timedelta) -> ColumnElement[bool]:
    """Rows of those transactions, by id, no farther from these event times than that."""
    wanted = {h for at in transactions.values() for h in hours(at - apart, at + apart)}
    return and_(
        on_days(hour.date() for hour in wanted),
        _in_hours(sorted(wanted)),
        _with_ids(list(transactions)),
    )


def by_account(since: datetime, until: datetime, account_id: str) -> ColumnElement[bool]:
    """An account's rows with since <= event_time < until, by index."""
    return and_(
        between(since, until),
        _in_hours(hours(since, until)),
        func.ledger_hash(LedgerRow.account_id) == func.ledger_hash(account_id),
        LedgerRow.account_id == account_id,
    )


def _in_hours(wanted: Sequence[datetime]) -> ColumnElement[bool]:
    moments = literal(list(wanted), ARRAY(DateTime(timezone=True)))
    return func.ledger_hour(LedgerRow.event_time) == any_(moments)


def _with_ids(transaction_ids: Sequence[str]) -> ColumnElement[bool]:
    wanted = literal(list(transaction_ids), ARRAY(Text))
    one = func.unnest(wanted).column_valued("one")
    hashes = select(func.ledger_hash(one)).scalar_subquery()
    return and_(
        func.ledger_hash(LedgerRow.transaction_id) == any_(func.array(hashes)),
        # The index is not to look for each hash with each id: only one id goes with a hash.
        LedgerRow.transaction_id.concat("") == any_(wanted),
    )


def on_days(days: Iterable[date]) -> ColumnElement[bool]:
    """Rows whose event time is on one of the days, and perhaps on others between them."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if ranges and day <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], day + timedelta(days=1))
        else:
            ranges.append((day, day + timedelta(days=1)))
    if len(ranges) > _MOST_TABLES:
        ranges = [(ranges[0][0], ranges[-1][1])]
    return or_(false(), *(between(midnight(first), midnight(until)) for first, until in ranges))


def within_offsets(session: Session, partition: int, start: int, end: int) -> ColumnElement[bool]:
    """Rows of a partition with start <= offset < end; opens the tables that may have any."""
    tables = session.execute(
        select(LedgerTableRow.first_day, LedgerTableRow.until_day)
        .join(LedgerOffsets, LedgerOffsets.table_id == LedgerTableRow.id)
        .where(
            LedgerOffsets.partition == partition,
            LedgerOffsets.first_offset < end,
            LedgerOffsets.next_offset > start,
        )
    ).all()
    ranges = [between(midnight(row.first_day), midnight(row.until_day)) for row in tables]
    return and_(
        LedgerRow.partition == partition,
        LedgerRow.offset >= start,
        LedgerRow.offset < end,
        or_(false(), *ranges),
    )


def eras(session: Session) -> Iterator[tuple[datetime, datetime]]:
    """The times of all there is, the newest first, in parts that one query can open."""
    tables = read_tables(session)
    while tables:
        part, tables = tables[-_ERA:], tables[:-_ERA]
        yield midnight(part[0].first), midnight(part[-1].until)


def newest_table(session: Session) -> LedgerTable | None:
    """The table of the newest days that have rows; those made ahead are empty."""
    for table in reversed(read_tables(session)):
        if session.scalar(text(f'SELECT EXISTS (SELECT FROM "{table.name}")')):  # noqa: S608
            return table
    return None


def spans_of(session: Session, name: str) -> dict[int, NDArray[np.int64]]:
    """Which offsets of each partition a table holds, from its primary key:
    int64[n, 2], from and before."""
    found = session.execute(
        text(
            'SELECT partition, min("offset") AS a, max("offset") + 1 AS b FROM ('  # noqa: S608
            ' SELECT partition, "offset", "offset" - row_number() OVER (PARTITION BY partition'
            f' ORDER BY "offset") AS run FROM "{name}") AS numbered'
            " GROUP BY partition, run ORDER BY partition, a"
        )
    )
    spans: dict[int, list[tuple[int, int]]] = {}
    for row in found:
        spans.setdefault(row.partition, []).append((row.a, row.b))
    return {partition: np.array(held, dtype=np.int64) for partition, held in spans.items()}


# -- the writer's view --------------------------------------------------------------------------


class LedgerTables:
    """The tables as a worker knows them. Not thread-safe.

    What it knows may be outdated in one way only: a table may be gone into the archive. Writing to
    it or looking into it fails then, and `forget` makes it read the list anew.
    """

    def __init__(self, sessions: sessionmaker[Session], clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock
        self._tables: list[LedgerTable] = []
        self._firsts: list[date] = []
        self._closed: list[LedgerTable] = []
        self._reserved: dict[tuple[int, int], tuple[int, int]] = {}

    def forget(self) -> None:
        """Read the list anew at the next call."""
        self._keep([])
        self._reserved.clear()

    def of(self, day: date) -> LedgerTable | None:
        """The table of a day, if it is known."""
        at = bisect_right(self._firsts, day) - 1
        return self._tables[at] if at >= 0 and day in self._tables[at] else None

    def is_closed(self, day: date) -> bool:
        """Has the day, which `known` was asked for, gone into the archive?"""
        return self.of(day) is None and any(day in table for table in self._closed)

    def known(self, days: Iterable[date]) -> list[LedgerTable]:
        """The tables of the days; a day without one is left out."""
        wanted = set(days)
        if any(self.of(day) is None for day in wanted):
            with connect_errors(), self._sessions() as session:
                hold(session)
                self._keep(read_tables(session))
                self._closed = read_closed(session)
        return sorted({table for table in map(self.of, wanted) if table is not None})

    def prepare(self, days: Iterable[date], moves: Sequence[Move]) -> None:
        """Before a batch is written: a table for each of its days, room for its offsets in each.

        Needs no database access when all is there, which is nearly always.
        """
        wanted = set(days)
        missing = [day for day in wanted if self.of(day) is None]
        if not missing and not self._unreserved(wanted, moves):
            return
        today = self._clock.now().astimezone(UTC).date()
        if missing:
            with connect_errors(), self._sessions.begin() as session:
                session.execute(text("SET LOCAL lock_timeout = '30s'"))
                found = make_tables(session, [*wanted, min(max(wanted), today) + _AHEAD], today)
            self._keep(found)
        reserved = self._unreserved(wanted, moves)
        with connect_errors(), self._sessions.begin() as session:
            _reserve(session, reserved)
        self._reserved.update(reserved)

    def _keep(self, tables: list[LedgerTable]) -> None:
        self._tables = tables
        self._firsts = [table.first for table in tables]

    def _unreserved(
        self, days: Iterable[date], moves: Sequence[Move]
    ) -> dict[tuple[int, int], tuple[int, int]]:
        """By table and partition the offsets to reserve, with some to spare."""
        found = {}
        for table in {table for table in map(self.of, days) if table is not None}:
            for partition, first, following in moves:
                known = self._reserved.get((table.id, partition))
                low, high = known or (first, first)
                if known is None or first < low or following > high:
                    spare = following + _RESERVED if following > high else high
                    found[table.id, partition] = min(first, low), spare
        return found


def _reserve(session: Session, wanted: dict[tuple[int, int], tuple[int, int]]) -> None:
    there = set(
        session.scalars(
            select(LedgerTableRow.id)
            .where(LedgerTableRow.id.in_({table for table, _ in wanted}))
            .with_for_update(read=True, key_share=True)
        )
    )
    # What has gone into the archive meanwhile is found out by who writes to it.
    wanted = {key: held for key, held in wanted.items() if key[0] in there}
    if not wanted:
        return
    new = upsert(LedgerOffsets)
    session.execute(
        new.on_conflict_do_update(
            index_elements=[LedgerOffsets.table_id, LedgerOffsets.partition],
            set_={
                "first_offset": func.least(LedgerOffsets.first_offset, new.excluded.first_offset),
                "next_offset": func.greatest(LedgerOffsets.next_offset, new.excluded.next_offset),
            },
        ),
        # In one order, so that two workers cannot wait for each other.
        [
            {"table_id": table, "partition": partition, "first_offset": low, "next_offset": high}
            for (table, partition), (low, high) in sorted(wanted.items())
        ],
    )
