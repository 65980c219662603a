"""Numbers kept in order, for ranks: put in, taken out and counted in a hundred steps or so.

A list is a piece of an int64 array: for each of its buckets, in order, the lowest number, then for
each the number of members and where they are, then places for `BUCKET` members each, in order. A
full bucket is cut in two; when no bucket is left, all are filled anew.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BUCKET = 62
_FILLED = 46  # members of a bucket that is filled anew
PIECE = BUCKET + 2  # numbers of the array for each bucket

# A list's three numbers in its account's row, from `at` on.
_START, _BUCKETS, _USED = range(3)


@njit(cache=True, nogil=True)
def clear(row, at, start, buckets):  # type: ignore[no-untyped-def]
    """An empty list in `PIECE * buckets` numbers of the array from `start` on."""
    row[at + _START] = start
    row[at + _BUCKETS] = buckets
    row[at + _USED] = 0


@njit(cache=True, nogil=True)
def _bucket_of(array, start, used, value):  # type: ignore[no-untyped-def]
    """Number of buckets whose lowest number is at most `value`."""
    low, high = 0, used
    while low < high:
        middle = (low + high) >> 1
        if array[start + middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _members(array, start, buckets, bucket):  # type: ignore[no-untyped-def]
    """Where a bucket's members begin, and how many there are."""
    fact = array[start + buckets + bucket]
    return start + 2 * buckets + (fact >> 8) * BUCKET, fact & 0xFF


@njit(cache=True, nogil=True)
def count(array, row, at, value):  # type: ignore[no-untyped-def]
    """How many members are at most `value`."""
    start, buckets, used = row[at + _START], row[at + _BUCKETS], row[at + _USED]
    bucket = _bucket_of(array, start, used, value) - 1
    if bucket < 0:
        return np.int64(0)
    total = np.int64(0)
    for i in range(start + buckets, start + buckets + bucket):
        total += array[i] & 0xFF
    members, number = _members(array, start, buckets, bucket)
    while number > 0 and array[members + number - 1] > value:
        number -= 1
    return total + number


@njit(cache=True, nogil=True)
def last(array, row, at):  # type: ignore[no-untyped-def]
    """The largest member, 0 without any."""
    if row[at + _USED] == 0:
        return np.int64(0)
    members, number = _members(array, row[at + _START], row[at + _BUCKETS], row[at + _USED] - 1)
    return array[members + number - 1]


@njit(cache=True, nogil=True)
def _fill_anew(array, row, at):  # type: ignore[no-untyped-def]
    start, buckets, used = row[at + _START], row[at + _BUCKETS], row[at + _USED]
    values = np.empty(buckets * BUCKET, dtype=np.int64)
    total = 0
    for bucket in range(used):
        members, number = _members(array, start, buckets, bucket)
        for i in range(number):
            values[total] = array[members + i]
            total += 1
    used = 0
    for first in range(0, total, _FILLED):
        number = min(_FILLED, total - first)
        array[start + used] = values[first]
        array[start + buckets + used] = (used << 8) | number
        members = start + 2 * buckets + used * BUCKET
        for i in range(number):
            array[members + i] = values[first + i]
        used += 1
    row[at + _USED] = used


@njit(cache=True, nogil=True)
def _cut(array, row, at, bucket):  # type: ignore[no-untyped-def]
    """Cut a full bucket in two. The places of buckets in use are 0 … used - 1."""
    start, buckets, used = row[at + _START], row[at + _BUCKETS], row[at + _USED]
    for i in range(used, bucket + 1, -1):
        array[start + i] = array[start + i - 1]
        array[start + buckets + i] = array[start + buckets + i - 1]
    members, number = _members(array, start, buckets, bucket)
    half = number // 2
    fresh = start + 2 * buckets + used * BUCKET
    for i in range(number - half):
        array[fresh + i] = array[members + half + i]
    array[start + buckets + bucket] += half - number
    array[start + bucket + 1] = array[fresh]
    array[start + buckets + bucket + 1] = (used << 8) | (number - half)
    row[at + _USED] = used + 1


@njit(cache=True, nogil=True)
def put_in(array, row, at, value):  # type: ignore[no-untyped-def]
    """Add a member; there must be fewer than `_FILLED * buckets`."""
    start, buckets = row[at + _START], row[at + _BUCKETS]
    if row[at + _USED] == 0:
        array[start] = array[start + 2 * buckets] = value
        array[start + buckets] = 1
        row[at + _USED] = 1
        return
    bucket = max(0, _bucket_of(array, start, row[at + _USED], value) - 1)
    if array[start + buckets + bucket] & 0xFF == BUCKET:
        if row[at + _USED] == buckets:
            _fill_anew(array, row, at)
            bucket = max(0, _bucket_of(array, start, row[at + _USED], value) - 1)
        else:
            _cut(array, row, at, bucket)
            if value >= array[start + bucket + 1]:
                bucket += 1
    members, number = _members(array, start, buckets, bucket)
    while number > 0 and array[members + number - 1] > value:
        array[members + number] = array[members + number - 1]
        number -= 1
    array[members + number] = value
    array[start + bucket] = array[members]
    array[start + buckets + bucket] += 1


@njit(cache=True, nogil=True)
def take_out(array, row, at, value):  # type: ignore[no-untyped-def]
    """Remove one member of this value; there must be one."""
    start, buckets, used = row[at + _START], row[at + _BUCKETS], row[at + _USED]
    bucket = _bucket_of(array, start, used, value) - 1
    members, number = _members(array, start, buckets, bucket)
    place = number - 1
    while array[members + place] != value:
        place -= 1
    for i in range(place, number - 1):
        array[members + i] = array[members + i + 1]
    array[start + buckets + bucket] -= 1
    array[start + bucket] = array[members]
    if number > 1:
        return
    # The bucket is empty. The bucket whose members lie last moves to where they were.
    gone = array[start + buckets + bucket] >> 8
    used -= 1
    for i in range(bucket, used):
        array[start + i] = array[start + i + 1]
        array[start + buckets + i] = array[start + buckets + i + 1]
    row[at + _USED] = used
    if gone == used:
        return
    for i in range(used):
        if array[start + buckets + i] >> 8 == used:
            array[start + buckets + i] += (gone - used) << 8
    source, target = start + 2 * buckets + used * BUCKET, start + 2 * buckets + gone * BUCKET
    for i in range(BUCKET):
        array[target + i] = array[source + i]
