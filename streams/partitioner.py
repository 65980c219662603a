"""Which partition a key belongs to: murmur2 as in Kafka's own clients (its 32-bit variant with
seed 0x9747b28c, https://kafka.apache.org, `Utils.murmur2`), so that every producer agrees where
an account lives. Computed for many keys at once: numpy columns of all keys of one length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from streams.source import Message

SEED = np.uint32(0x9747B28C)
MIX = np.uint32(0x5BD1E995)


def partitions_of(keys: Sequence[bytes], partitions: int) -> NDArray[np.int64]:
    """The partition in [0, partitions) of each key."""
    hashes = np.empty(len(keys), dtype=np.uint32)
    lengths = np.fromiter(map(len, keys), dtype=np.int64, count=len(keys))
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        hashes[rows] = _murmur2(b"".join([keys[row] for row in rows.tolist()]), len(rows), length)
    return (hashes & np.uint32(0x7FFFFFFF)).astype(np.int64) % partitions


def spread(
    messages: Sequence[Message], partitions: int, turns: Iterator[int]
) -> dict[int, list[Message]]:
    """Messages by the partition of their key; those without one take turns."""
    keyed = [message.key for message in messages if message.key is not None]
    numbers = iter(partitions_of(keyed, partitions).tolist())
    result: dict[int, list[Message]] = {}
    for message in messages:
        number = next(turns) % partitions if message.key is None else next(numbers)
        result.setdefault(number, []).append(message)
    return result


def _murmur2(joined: bytes, count: int, length: int) -> NDArray[np.uint32]:
    """The hash of `count` keys of `length` bytes each, given as one string."""
    octets = np.frombuffer(joined, dtype=np.uint8).reshape(count, length)
    whole = length // 4 * 4
    words = np.ascontiguousarray(octets[:, :whole]).view("<u4")
    hashes = np.full(count, SEED ^ np.uint32(length), dtype=np.uint32)
    for column in range(whole // 4):
        word = words[:, column] * MIX
        word ^= word >> np.uint32(24)
        word *= MIX
        hashes *= MIX
        hashes ^= word
    rest = octets[:, whole:].astype(np.uint32)
    if length > whole:
        for place in range(length - whole):
            hashes ^= rest[:, place] << np.uint32(8 * place)
        hashes *= MIX
    hashes ^= hashes >> np.uint32(13)
    hashes *= MIX
    hashes ^= hashes >> np.uint32(15)
    return hashes
