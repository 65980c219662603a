"""A worker's memory: for each partition it owns, the past of its accounts.

Loaded from the newest snapshots that fit, then brought up to date with the ledger rows after them;
written as snapshots part by part (`casework.snapshots`), so that a restart need not replay years
and writing never holds up the stream for long.
"""

from __future__ import annotations

import logging
from collections.abc import ItemsView, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from fraudwatch.casework import dead_letter_limits, deciders, layouts, offsets, snapshots
from fraudwatch.casework.deciders import Deciding
from fraudwatch.casework.layouts import Layout
from fraudwatch.casework.ledger import stored
from fraudwatch.casework.models import StreamOffset
from fraudwatch.casework.offsets import Position
from fraudwatch.casework.snapshots import NONE, PARTS, Loaded
from fraudwatch.casework.stored_messages import replay
from fraudwatch.errors import Fenced
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import from_transactions, hash_id
from fraudwatch.features.state import AccountState
from fraudwatch.regroup import at_base
from fraudwatch.telemetry import SNAPSHOT_OFFSET, SNAPSHOT_ROWS, SNAPSHOT_WRITTEN
from streams.dead_letters import DeadLetterGuard
from streams.source import RecordBatch

log = logging.getLogger(__name__)

_TURN_ACCOUNTS = 4_096
"""So many accounts, or one part, are written at a time: it takes some hundredths of a second."""

Ints = NDArray[np.int64]


@dataclass(slots=True)
class PartitionMemory:
    """One partition: its accounts' past as it stands before `next_offset`.

    Of each part of it: at which offset its newest snapshot stands, how many ledger rows came since,
    and when it was written (seconds since 1970; all are 0 without one).
    """

    state: AccountState
    guard: DeadLetterGuard
    next_offset: int
    published_offset: int
    marked_offset: int
    generation: int = 0
    decided_by: Deciding | None = None
    part_offsets: Ints = field(default_factory=lambda: np.zeros(PARTS, dtype=np.int64))
    part_rows: Ints = field(default_factory=lambda: np.zeros(PARTS, dtype=np.int64))
    part_written: NDArray[np.float64] = field(default_factory=lambda: np.zeros(PARTS))

    @property
    def rows_since_snapshot(self) -> int:
        """Ledger rows since the snapshot of the part that waits longest."""
        return int(self.part_rows.max())

    def advanced(self, next_offset: int, rows: int) -> None:
        """A batch with that many ledger rows has been committed."""
        self.next_offset = next_offset
        self.part_rows += rows

    def turn(self, rows: int) -> list[int]:
        """The parts to write now, so that each is written every `rows` rows, or every so many as
        there are accounts if these are more: no row costs more than writing one account."""
        every = max(rows, len(self.state))
        parts = min(PARTS, max(1, PARTS * _TURN_ACCOUNTS // max(1, len(self.state))))
        if self.part_rows.min() * PARTS < every * parts:
            return []
        longest_first = np.argsort(-self.part_rows, kind="stable")
        return [int(part) for part in longest_first[:parts]]

    def move_to(self, batch: RecordBatch) -> tuple[offsets.Advance, list[offsets.Gap]]:
        """The move to the end of a batch, and its offsets that hold no message.

        When nothing was ever read and earlier messages are gone, reading begins with the batch.
        """
        first = batch.first_offset if self.next_offset == 0 < batch.first_offset else None
        move = offsets.Advance(
            batch.partition,
            self.next_offset,
            batch.next_offset,
            published=self.published_offset,
            first=first,
            generation=self.generation,
        )
        return move, offsets.gaps_of(batch, self.next_offset if first is None else first)


class Memory:
    """The partitions that this worker owns. Not thread-safe."""

    def __init__(self, topic: str, *, share: float, consecutive: int) -> None:
        self._topic = topic
        self._share = share
        self._consecutive = consecutive
        self._of: dict[int, PartitionMemory] = {}
        self.layout: Layout | None = None

    def __getitem__(self, partition: int) -> PartitionMemory:
        return self._of[partition]

    def items(self) -> ItemsView[int, PartitionMemory]:
        return self._of.items()

    def partitions(self) -> frozenset[int]:
        return frozenset(self._of)

    def unfit(self, partitions: Iterable[int], spec: FeatureSpec) -> frozenset[int]:
        """Partitions to load anew: unknown here, or remembered for other features."""
        return frozenset(
            partition
            for partition in partitions
            if partition not in self._of or self._of[partition].state.spec.version != spec.version
        )

    def load(
        self, session: Session, partitions: Iterable[int], spec: FeatureSpec
    ) -> dict[int, int]:
        """Load what is known of the partitions; returns the offset to read each from.

        Raises `ConfigurationError` for a partition that the topic had not when it was recorded.
        """
        self.layout = layouts.current(session, self._topic)
        layouts.admit(self.layout, partitions)
        found = offsets.positions(session, self._topic, partitions)
        session.execute(text("SET LOCAL statement_timeout = 0"))
        deciding = deciders.latest(session, found)
        starts = self._starts(session, found, spec)
        for partition, position in sorted(found.items()):
            loaded = starts[partition]
            memory = PartitionMemory(
                loaded.state,
                dead_letter_limits.guard(
                    session,
                    self._topic,
                    partition,
                    position.next_offset,
                    share=self._share,
                    consecutive=self._consecutive,
                ),
                position.next_offset,
                position.published_offset,
                position.published_offset,
                position.generation,
                deciding.get(partition),
                loaded.starts,
                part_written=loaded.written,
            )
            rows = self._replay(session, partition, memory)
            self._of[partition] = memory
            self._tell(partition)
            log.info(
                "partition loaded",
                extra={
                    "data": {
                        "partition": partition,
                        "snapshot": int(loaded.starts.min()),
                        "next_offset": position.next_offset,
                        "replayed": rows,
                    }
                },
            )
        return {partition: position.next_offset for partition, position in found.items()}

    def _replay(self, session: Session, partition: int, memory: PartitionMemory) -> int:
        """Let ledger rows join the parts that do not know of them yet; returns how many came."""
        starts, rows = memory.part_offsets, 0
        for chunk in replay(session, partition, int(starts.min()), memory.next_offset):
            reached = np.array([message.offset for message in chunk])
            hashes = (hash_id(message.account_id) for message in chunk)
            accounts = np.fromiter(hashes, np.uint64, len(chunk))
            # Parts stand all along the way: half of the rows are known already, and not decoded.
            fresh = np.flatnonzero(reached >= starts[snapshots.part_of(accounts)]).tolist()
            transactions = [stored(chunk[place].payload) for place in fresh]
            memory.state.absorb(from_transactions(transactions, memory.state.spec))
            memory.part_rows += len(chunk) - np.searchsorted(reached, starts)
            rows += len(chunk)
        return rows

    def _starts(
        self, session: Session, found: Mapping[int, Position], spec: FeatureSpec
    ) -> dict[int, Loaded]:
        """Where the replay of each partition begins: at the newest sound snapshot of each part, or
        else where the topic's layout begins, with the accounts that live there since then."""
        bases = self.layout.bases if self.layout is not None else dict.fromkeys(found, 0)
        starts = {
            partition: snapshots.load(
                session, partition, bases[partition], position.next_offset, spec
            )
            for partition, position in found.items()
        }
        without = [partition for partition, loaded in starts.items() if loaded.missing]
        grown = self.layout is not None and self.layout.generation > 0
        states = at_base(session, self.layout, without, spec) if self.layout and grown else {}
        for partition in without:
            loaded = starts[partition]
            for part in loaded.missing if partition in states else ():
                loaded.state.add(states[partition].dump(part, PARTS))
            loaded.starts[loaded.starts == NONE] = bases[partition]
        return starts

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget partitions that another worker owns now."""
        for partition in partitions:
            self._of.pop(partition, None)
            for series in (SNAPSHOT_OFFSET, SNAPSHOT_ROWS, SNAPSHOT_WRITTEN):
                series.remove(str(partition))

    def due(self, rows: int) -> dict[int, list[int]]:
        """Parts to write now, by partition, so that each is written every `rows` rows."""
        for partition in self._of:
            self._tell(partition)
        turns = {partition: memory.turn(rows) for partition, memory in sorted(self._of.items())}
        return {partition: parts for partition, parts in turns.items() if parts}

    def unsaved(self) -> dict[int, list[int]]:
        """Parts since whose snapshot rows have come, by partition."""
        behind = {p: np.flatnonzero(m.part_rows).tolist() for p, m in sorted(self._of.items())}
        return {partition: parts for partition, parts in behind.items() if parts}

    def save(self, session: Session, partition: int, parts: Sequence[int] = range(PARTS)) -> None:
        """Write snapshots of parts (all by default), if the partition is still this worker's; keep
        the newest two of each.

        Raises `Fenced` when another worker has moved the partition's offset, or the topic grew.
        """
        memory = self._of[partition]
        at = session.execute(
            select(StreamOffset.next_offset, StreamOffset.generation)
            .where(StreamOffset.topic == self._topic, StreamOffset.partition == partition)
            .with_for_update(read=True)
        ).one_or_none()
        if at is None or tuple(at) != (memory.next_offset, memory.generation):
            raise Fenced(frozenset({partition}))
        written = snapshots.write(session, partition, memory.next_offset, memory.state, parts)
        chosen = np.array(parts)
        memory.part_offsets[chosen] = memory.next_offset
        memory.part_rows[chosen] = 0
        memory.part_written[chosen] = written.timestamp()
        self._tell(partition)

    def _tell(self, partition: int) -> None:
        memory, label = self._of[partition], str(partition)
        SNAPSHOT_OFFSET.labels(label).set(int(memory.part_offsets.min()))
        SNAPSHOT_ROWS.labels(label).set(memory.rows_since_snapshot)
        SNAPSHOT_WRITTEN.labels(label).set(float(memory.part_written.min()))

    def unmarked(self) -> dict[int, int]:
        """Published offsets that the database does not know of yet."""
        return {
            partition: memory.published_offset
            for partition, memory in self._of.items()
            if memory.published_offset > memory.marked_offset
        }

    def mark(self, published: Mapping[int, int]) -> None:
        """The database knows these published offsets now."""
        for partition, offset in published.items():
            if partition in self._of:
                self._of[partition].marked_offset = offset
