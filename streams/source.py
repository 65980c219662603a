"""The stream contract. Two carriers keep it: `streams.kafka` and `streams.files`.

One contract suite (`tests/contract/`) runs on both, on a real broker.

A carrier knows topics, partitions, offsets and bytes; nothing of transactions. Offsets are kept
by the caller (in PostgreSQL): a carrier starts a partition only where it is told to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from fraudwatch.errors import ConfigurationError, Invalid

RAW_LIMIT = 65_536
MAX_MESSAGE_BYTES = 900_000
"""Most bytes of key, value and headers of one message, on either carrier: below what a Kafka
broker takes by default, with room for a batch's own bytes."""

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Damaged:
    """Offsets `first_offset <= o < next_offset` that the carrier could not read.

    `reason` is a sentence without values of the message, `raw` what stood there, where it is
    known, cut to `RAW_LIMIT` bytes. `expired`: the topic's retention deleted them unread.
    """

    first_offset: int
    next_offset: int
    reason: str
    raw: bytes = b""
    expired: bool = False


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Messages of one partition in offset order, as parallel lists of the same length.

    A message without a value (a tombstone) has the value `b""`. `headers` is empty where no
    message of the batch has any.

    `first_offset` is where the read began and `next_offset` where it goes on. Offsets between
    the two that are neither in `offsets` nor `damaged` hold no message (control records,
    compaction, aborted transactions).
    """

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    offsets: list[int]
    keys: list[bytes | None]
    values: list[bytes]
    timestamps_ms: list[int]
    damaged: tuple[Damaged, ...] = ()
    headers: list[Headers] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message to publish. `headers` are few: the transaction id, for consumers to deduplicate.

    A struct, since one is made for each decision: a dataclass takes five times as long.
    """

    key: bytes | None
    value: bytes
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Assignment:
    """A change of ownership that the caller must act on before the next poll."""

    assigned: frozenset[int] = field(default_factory=frozenset)
    revoked: frozenset[int] = field(default_factory=frozenset)


class Source(Protocol):
    """Reads one topic as a member of a group. Not thread-safe: one owner calls it."""

    @property
    def topic(self) -> str: ...

    def changes(self) -> Assignment:
        """Ownership changes since the last call. Assigned partitions stay paused until `start`.

        A partition that was lost and came back is in both sets: revoke first, then assign.
        """
        ...

    def start(self, offsets: Mapping[int, int]) -> None:
        """Read each partition from the offset given (also used to rewind).

        0 stands for the oldest message there is. A partition no longer owned is left out.
        """
        ...

    def poll(self, timeout: float) -> list[RecordBatch]:
        """Up to the configured number of rows, at most one batch a partition.

        Waits up to `timeout` seconds for the first message. Raises `Unavailable` when the carrier
        is away, and `ConfigurationError` when a partition ends before the offset asked for. Keeps
        group membership alive, so call it with `timeout=0` while paused.
        """
        ...

    def pause(self) -> None:
        """Deliver nothing until `resume`, keep membership."""
        ...

    def resume(self) -> None: ...

    def ends(self) -> dict[int, int]:
        """For each owned partition the offset after its last message, for lag."""
        ...

    def committed(self, offsets: Mapping[int, int]) -> None:
        """Tell the carrier, for lag tools only, how far the caller has come."""
        ...

    def close(self) -> None: ...


class Publisher(Protocol):
    """Writes messages; returns when they are durable, raises `Unavailable` if that is unknown.

    After `Unavailable` the caller publishes the same again: consumers see repeats, never gaps.
    Raises `ConfigurationError` for an unknown topic or partition and `Invalid` for a message above
    `MAX_MESSAGE_BYTES`, before anything is written. Safe to call from several threads.
    """

    def publish_all(self, topic: str, messages: Mapping[int, Sequence[Message]]) -> None:
        """To several partitions of a topic at once, keeping the order in each."""
        ...

    def publish(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        """To the partition named (decisions go where their transaction came from)."""
        ...

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        """Each to the partition of its key (murmur2, as Kafka's own clients do).

        Messages without a key are spread over the partitions.
        """
        ...

    def close(self) -> None: ...


class Handler(Protocol):
    """What `streams.runner.Runner` drives: the forward path, or the intake of labels."""

    def assign(self, partitions: frozenset[int]) -> Mapping[int, int]:
        """Load what these partitions need; return the offset to read each from."""
        ...

    def revoke(self, partitions: frozenset[int]) -> None:
        """Drop all memory of these partitions."""
        ...

    def process(self, batches: Sequence[RecordBatch]) -> None:
        """Take the batches in, once: when this returns they are durable.

        Raises `Unavailable` (call again with the same batches), `Fenced` (the runner drops the
        partitions, reads their offsets again) or `DeadLetterLimit` (the runner stops). Any other
        error ends the worker: memory may be ahead of the database.
        """
        ...

    def idle(self) -> None:
        """Called between batches: publish what is left, write snapshots, look for new models.

        May raise `Unavailable` or `Fenced`, as `process` does.
        """
        ...


def check_sizes(messages: Iterable[Message]) -> None:
    """Raise `Invalid` for a message that Kafka would not take, on either carrier."""
    for message in messages:
        size = len(message.value) + len(message.key or b"")
        size += sum(len(name) + len(value) for name, value in message.headers)
        if size > MAX_MESSAGE_BYTES:
            raise Invalid(f"a message of {size} bytes is above the {MAX_MESSAGE_BYTES} allowed")


def unknown_topic(topic: str, where: object) -> ConfigurationError:
    """There is no such topic: what to do."""
    return ConfigurationError(f"there is no topic {topic!r} at {where}; run `fraudwatch topics`")
