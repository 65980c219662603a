"""Hostile messages through the whole path, on a real database: each a decision or a dead letter.

The source is driven by hand: batches as a carrier gives them, with gaps and damaged ranges among
the messages, to the worker's own `ForwardPath` and `LabelIntake`. The limits of dead letters are
lifted, since here most messages are bad.
"""

from __future__ import annotations

import faulthandler
import itertools
import logging
import random
import resource
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from fraudwatch.casework import outbox
from fraudwatch.casework.label_intake import LabelIntake
from fraudwatch.casework.models import DeadLetter, LabelRow, LedgerRow, OutboxRow
from fraudwatch.casework.verify import Proof, verify
from fraudwatch.telemetry import JsonFormatter
from streams.source import Damaged, Message, RecordBatch
from tests.fuzz.generate import CANARY, Generator, Hostile
from tests.pipeline.worlds import PARTITIONS, Installation

HANG_SECONDS = 120
"""A batch that takes longer ends the process, with the stacks of all threads."""
BATCH = 2000
STATM = Path("/proc/self/statm")


class Leak(AssertionError):
    """A log line, or the reason of a dead letter, holds a part of a message."""


class LogLines(logging.Handler):
    """Keeps what is logged, as it would be written, until `check` has looked at it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(JsonFormatter())
        self.lines: list[str] = []
        self.seen = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def check(self) -> None:
        self.seen += len(self.lines)
        for line in self.lines:
            if CANARY in line:
                raise Leak(line[:2000])
        self.lines.clear()


@contextmanager
def captured_logs() -> Iterator[LogLines]:
    """All that our own code logs, from DEBUG on."""
    lines = LogLines()
    loggers = [logging.getLogger(name) for name in ("fraudwatch", "streams")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(lines)
        logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(lines)
            logger.setLevel(level)


@dataclass
class Report:
    """What became of the messages; `resident` is the process's memory in MB along the way."""

    messages: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    decided: int = 0
    labels: int = 0
    damaged: int = 0
    log_lines: int = 0
    resident: list[int] = field(default_factory=list)
    proof: Proof | None = None


class Feed:
    """Cuts messages into batches, with offsets that hold nothing and ranges that are damaged."""

    def __init__(self, topic: str, partitions: int, generator: Generator, seed: int) -> None:
        self._topic = topic
        self._hostile = iter(generator)
        self._random = random.Random(seed)
        self._next = [0] * partitions

    def batches(self, count: int) -> tuple[list[RecordBatch], list[Hostile]]:
        """The next `count` messages, spread over the partitions at random."""
        taken = list(itertools.islice(self._hostile, count))
        shares: list[list[Message]] = [[] for _ in self._next]
        for hostile in taken:
            # No partitioner is asked: a key may lie anywhere, as another producer's may.
            shares[self._random.randrange(len(shares))].append(hostile.message)
        return [self._batch(n, share) for n, share in enumerate(shares) if share], taken

    def _batch(self, partition: int, messages: Sequence[Message]) -> RecordBatch:
        first = at = self._next[partition]
        offsets, damaged = [], []
        for _ in messages:
            dice = self._random.random()
            if dice < 0.002:
                at += self._random.randrange(1, 5)
            elif dice < 0.004:
                end = at + self._random.randrange(1, 5)
                raw = CANARY.encode() + self._random.randbytes(50)
                damaged.append(Damaged(at, end, "damaged batch (Unreadable)", raw))
                at = end
            offsets.append(at)
            at += 1
        self._next[partition] = at
        return RecordBatch(
            self._topic,
            partition,
            first,
            at,
            offsets,
            [message.key for message in messages],
            [message.value for message in messages],
            [0] * len(messages),
            tuple(damaged),
            [message.headers for message in messages],
        )


def resident_mb() -> int:
    """The memory that this process holds now; where the system does not say, the most ever."""
    if not STATM.exists():
        return peak_mb()
    return int(STATM.read_text().split()[1]) * resource.getpagesize() // 2**20


def peak_mb() -> int:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def run_transactions(
    here: Installation, generator: Generator, messages: int, *, seed: int, folder: Path
) -> Report:
    """Send so many hostile transactions. On any failure the batch is left in `folder`."""
    worker = here.worker()
    feed = Feed(here.settings.topic_transactions, PARTITIONS, generator, seed)
    report = Report()
    with captured_logs() as logs:
        worker.assign(frozenset(range(PARTITIONS)))
        for done in range(0, messages, BATCH):
            batches, taken = feed.batches(min(BATCH, messages - done))
            with watched(batches, folder):
                worker.process(batches)
                worker.idle()
                drained(here)
                logs.check()
            _count(report, batches, taken, done, messages)
        worker.close()
        logs.check()
        report.log_lines = logs.seen
    _finish(here, report)
    return report


def run_labels(
    here: Installation, generator: Generator, messages: int, *, seed: int, folder: Path
) -> Report:
    """The same for messages of the labels topic."""
    intake = LabelIntake(here.sessions, here.settings, here.clock)
    feed = Feed(here.settings.topic_labels, PARTITIONS, generator, seed)
    report = Report()
    with captured_logs() as logs:
        intake.assign(frozenset(range(PARTITIONS)))
        for done in range(0, messages, BATCH):
            batches, taken = feed.batches(min(BATCH, messages - done))
            with watched(batches, folder):
                intake.process(batches)
                drained(here)
                logs.check()
            _count(report, batches, taken, done, messages)
        report.log_lines = logs.seen
    _finish(here, report)
    return report


def drained(here: Installation) -> None:
    """Let all that waits leave: more messages are bad here than a worker puts up with."""
    while outbox.drain(here.sessions, here.publisher):
        pass


@contextmanager
def watched(batches: Sequence[RecordBatch], folder: Path) -> Iterator[None]:
    """Ends the process when the batch hangs; keeps the messages of one that fails."""
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    try:
        yield
    except BaseException:
        folder.mkdir(parents=True, exist_ok=True)
        for batch in batches:
            path = folder / f"{batch.topic}-{batch.partition}-{batch.first_offset}"
            path.write_text("\n".join(value.hex() for value in batch.values))
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()


def _count(
    report: Report, batches: Sequence[RecordBatch], taken: Sequence[Hostile], done: int, of: int
) -> None:
    report.messages += len(taken)
    report.kinds.update(hostile.kind for hostile in taken)
    report.damaged += sum(len(batch.damaged) for batch in batches)
    if done * 10 // of != (done - BATCH) * 10 // of:
        report.resident.append(resident_mb())


def _finish(here: Installation, report: Report) -> None:
    """What the database says became of them."""
    drained(here)
    with here.sessions() as session:
        report.proof = verify(session, here.settings.topic_transactions)
    with here.sessions() as session:
        report.decided = session.scalar(select(func.count()).select_from(LedgerRow)) or 0
        report.labels = session.scalar(select(func.count()).select_from(LabelRow)) or 0
        found = session.execute(select(DeadLetter.reason, func.count()).group_by(DeadLetter.reason))
        report.reasons = Counter({row[0]: row[1] for row in found})
        told = session.execute(
            select(DeadLetter.field, DeadLetter.detail, DeadLetter.reason).distinct()
        )
        for row in told:
            if CANARY in "".join(row):
                raise Leak(str(row))
        waiting = session.scalar(
            select(func.count()).select_from(OutboxRow).where(OutboxRow.published_at.is_(None))
        )
    if waiting:
        raise AssertionError(f"{waiting} messages never left the outbox")
