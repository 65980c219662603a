"""From a batch of bytes to transactions and rejected messages. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fraudwatch.errors import InputError
from streams.dead_letters import Rejected
from streams.source import RecordBatch

T = TypeVar("T")


@dataclass(slots=True)
class Arrivals(Generic[T]):
    """What a batch holds: decoded messages with their offsets and bytes, and the rejected."""

    partition: int
    offsets: list[int] = field(default_factory=list)
    items: list[T] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def reject(self, index: int, reason: str, name: str = "", detail: str = "") -> None:
        """Turn the decoded message at `index` into a rejected one; `drop` removes it after."""
        offset = self.offsets[index]
        self.rejected.append(
            Rejected(self.partition, offset, offset + 1, reason, name, detail, self.payloads[index])
        )

    def drop(self, indexes: set[int]) -> None:
        """Remove decoded messages that were rejected."""
        if indexes:
            keep = [i for i in range(len(self.offsets)) if i not in indexes]
            self.offsets = [self.offsets[i] for i in keep]
            self.items = [self.items[i] for i in keep]
            self.payloads = [self.payloads[i] for i in keep]


def read(batch: RecordBatch, start: int, decode: Callable[[bytes], T]) -> Arrivals[T]:
    """Decode the messages at offsets from `start` on; earlier ones were taken in before."""
    arrivals: Arrivals[T] = Arrivals(batch.partition)
    for offset, value in zip(batch.offsets, batch.values, strict=True):
        if offset < start:
            continue
        try:
            item = decode(value)
        except InputError as error:
            arrivals.rejected.append(
                Rejected(
                    batch.partition,
                    offset,
                    offset + 1,
                    error.reason,
                    error.field,
                    error.detail,
                    value,
                )
            )
            continue
        arrivals.offsets.append(offset)
        arrivals.items.append(item)
        arrivals.payloads.append(value)
    for damaged in batch.damaged:
        if damaged.next_offset > start:
            arrivals.rejected.append(
                Rejected(
                    batch.partition,
                    max(start, damaged.first_offset),
                    damaged.next_offset,
                    "damaged",
                    "",
                    damaged.reason,
                    damaged.raw,
                )
            )
    return arrivals
