"""The stream contract. Two carriers keep it: `streams.kafka` and `streams.files`.

One contract suite (`tests/contract/`) runs on both, on a real broker.

A carrier knows topics, partitions, offsets and bytes; nothing of transactions. Offsets are kept
by the caller (in PostgreSQL): a carrier starts a partition only where it is told to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Damaged:
    """Offsets `first_offset <= o < next_offset` that the carrier could not read."""

    first_offset: int
    next_offset: int
    reason: str
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Messages of one partition in offset order, as parallel lists of the same length.

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

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish. `headers` are few: the transaction id, for consumers to deduplicate."""

    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


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
        """Ownership changes since the last call. Assigned partitions stay paused until `start`."""
        ...

    def start(self, offsets: Mapping[int, int]) -> None:
        """Read each partition from the offset given (also used to rewind)."""
        ...

    def poll(self, timeout: float) -> list[RecordBatch]:
        """Up to the configured number of rows, at most one batch a partition.

        Raises `Unavailable` when the carrier is away. Keeps group membership alive, so call it
        with `timeout=0` while paused.
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
    """

    def publish(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        """To the partition named (decisions go where their transaction came from)."""
        ...

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        """Each to the partition of its key (murmur2, as Kafka's own clients do)."""
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
        """Called between batches: publish what is left, write snapshots, look for new models."""
        ...
