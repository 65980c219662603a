"""How far each input partition has been taken in.

Offsets are in the database, advanced in the transaction that writes what was read. The
compare-and-set makes the effect exactly-once: of two workers that hold the same partition, one
finds the offset moved and gives up its batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from fraudwatch.casework.copy_rows import driver_connection
from fraudwatch.casework.models import DeadLetter, OutboxRow, StreamGap, StreamOffset
from fraudwatch.errors import Fenced
from streams.dead_letters import Rejected, envelope
from streams.source import RecordBatch

# For the driver: every batch begins with it, and as SQL of parts it costs four times as much.
_ADVANCE = (
    "UPDATE stream_offsets SET next_offset = %(new)s, updated_at = %(now)s,"
    " first_offset = coalesce(%(first)s::bigint, first_offset),"
    " published_offset = coalesce(%(first)s::bigint,"
    " greatest(published_offset, %(published)s::bigint))"
    " WHERE topic = %(topic)s AND partition = %(partition)s"
    " AND next_offset = %(expected)s AND generation = %(generation)s"
)

_MARK_PUBLISHED = text(
    "UPDATE stream_offsets SET published_offset = reached"
    " FROM unnest(CAST(:partitions AS int[]), CAST(:offsets AS bigint[])) AS marks(number, reached)"
    " WHERE topic = :topic AND partition = number"
    " AND published_offset < reached AND next_offset >= reached"
)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition stands."""

    next_offset: int
    published_offset: int
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Advance:
    """A partition moves from `expected` to `new`; decisions below `published` are published.

    `first` is given once, when reading begins at an offset above 0 because earlier messages had
    left the topic before fraudwatch was there. `generation`: of the topic's layout that the batch
    was computed under.
    """

    partition: int
    expected: int
    new: int
    published: int | None = None
    first: int | None = None
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets `first_offset <= o < next_offset` without a message."""

    partition: int
    first_offset: int
    next_offset: int
    reason: str


def positions(session: Session, topic: str, partitions: Iterable[int]) -> dict[int, Position]:
    """Where the partitions stand; rows of new partitions are made, at offset 0."""
    wanted = sorted(partitions)
    if not wanted:
        return {}
    session.execute(
        upsert(StreamOffset)
        .values(
            [
                {
                    "topic": topic,
                    "partition": partition,
                    "first_offset": 0,
                    "next_offset": 0,
                    "published_offset": 0,
                }
                for partition in wanted
            ]
        )
        .on_conflict_do_nothing()
    )
    rows = session.execute(
        select(
            StreamOffset.partition,
            StreamOffset.next_offset,
            StreamOffset.published_offset,
            StreamOffset.generation,
        ).where(StreamOffset.topic == topic, StreamOffset.partition.in_(wanted))
    )
    return {
        row.partition: Position(row.next_offset, row.published_offset, row.generation)
        for row in rows
    }


def stands(session: Session, topic: str) -> dict[int, int]:
    """The offset after the last one taken in, of every partition of a topic."""
    rows = session.execute(
        select(StreamOffset.partition, StreamOffset.next_offset)
        .where(StreamOffset.topic == topic)
        .order_by(StreamOffset.partition)
    )
    return {row.partition: row.next_offset for row in rows}


def advance(session: Session, topic: str, moves: Sequence[Advance], now: datetime) -> None:
    """Compare-and-set each partition's offset, in order of partition number.

    Raises `Fenced` naming the partitions that another worker moved; the caller rolls back.
    """
    driver = driver_connection(session)
    # All of them, and the transaction's beginning, in one round trip.
    with driver.pipeline():
        done = [
            (
                move.partition,
                driver.execute(
                    _ADVANCE,
                    {
                        "topic": topic,
                        "partition": move.partition,
                        "generation": move.generation,
                        "expected": move.expected,
                        "new": move.new,
                        "first": move.first,
                        "published": move.published,
                        "now": now,
                    },
                ),
            )
            for move in sorted(moves, key=lambda m: m.partition)
        ]
    lost = frozenset(partition for partition, cursor in done if cursor.rowcount != 1)
    if lost:
        raise Fenced(lost)


def mark_published(session: Session, topic: str, published: Mapping[int, int]) -> None:
    """Record that decisions below the offsets given are on the decisions topic."""
    session.execute(
        _MARK_PUBLISHED,
        {"topic": topic, "partitions": list(published), "offsets": list(published.values())},
    )


def gaps_of(batch: RecordBatch, expected: int) -> list[Gap]:
    """The offsets between `expected` and the batch's end that hold no message."""
    whole = len(batch) == batch.next_offset - batch.first_offset
    if whole and batch.first_offset <= expected and not batch.damaged:
        return []
    gaps = []
    if batch.first_offset > expected:
        gaps.append(Gap(batch.partition, expected, batch.first_offset, "expired"))
    at = max(expected, batch.first_offset)
    spans = sorted(
        [(offset, offset + 1, False) for offset in batch.offsets]
        + [(d.first_offset, d.next_offset, d.expired) for d in batch.damaged]
    )
    for first, following, expired in spans:
        if first > at:
            gaps.append(Gap(batch.partition, at, first, "empty"))
        if expired and following > at:
            gaps.append(Gap(batch.partition, max(at, first), following, "expired"))
        at = max(at, following)
    if batch.next_offset > at:
        gaps.append(Gap(batch.partition, at, batch.next_offset, "empty"))
    return gaps


def record_gaps(session: Session, topic: str, gaps: Sequence[Gap]) -> None:
    """Write down offsets that hold no message, so that `verify` can account for each."""
    if gaps:
        session.execute(
            insert(StreamGap),
            [
                {
                    "topic": topic,
                    "partition": gap.partition,
                    "first_offset": gap.first_offset,
                    "next_offset": gap.next_offset,
                    "reason": gap.reason,
                }
                for gap in gaps
            ],
        )


def record_dead_letters(
    session: Session,
    topic: str,
    rejected: Sequence[Rejected],
    *,
    dead_letter_topic: str,
    now: datetime,
) -> None:
    """Put messages aside, with an outbox row each for the dead-letter topic."""
    if not rejected:
        return
    session.execute(
        insert(DeadLetter),
        [
            {
                "topic": topic,
                "partition": r.partition,
                "offset": r.offset,
                "next_offset": r.next_offset,
                "reason": r.reason,
                "field": r.field,
                "detail": r.detail,
                "raw": r.raw,
                "created_at": now,
                "key": r.key,
                "size": r.size,
                "replay_of": r.replay_of,
            }
            for r in rejected
        ],
    )
    session.execute(
        insert(OutboxRow),
        [
            {
                "topic": dead_letter_topic,
                "key": None,
                "message_id": f"{topic}-{r.partition}-{r.offset}",
                "payload": envelope(topic, r),
                "created_at": now,
            }
            for r in rejected
        ],
    )
