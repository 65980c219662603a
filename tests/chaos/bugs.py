"""Bugs put in on purpose, to see that the harness finds them. Planted in a worker's process."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import ledger, offsets, outbox, repeats
from fraudwatch.casework.checkpoint import Checkpoint
from fraudwatch.casework.models import OutboxRow, Snapshot
from fraudwatch.domain.transaction import Transaction
from fraudwatch.errors import Unavailable
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.memory import Memory
from fraudwatch.pipeline import ForwardPath, Prepared
from streams.dead_letters import MESSAGE_ID
from streams.source import Message, Publisher, RecordBatch


def offsets_before_rows() -> None:
    """Offsets advance in a transaction of their own, before the one that writes the rows."""
    original = Checkpoint.write

    def write(self: Checkpoint, session: Session, *, dead_letter_topic: str, now: datetime) -> None:
        with Session(session.get_bind().engine) as other, other.begin():
            original(self, other, dead_letter_topic=dead_letter_topic, now=now)

    _plant(Checkpoint, "write", write)


def state_kept() -> None:
    """Memory of a batch that is given up stays, though its rows were never written."""
    original = Memory.load

    def load(
        self: Memory, session: Session, partitions: Iterable[int], spec: FeatureSpec
    ) -> dict[int, int]:
        kept = {partition: held.state for partition, held in self.items()}
        found = original(self, session, partitions, spec)
        for partition, state in kept.items():
            self[partition].state = state
        return found

    _plant(Memory, "load", load)
    _plant(Memory, "drop", lambda self, partitions: None)


def no_compare_and_set() -> None:
    """Offsets are set, whatever they were."""
    compared = offsets._ADVANCE
    blind = compared.replace(" AND next_offset = %(expected)s", "")
    if blind == compared:
        raise RuntimeError("the comparison to leave out is not where it was")
    _plant(offsets, "_ADVANCE", blind)


def published_before_commit() -> None:
    """Decisions are on their topic before they are in the database."""
    original = ForwardPath._commit

    def commit(self: ForwardPath, prepared: Prepared) -> None:
        messages = ledger.decisions(prepared.scored)
        self._publisher.publish_all(self._settings.topic_decisions, messages)
        original(self, prepared)

    _plant(ForwardPath, "_commit", commit)


def snapshot_misplaced() -> None:
    """A snapshot says that it stands five rows earlier than it does."""
    original = Memory.save

    def save(self: Memory, session: Session, partition: int, *parts: Sequence[int]) -> None:
        original(self, session, partition, *parts)
        at = self[partition].next_offset
        session.execute(
            update(Snapshot)
            .where(Snapshot.partition == partition, Snapshot.next_offset == at)
            .values(next_offset=at - 5)
        )

    _plant(Memory, "save", save)


def marked_unpublished() -> None:
    """What an earlier failure left unpublished counts as published."""

    def publish_backlog(self: ForwardPath) -> None:
        for partition in self.memory.partitions():
            held = self.memory[partition]
            held.published_offset = held.next_offset

    _plant(ForwardPath, "publish_backlog", publish_backlog)


def marked_before_sent() -> None:
    """Outbox rows count as delivered before anybody has them."""

    def drain(
        sessions: sessionmaker[Session], publisher: Publisher, *, limit: int = sys.maxsize
    ) -> int:
        waiting = select(OutboxRow).where(OutboxRow.published_at.is_(None)).order_by(OutboxRow.id)
        with sessions.begin() as session:
            rows = session.scalars(waiting.limit(limit).with_for_update()).all()
            messages = [
                (
                    row.topic,
                    Message(
                        None if row.key is None else row.key.encode(),
                        row.payload,
                        ((MESSAGE_ID, row.message_id.encode()),),
                    ),
                )
                for row in rows
            ]
            for row in rows:
                row.published_at = row.created_at
        for topic, message in messages:
            publisher.send(topic, [message])
        return len(messages)

    _plant(outbox, "drain", drain)


def repeats_forgotten() -> None:
    """Repeats are looked for among what this process has seen, and nowhere else."""
    seen: dict[str, list[Transaction]] = {}
    _plant(repeats, "_known", lambda session, transactions, tables: seen)


def commit_believed() -> None:
    """A commit whose answer did not come counts as done."""
    original = ForwardPath._commit

    def commit(self: ForwardPath, prepared: Prepared) -> None:
        with suppress(Unavailable):
            original(self, prepared)

    _plant(ForwardPath, "_commit", commit)


def gives_up() -> None:
    """A worker ends in good order, though nobody asked it to."""
    original, batches = ForwardPath.process, itertools.count()

    def process(self: ForwardPath, read: Sequence[RecordBatch]) -> None:
        original(self, read)
        if next(batches) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    _plant(ForwardPath, "process", process)


def _plant(place: object, name: str, wrong: object) -> None:
    assert hasattr(place, name)
    setattr(place, name, wrong)


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        offsets_before_rows,
        state_kept,
        no_compare_and_set,
        published_before_commit,
        snapshot_misplaced,
        marked_unpublished,
        marked_before_sent,
        repeats_forgotten,
        commit_believed,
        gives_up,
    )
}
