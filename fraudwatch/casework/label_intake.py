"""Late truth from the labels topic: each message becomes a label or a dead letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import contradictions
from fraudwatch.casework.checkpoint import Checkpoint
from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.dead_letter_limits import guard
from fraudwatch.casework.models import LabelRow
from fraudwatch.casework.offsets import Advance, gaps_of, positions
from fraudwatch.clock import Clock
from fraudwatch.domain.label import Label, LabelSource, decode_label
from fraudwatch.errors import InputError
from fraudwatch.settings import Settings
from streams.arrivals import read
from streams.dead_letters import DeadLetterGuard
from streams.source import RecordBatch

OUTSIDE = frozenset({LabelSource.CHARGEBACK, LabelSource.APPEAL})


class LabelIntake:
    """The `Handler` of the labels topic. Labels of unknown transactions are kept: they may come
    before the transaction does, and weigh nothing until then."""

    def __init__(self, sessions: sessionmaker[Session], settings: Settings, clock: Clock) -> None:
        self._sessions = sessions
        self._settings = settings
        self._clock = clock
        self._topic = settings.topic_labels
        self._next: dict[int, int] = {}
        self._guards: dict[int, DeadLetterGuard] = {}

    def assign(self, partitions: frozenset[int]) -> Mapping[int, int]:
        settings = self._settings
        with connect_errors(), self._sessions.begin() as session:
            found = positions(session, self._topic, partitions)
            guards = {
                partition: guard(
                    session,
                    self._topic,
                    partition,
                    position.next_offset,
                    share=settings.dead_letter_share,
                    consecutive=settings.dead_letter_consecutive,
                )
                for partition, position in found.items()
            }
        for partition, position in found.items():
            self._next[partition] = position.next_offset
            self._guards[partition] = guards[partition]
        return {partition: position.next_offset for partition, position in found.items()}

    def revoke(self, partitions: frozenset[int]) -> None:
        for partition in partitions:
            self._next.pop(partition, None)
            self._guards.pop(partition, None)

    def process(self, batches: Sequence[RecordBatch]) -> None:
        now = self._clock.now()
        rows, rejected, gaps, moves = [], [], [], []
        labels: list[Label] = []
        watched: dict[int, DeadLetterGuard] = {}
        for batch in batches:
            start = self._next[batch.partition]
            if batch.next_offset <= start:
                continue
            arrivals = read(batch, start, lambda value: decode_outside(value, now))
            rows += [
                _row(label, self._topic, batch.partition, offset)
                for offset, label in zip(arrivals.offsets, arrivals.items, strict=True)
            ]
            labels += arrivals.items
            rejected += arrivals.rejected
            first = batch.first_offset if start == 0 < batch.first_offset else None
            gaps += gaps_of(batch, start if first is None else first)
            moves.append(Advance(batch.partition, start, batch.next_offset, first=first))
            # A copy: when the commit fails, the same batch comes again and must not count twice.
            watched[batch.partition] = self._guards[batch.partition].copied()
            watched[batch.partition].observe(arrivals.offsets, arrivals.rejected)
        checkpoint = Checkpoint(self._topic, moves, rejected, gaps)
        with connect_errors(), self._sessions.begin() as session:
            checkpoint.write(session, dead_letter_topic=self._settings.topic_dead_letters, now=now)
            if rows:
                session.execute(insert(LabelRow), rows)
                contradictions.raise_for(session, labels, now)
        checkpoint.tell()
        for move in moves:
            self._next[move.partition] = move.new
        self._guards.update(watched)

    def idle(self) -> None:
        """Nothing waits here."""


def decode_outside(value: bytes, now: datetime) -> Label:
    """A label from outside. What analysts say comes from their cases, never from a topic."""
    label = decode_label(value, now)
    if label.source not in OUTSIDE:
        raise InputError("unknown_source", "source", "must be chargeback or appeal")
    return label


def _row(label: Label, topic: str, partition: int, offset: int) -> dict[str, object]:
    return {
        "transaction_id": label.transaction_id,
        "fraud": label.fraud,
        "source": label.source.value,
        "precedence": label.precedence,
        "known_at": label.known_at,
        "topic": topic,
        "partition": partition,
        "offset": offset,
    }
