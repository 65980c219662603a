"""Where the fields of a batch's records stand (format 2, KIP-98), found in one compiled loop.

A record is a row of varints and bytes: length, attributes, time, offset, key, value, headers. Every
length is checked against the buffer's end before it is followed: the bytes may be anybody's.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

TIME, OFFSET, KEY, KEY_SIZE, VALUE, VALUE_SIZE, HEADERS, HEADER_COUNT = range(8)
"""Columns of `find_fields`: differences to the batch's first time and offset; where key, value and
headers begin; sizes (below 0: absent) and the number of headers."""
WIDTH = 8
LONGEST_VARINT = 10


def find_fields(buffer: bytes, at: int, count: int, last_offset: int) -> NDArray[np.int64] | None:
    """int64[count, WIDTH] for the records that begin at `at`.

    None where lengths do not add up to the buffer's end, or where offsets do not rise within
    0 <= offset <= last_offset.
    """
    fields = np.empty((count, WIDTH), dtype=np.int64)
    whole = _find_fields(np.frombuffer(buffer, dtype=np.uint8), at, last_offset, fields)
    return fields if whole else None


@njit(cache=True)  # type: ignore[untyped-decorator]
def _find_fields(
    buffer: NDArray[np.uint8], at: int, last_offset: int, fields: NDArray[np.int64]
) -> bool:
    before = -1
    for row in range(len(fields)):
        length, at = _varint(buffer, at)
        end = at + length
        if at < 0 or length < 1 or end > len(buffer):
            return False
        fields[row, TIME], at = _varint(buffer, at + 1)  # one byte of attributes, unused so far
        if at < 0:
            return False
        offset, at = _varint(buffer, at)
        if at < 0 or not before < offset <= last_offset:
            return False
        fields[row, OFFSET] = before = offset
        fields[row, KEY_SIZE], fields[row, KEY], at = _sized(buffer, at)
        if at < 0:
            return False
        fields[row, VALUE_SIZE], fields[row, VALUE], at = _sized(buffer, at)
        if at < 0:
            return False
        count, at = _varint(buffer, at)
        if at < 0 or not 0 <= count <= len(buffer):
            return False
        fields[row, HEADERS], fields[row, HEADER_COUNT] = at, count
        for _ in range(count):
            size, _start, at = _sized(buffer, at)
            if at < 0 or size < 0:
                return False
            size, _start, at = _sized(buffer, at)
            if at < 0:
                return False
        if at != end:
            return False
    return at == len(buffer)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _varint(buffer: NDArray[np.uint8], at: int) -> tuple[np.int64, int]:
    """A zig-zag variable-length integer and where it ends; -1 where it does not end."""
    result = np.uint64(0)
    for place in range(LONGEST_VARINT):
        if at + place >= len(buffer):
            return np.int64(0), -1
        octet = buffer[at + place]
        result |= np.uint64(octet & 0x7F) << np.uint64(7 * place)
        if octet < 0x80:
            half = np.int64(result >> np.uint64(1))
            return half ^ -np.int64(result & np.uint64(1)), at + place + 1
    return np.int64(0), -1


@njit(cache=True)  # type: ignore[untyped-decorator]
def _sized(buffer: NDArray[np.uint8], at: int) -> tuple[np.int64, int, int]:
    """The size of a field, where it begins and where it ends; -1 where it goes beyond."""
    size, start = _varint(buffer, at)
    if start < 0 or size > len(buffer) - start:
        return np.int64(0), 0, -1
    return size, start, start + max(size, 0)
