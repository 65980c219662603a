"""A worker's memory: for each partition it owns, the past of its accounts.

Loaded from the newest snapshot that fits, then brought up to date with the ledger rows after it;
written as a snapshot now and then, so that a restart need not replay years.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import ItemsView, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from fraudwatch.casework import dead_letter_limits, deciders, layouts, ledger, offsets
from fraudwatch.casework.deciders import Deciding
from fraudwatch.casework.layouts import Layout
from fraudwatch.casework.ledger import stored
from fraudwatch.casework.models import Snapshot, StreamOffset
from fraudwatch.casework.offsets import Position
from fraudwatch.errors import BundleError, Fenced
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import from_transactions
from fraudwatch.features.state import AccountState
from fraudwatch.regroup import at_base
from fraudwatch.telemetry import SNAPSHOT_OFFSET
from streams.dead_letters import DeadLetterGuard
from streams.source import RecordBatch

log = logging.getLogger(__name__)

_SNAPSHOTS_KEPT = 2


@dataclass(slots=True)
class PartitionMemory:
    """One partition: its accounts' past as it stands before `next_offset`."""

    state: AccountState
    guard: DeadLetterGuard
    next_offset: int
    published_offset: int
    marked_offset: int
    rows_since_snapshot: int
    generation: int = 0
    decided_by: Deciding | None = None

    def advanced(self, next_offset: int, rows: int) -> None:
        """A batch with that many ledger rows has been committed."""
        self.next_offset = next_offset
        self.rows_since_snapshot += rows

    def begins_at(self, batch: RecordBatch) -> int | None:
        """The first offset there is, when nothing was ever read and earlier messages are gone."""
        return batch.first_offset if self.next_offset == 0 < batch.first_offset else None


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
            start, state = starts[partition]
            rows = 0
            for chunk in ledger.replay(session, partition, start, position.next_offset):
                columns = from_transactions([stored(past.payload) for past in chunk], spec)
                state.absorb(columns)
                rows += len(chunk)
            self._of[partition] = PartitionMemory(
                state,
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
                rows,
                position.generation,
                deciding.get(partition),
            )
            log.info(
                "partition loaded",
                extra={
                    "data": {
                        "partition": partition,
                        "snapshot": start,
                        "next_offset": position.next_offset,
                        "replayed": rows,
                    }
                },
            )
        return {partition: position.next_offset for partition, position in found.items()}

    def _starts(
        self, session: Session, found: Mapping[int, Position], spec: FeatureSpec
    ) -> dict[int, tuple[int, AccountState]]:
        """Where the replay of each partition begins: at its newest sound snapshot, or else where
        the topic's layout begins, with the accounts that live in the partition since then."""
        bases = self.layout.bases if self.layout is not None else dict.fromkeys(found, 0)
        starts = {
            partition: self._newest(session, partition, bases[partition], position, spec)
            for partition, position in found.items()
        }
        without = [partition for partition, start in starts.items() if start is None]
        grown = self.layout is not None and self.layout.generation > 0
        states = at_base(session, self.layout, without, spec) if self.layout and grown else {}
        return {
            partition: start or (bases[partition], states.get(partition) or AccountState(spec))
            for partition, start in starts.items()
        }

    def _newest(
        self, session: Session, partition: int, base: int, position: Position, spec: FeatureSpec
    ) -> tuple[int, AccountState] | None:
        """The newest sound snapshot at `base` or after it."""
        snapshots = session.execute(
            select(Snapshot.next_offset, Snapshot.sha256, Snapshot.data)
            .where(
                Snapshot.partition == partition,
                Snapshot.next_offset >= base,
                Snapshot.next_offset <= position.next_offset,
                Snapshot.features_version == spec.version,
            )
            .order_by(Snapshot.next_offset.desc())
        )
        for row in snapshots:
            if hashlib.sha256(row.data).hexdigest() != row.sha256:
                fault = "its hash does not match"
            else:
                try:
                    return row.next_offset, AccountState.load(bytes(row.data), spec)
                except BundleError as error:
                    fault = str(error)
            log.error(
                "damaged snapshot; using the one before it",
                extra={"data": {"partition": partition, "at": row.next_offset, "fault": fault}},
            )
        return None

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget partitions that another worker owns now."""
        for partition in partitions:
            self._of.pop(partition, None)
            SNAPSHOT_OFFSET.remove(str(partition))

    def due(self, rows: int) -> list[int]:
        """Partitions with that many rows or more since their last snapshot."""
        return sorted(p for p, memory in self._of.items() if memory.rows_since_snapshot >= rows)

    def save(self, session: Session, partition: int) -> None:
        """Write a snapshot, if the partition is still this worker's; keep the newest two.

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
        data = memory.state.dump()
        sha256 = hashlib.sha256(data).hexdigest()
        values = {
            "features_version": memory.state.spec.version,
            "sha256": sha256,
            "data": data,
        }
        session.execute(
            upsert(Snapshot)
            .values(partition=partition, next_offset=memory.next_offset, **values)
            .on_conflict_do_update(
                index_elements=[Snapshot.partition, Snapshot.next_offset], set_=values
            )
        )
        kept = (
            select(Snapshot.next_offset)
            .where(Snapshot.partition == partition)
            .order_by(Snapshot.next_offset.desc())
            .limit(_SNAPSHOTS_KEPT)
        )
        session.execute(
            delete(Snapshot).where(
                Snapshot.partition == partition, Snapshot.next_offset.not_in(kept)
            )
        )
        memory.rows_since_snapshot = 0
        SNAPSHOT_OFFSET.labels(str(partition)).set(memory.next_offset)

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
