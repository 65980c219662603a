"""The file carrier: a stream on one machine, in a folder that people can read and write.

``FOLDER/TOPIC/partition-N.jsonl`` holds one message a line; its offset is the number of the line,
from 0. A line is a JSON object::

    {"value": "…", "key": "account-7", "headers": [["transaction_id", "t-1"]], "at": 1767225600000}

- ``value`` is the message as a string, or, for lines written by hand, a JSON object that stands
  for its own text. Only ``value`` is required.
- ``key`` is a string or null, ``headers`` a list of pairs, ``at`` milliseconds since 1970 (UTC).
- Bytes that are not UTF-8 are written ``{"base64": "…"}`` in the place of the string.

A line counts once it ends in a newline. What a writer left unfinished (crash, full disk) is ended
by the next writer and read as one damaged message. Writers append under `flock`; a publisher
returns after `fsync`. Readers of one group share partitions by a lock each: a second worker gets
the partitions that are free, and the rest when the first one ends.

Never shorten or rewrite a file that has been read: offsets would name other messages.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fraudwatch.clock import Clock
from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.telemetry import PUBLISHED
from streams.file_lines import (
    NEWLINE,
    LineIndex,
    decode_line,
    encode_line,
    partition_count,
    partition_path,
)
from streams.partitioner import spread
from streams.source import (
    RAW_LIMIT,
    Assignment,
    Damaged,
    Headers,
    Message,
    RecordBatch,
    check_sizes,
    unknown_topic,
)

READ_BYTES = 8 << 20
"""Most bytes of one partition in one poll."""
POLL_SLEEP = 0.002
LOCK_RETRY = 0.5


class _Partition:
    """One partition that is owned: its lock, its index, and where reading stands."""

    def __init__(self, number: int, path: Path, lock: int) -> None:
        self.number = number
        self.path = path
        self.lock = lock
        self.index = LineIndex(path)
        self.next_offset: int | None = None
        self.position = 0

    def start(self, offset: int) -> None:
        position = self.index.position(offset)
        if position is None:
            raise ConfigurationError(
                f"{self.path} has {self.index.end()} messages, but offset {offset} was to be read: "
                "the file was shortened or replaced; put it back, or point to a new folder"
            )
        self.next_offset, self.position = offset, position

    def read(self, topic: str, rows: int) -> RecordBatch | None:
        """The next complete lines, at most `rows` of them; None where there is none."""
        if self.next_offset is None:
            return None
        size = self.path.stat().st_size
        if size == self.position:
            return None
        if size < self.position:
            raise ConfigurationError(f"{self.path} was shortened while it was read; put it back")
        lines: list[bytes] = []
        position = self.position
        with self.path.open("rb") as file:
            file.seek(position)
            for line in itertools.islice(file, rows):
                if not line.endswith(NEWLINE) or position - self.position > READ_BYTES:
                    break
                position += len(line)
                lines.append(line)
        if not lines:
            return None
        batch = _batch(topic, self.number, self.next_offset, lines)
        self.next_offset, self.position = batch.next_offset, position
        return batch


def _batch(topic: str, partition: int, first: int, lines: Sequence[bytes]) -> RecordBatch:
    batch = RecordBatch(topic, partition, first, first + len(lines), [], [], [], [])
    damaged: list[Damaged] = []
    headers: list[Headers] = []
    for offset, line in enumerate(lines, first):
        try:
            key, value, pairs, at = decode_line(line)
        except ValueError:
            raw = line.removesuffix(NEWLINE)[:RAW_LIMIT]
            damaged.append(Damaged(offset, offset + 1, "not a line of a stream file", raw))
            continue
        batch.offsets.append(offset)
        batch.keys.append(key)
        batch.values.append(value)
        batch.timestamps_ms.append(at)
        headers.append(pairs)
    return RecordBatch(
        topic,
        partition,
        first,
        batch.next_offset,
        batch.offsets,
        batch.keys,
        batch.values,
        batch.timestamps_ms,
        tuple(damaged),
        headers if any(headers) else [],
    )


class FileSource:
    """`streams.source.Source` over files. Raises `ConfigurationError` for an unknown topic."""

    def __init__(
        self,
        folder: Path,
        topic: str,
        group: str,
        *,
        max_rows: int = 2000,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder
        self._topic = topic
        self._group = group
        self._max_rows = max_rows
        self._monotonic = monotonic
        self._sleep = sleep
        self._owned: dict[int, _Partition] = {}
        self._assigned: set[int] = set()
        self._paused = False
        self._turn = 0
        self._next_lock_try = -float("inf")
        if not partition_count(folder, topic):
            raise unknown_topic(topic, folder)

    @property
    def topic(self) -> str:
        return self._topic

    def changes(self) -> Assignment:
        self._take_free_partitions()
        assigned, self._assigned = frozenset(self._assigned), set()
        return Assignment(assigned=assigned)

    def _take_free_partitions(self) -> None:
        if self._monotonic() < self._next_lock_try:
            return
        self._next_lock_try = self._monotonic() + LOCK_RETRY
        with _away(self._folder):
            (self._folder / self._topic / ".locks").mkdir(exist_ok=True)
            for number in range(partition_count(self._folder, self._topic)):
                if number in self._owned:
                    continue
                lock = try_lock(lock_path(self._folder, self._topic, self._group, number))
                if lock is not None:
                    path = partition_path(self._folder, self._topic, number)
                    self._owned[number] = _Partition(number, path, lock)
                    self._assigned.add(number)

    def start(self, offsets: Mapping[int, int]) -> None:
        with _away(self._folder):
            for number, offset in offsets.items():
                if number in self._owned:
                    self._owned[number].start(offset)

    def poll(self, timeout: float) -> list[RecordBatch]:
        deadline = self._monotonic() + timeout
        while True:
            with _away(self._folder):
                self._take_free_partitions()
                batches = [] if self._paused else self._read()
            left = deadline - self._monotonic()
            if batches or left <= 0 or self._assigned:
                return batches
            self._sleep(min(POLL_SLEEP, left))

    def _read(self) -> list[RecordBatch]:
        batches = []
        rows = self._max_rows
        # Each poll begins with another partition: a full one must not starve the others.
        order = sorted(self._owned)
        self._turn = (self._turn + 1) % max(1, len(order))
        for number in order[self._turn :] + order[: self._turn]:
            batch = self._owned[number].read(self._topic, rows)
            if batch is not None:
                batches.append(batch)
                rows -= batch.next_offset - batch.first_offset
            if rows <= 0:
                break
        return batches

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False

    def ends(self) -> dict[int, int]:
        with _away(self._folder):
            return {number: part.index.end() for number, part in self._owned.items()}

    def committed(self, offsets: Mapping[int, int]) -> None:
        """Files have no lag tools of their own."""

    def close(self) -> None:
        for partition in self._owned.values():
            os.close(partition.lock)
        self._owned.clear()
        self._assigned.clear()
        self._next_lock_try = float("inf")


@contextmanager
def _away(folder: Path) -> Iterator[None]:
    """What the operating system refuses becomes `Unavailable`."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the stream folder {folder}: {error.strerror or error}") from error


def lock_path(folder: Path, topic: str, group: str, partition: int) -> Path:
    """The file by whose lock a reader owns a partition."""
    return folder / topic / ".locks" / f"{group}-{partition}.lock"


def try_lock(path: Path) -> int | None:
    """An open descriptor that holds the lock, or None where another one holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


class FilePublisher:
    """`streams.source.Publisher` over files; returns after `fsync`."""

    def __init__(self, folder: Path, clock: Clock, *, lock_seconds: float = 10) -> None:
        self._folder = folder
        self._clock = clock
        self._lock_seconds = lock_seconds
        self._spread = itertools.count()

    def publish_all(self, topic: str, messages: Mapping[int, Sequence[Message]]) -> None:
        at_ms = int(self._clock.now().timestamp() * 1000)
        with _away(self._folder):
            count = self._partitions(topic)
            if not all(0 <= partition < count for partition in messages):
                raise ConfigurationError(f"topic {topic!r} has {count} partitions, not more")
            for batch in messages.values():
                check_sizes(batch)
            for partition, batch in messages.items():
                if batch:
                    lines = b"".join([encode_line(message, at_ms) for message in batch])
                    self._append(partition_path(self._folder, topic, partition), lines)
        PUBLISHED.labels(topic).inc(sum(map(len, messages.values())))

    def publish(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        self.publish_all(topic, {partition: messages})

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        count = self._partitions(topic)
        self.publish_all(topic, spread(messages, count, self._spread))

    def close(self) -> None:
        """Nothing is held between two calls."""

    def _partitions(self, topic: str) -> int:
        count = partition_count(self._folder, topic)
        if not count:
            raise unknown_topic(topic, self._folder)
        return count

    def _append(self, path: Path, lines: bytes) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            self._lock(descriptor, path)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != NEWLINE:
                lines = NEWLINE + lines
            try:
                left = memoryview(lines)
                while left:
                    left = left[os.write(descriptor, left) :]
                os.fsync(descriptor)
            except OSError:
                # Whole lines stay, a reader may have them; the torn one goes.
                written = os.fstat(descriptor).st_size - size
                if written < len(lines):
                    with suppress(OSError):
                        os.ftruncate(descriptor, size + lines.rfind(NEWLINE, 0, written) + 1)
                raise
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int, path: Path) -> None:
        deadline = time.monotonic() + self._lock_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"{path} is locked by another writer for {self._lock_seconds} s"
                    ) from None
                time.sleep(0.005)
            else:
                return
