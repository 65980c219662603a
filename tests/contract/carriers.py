"""The two carriers behind one face for the contract suite, and helpers to read a source."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

from kafka import KafkaAdminClient

from fraudwatch.clock import SystemClock
from streams.file_lines import partition_path
from streams.files import FilePublisher, FileSource
from streams.kafka import KafkaSource
from streams.kafka_publisher import KafkaPublisher
from streams.source import Publisher, RecordBatch, Source

PATIENCE = 30.0
"""Seconds after which a test gives up waiting; nothing is asserted about time."""


class Carrier(Protocol):
    """Makes topics, sources and publishers, and closes them at the end of the test."""

    def new_topic(self, partitions: int) -> str: ...

    def source(self, topic: str, group: str = "g", *, max_rows: int = 2000) -> Source: ...

    def publisher(self) -> Publisher: ...


class Files:
    def __init__(self, folder: Path, closing_stack: ExitStack) -> None:
        self.folder = folder
        self._stack = closing_stack

    def new_topic(self, partitions: int) -> str:
        topic = f"topic-{uuid.uuid4().hex[:8]}"
        (self.folder / topic).mkdir(parents=True)
        for number in range(partitions):
            partition_path(self.folder, topic, number).touch()
        return topic

    def source(self, topic: str, group: str = "g", *, max_rows: int = 2000) -> FileSource:
        return self._stack.enter_context(
            closing(FileSource(self.folder, topic, group, max_rows=max_rows))
        )

    def publisher(self) -> FilePublisher:
        return self._stack.enter_context(closing(FilePublisher(self.folder, SystemClock())))


class Kafka:
    def __init__(self, bootstrap: str, closing_stack: ExitStack) -> None:
        self.bootstrap = bootstrap
        self._stack = closing_stack

    def new_topic(self, partitions: int, configuration: Mapping[str, str] | None = None) -> str:
        topic = f"topic-{uuid.uuid4().hex[:8]}"
        wanted = {
            "num_partitions": partitions,
            "replication_factor": 1,
            "configs": dict(configuration or {}),
        }
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap)) as admin:
            admin.create_topics({topic: wanted}, wait_for_metadata=True)
        return topic

    def source(
        self,
        topic: str,
        group: str = "g",
        *,
        max_rows: int = 2000,
        worker_id: str = "",
        session_seconds: float = 6,
    ) -> KafkaSource:
        return self._stack.enter_context(
            closing(
                KafkaSource(
                    self.bootstrap,
                    topic,
                    # each topic its own group: members of other tests are none of its
                    f"{group}-{topic}",
                    worker_id=worker_id,
                    max_rows=max_rows,
                    session_seconds=session_seconds,
                )
            )
        )

    def publisher(self, *, bulk: bool = True, timeout: float = 30) -> KafkaPublisher:
        return self._stack.enter_context(
            closing(KafkaPublisher(self.bootstrap, SystemClock(), bulk=bulk, timeout=timeout))
        )


class Reader:
    """Owns sources as a worker does: starts what is assigned, keeps what is read.

    Checks on every batch what the contract promises of each.
    """

    def __init__(self, source: Source, start: Mapping[int, int] | None = None) -> None:
        self.source = source
        self.owned: set[int] = set()
        self.moves = 0
        self.batches: list[RecordBatch] = []
        self._start = start or {}
        self._next: dict[int, int] = {}

    def poll(self, timeout: float = 0.1) -> list[RecordBatch]:
        changes = self.source.changes()
        self.owned = (self.owned - changes.revoked) | changes.assigned
        self.moves += bool(changes.revoked)
        if changes.assigned:
            self.start({number: self._start.get(number, 0) for number in changes.assigned})
        batches = self.source.poll(timeout)
        for batch in batches:
            assert batch.topic == self.source.topic
            assert batch.first_offset == self._next[batch.partition]
            assert batch.next_offset > batch.first_offset
            assert len(batch) == len(batch.keys) == len(batch.values) == len(batch.timestamps_ms)
            assert len(batch.headers) in (0, len(batch))
            assert batch.offsets == sorted(set(batch.offsets))
            assert all(batch.first_offset <= o < batch.next_offset for o in batch.offsets)
            self._next[batch.partition] = batch.next_offset
        assert len({batch.partition for batch in batches}) == len(batches)
        self.batches += batches
        return batches

    def start(self, offsets: Mapping[int, int]) -> None:
        self.source.start(offsets)
        self._next.update(offsets)

    def until(self, done: Callable[[], bool]) -> None:
        poll_until([self], done)

    def read(self, count: int) -> list[tuple[int, int, bytes | None, bytes]]:
        """The next `count` rows (or more) as (partition, offset, key, value)."""
        seen = len(self.rows())
        self.until(lambda: len(self.rows()) >= seen + count)
        return self.rows()[seen:]

    def rows(self) -> list[tuple[int, int, bytes | None, bytes]]:
        return [
            (batch.partition, offset, key, value)
            for batch in self.batches
            for offset, key, value in zip(batch.offsets, batch.keys, batch.values, strict=True)
        ]

    def values(self, partition: int) -> list[bytes]:
        return [row[3] for row in self.rows() if row[0] == partition]

    def next_offset(self, partition: int) -> int:
        return self._next.get(partition, -1)


def poll_until(readers: Iterable[Reader], done: Callable[[], bool]) -> None:
    """Poll them in turn until `done`."""
    deadline = time.monotonic() + PATIENCE
    for reader in itertools.cycle(readers):
        if done():
            return
        assert time.monotonic() < deadline, "waited in vain"
        reader.poll()
