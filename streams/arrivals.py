"""From a batch of bytes to transactions and rejected messages. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fraudwatch.errors import InputError
from streams.dead_letters import Rejected, rejected, replay_of
from streams.source import RecordBatch

T = TypeVar("T")


@dataclass(slots=True)
class Arrivals(Generic[T]):
    """What a batch holds: decoded messages with their offsets and bytes, and the rejected."""

    partition: int
    offsets: list[int] = field(default_factory=list)
    items: list[T] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    replays: dict[int, int] = field(default_factory=dict)
    """By offset: of which dead letter the message is a replay."""
    rejected: list[Rejected] = field(default_factory=list)

    def reject(self, index: int, reason: str, name: str = "", detail: str = "") -> None:
        """Turn the decoded message at `index` into a rejected one; `drop` removes it after."""
        offset = self.offsets[index]
        self.rejected.append(
            rejected(
                self.partition,
                offset,
                reason,
                value=self.payloads[index],
                key=self.keys[index],
                field=name,
                detail=detail,
                replay_of=self.replays.get(offset),
            )
        )

    def drop(self, indexes: set[int]) -> None:
        """Remove decoded messages that were rejected."""
        if indexes:
            keep = [i for i in range(len(self.offsets)) if i not in indexes]
            self.offsets = [self.offsets[i] for i in keep]
            self.items = [self.items[i] for i in keep]
            self.payloads = [self.payloads[i] for i in keep]
            self.keys = [self.keys[i] for i in keep]


def read(batch: RecordBatch, start: int, decode: Callable[[bytes], T]) -> Arrivals[T]:
    """Decode the messages at offsets from `start` on; earlier ones were taken in before."""
    arrivals: Arrivals[T] = Arrivals(batch.partition)
    if batch.headers:
        found = zip(batch.offsets, map(replay_of, batch.headers), strict=True)
        arrivals.replays = {offset: origin for offset, origin in found if origin is not None}
    for offset, key, value in zip(batch.offsets, batch.keys, batch.values, strict=True):
        if offset < start:
            continue
        try:
            item = decode(value)
        except InputError as error:
            arrivals.rejected.append(
                rejected(
                    batch.partition,
                    offset,
                    error.reason,
                    value=value,
                    key=key,
                    field=error.field,
                    detail=error.detail,
                    replay_of=arrivals.replays.get(offset),
                )
            )
            continue
        arrivals.offsets.append(offset)
        arrivals.items.append(item)
        arrivals.payloads.append(value)
        arrivals.keys.append(key)
    for damaged in batch.damaged:
        if damaged.next_offset > start and not damaged.expired:
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
