"""Where accounts live: pooled arrays, their segments, and the compiled helpers that tend them.

An account's past is two segments:

- its **history**: the newest `KEEP` transactions of the last `RETAIN` before its latest one,
  ordered by time, ties in order of arrival;
- its **memory**: an open-addressing table of (dimension, value) → last seen, for what was seen
  within `REMEMBER` before its latest transaction.

What lies outside is gone by definition, whether or not it still takes up room; so when room is
cleared never changes a result. Within an account ids are told apart by 32 bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
LONGEST = 30 * DAY
RETAIN = LONGEST + 7 * DAY  # rows up to 7 days late have whole windows
KEEP = 8_192
REMEMBER = 365 * DAY
NEVER = np.iinfo(np.int64).min
SMALLEST = 4  # rows of the smallest segment
SCRATCH = 2 * KEEP

HISTORY = np.dtype(
    [("time", "<i8"), ("amount", "<i8"), ("merchant", "<u4"), ("country", "<u4"), ("device", "<u4")]
)
MEMORY = np.dtype([("time", "<i8"), ("key", "<u4")])
ACCOUNT = np.dtype(
    [
        ("id", "<u8"),
        ("first", "<i8"),
        ("latest", "<i8"),
        ("count", "<i8"),
        ("located", "<i8"),
        ("latitude", "<f8"),
        ("longitude", "<f8"),
        ("history", "<i8"),
        ("length", "<i8"),
        ("room", "<i8"),
        ("memory", "<i8"),
        ("known", "<i8"),
        ("slots", "<i8"),
    ]
)

DONE, SHORT_OF_ACCOUNTS, SHORT_OF_HISTORY, SHORT_OF_MEMORY = range(4)


class Pools(NamedTuple):
    """Where accounts live. `totals`: number of accounts, stamp of the scratch tables.

    `places`: open-addressing table from account id to its number, -1 empty. `…_heap[0]`: end of the
    used part of a pool; `…_heap[c]`: first free segment of 2**c rows, -1 none; a free segment
    holds the start of the next in its first row's `time`.
    """

    totals: NDArray[np.int64]
    places: NDArray[np.int64]
    accounts: NDArray[np.void]
    history: NDArray[np.void]
    history_heap: NDArray[np.int64]
    memory: NDArray[np.void]
    memory_heap: NDArray[np.int64]
    scratch: NDArray[np.int64]


@njit(cache=True, nogil=True)
def narrow(value):  # type: ignore[no-untyped-def]
    """A 64-bit id as 32 bits, 0 only for 0. Narrow ids stay as they are."""
    key = np.int64((value ^ (value >> np.uint64(32))) & np.uint64(0xFFFFFFFF))
    if key == 0 and value != np.uint64(0):
        return np.int64(1)
    return key


@njit(cache=True, nogil=True)
def memory_key(dimension, value):  # type: ignore[no-untyped-def]
    key = (value * 2_654_435_761 + (dimension + 1) * 0x9E3779B1) & 0xFFFFFFFF
    return key if key != 0 else 1


@njit(cache=True, nogil=True)
def _allocate(pool, heap, rows):  # type: ignore[no-untyped-def]
    """Start of a segment of `rows` (a power of two), -1 where the pool must grow first."""
    size = 0
    while (1 << size) < rows:
        size += 1
    start = heap[size]
    if start >= 0:
        heap[size] = pool[start].time
        return start
    start = heap[0]
    if start + rows > len(pool):
        return -1
    heap[0] = start + rows
    return start


@njit(cache=True, nogil=True)
def _release(pool, heap, start, rows):  # type: ignore[no-untyped-def]
    if rows == 0:
        return
    size = 0
    while (1 << size) < rows:
        size += 1
    pool[start].time = heap[size]
    heap[size] = start


@njit(cache=True, nogil=True)
def slot_of(memory, start, slots, key):  # type: ignore[no-untyped-def]
    """Where the key is, or the empty place where it would go."""
    mask = slots - 1
    place = key & mask
    while memory[start + place].key != 0 and memory[start + place].key != key:
        place = (place + 1) & mask
    return start + place


@njit(cache=True, nogil=True)
def place_account(pools, account):  # type: ignore[no-untyped-def]
    """Number of the account; a new one is added (room for it must be there)."""
    index, accounts = pools.places, pools.accounts
    mask = len(index) - 1
    place = np.int64(account & np.uint64(mask))
    while index[place] >= 0:
        if accounts[index[place]].id == account:
            return index[place]
        place = (place + 1) & mask
    number = pools.totals[0]
    pools.totals[0] = number + 1
    index[place] = number
    record = accounts[number]
    record.id = account
    record.first = record.latest = record.located = NEVER
    record.count = record.length = record.room = record.known = record.slots = 0
    record.latitude = record.longitude = 0.0
    return number


@njit(cache=True, nogil=True)
def reindex(index, accounts, number):  # type: ignore[no-untyped-def]
    """Fill an empty index with the first `number` accounts."""
    mask = len(index) - 1
    for account in range(number):
        place = np.int64(accounts[account].id & np.uint64(mask))
        while index[place] >= 0:
            place = (place + 1) & mask
        index[place] = account


@njit(cache=True, nogil=True)
def fill_memory(memory, starts, slots, counts, keys, times):  # type: ignore[no-untyped-def]
    """Put loaded pairs into empty segments: `counts[a]` pairs for each account a, in order."""
    pair = 0
    for account in range(len(starts)):
        for _ in range(counts[account]):
            place = slot_of(memory, starts[account], slots[account], np.int64(keys[pair]))
            memory[place].key = keys[pair]
            memory[place].time = times[pair]
            pair += 1


@njit(cache=True, nogil=True)
def make_room_history(record, history, heap, latest):  # type: ignore[no-untyped-def]
    """Room for one more row. False where the pool is short."""
    if record.length < record.room:
        return True
    start, length = record.history, record.length
    gone = max(0, length - KEEP)
    while gone < length and history[start + gone].time <= latest - RETAIN:
        gone += 1
    target = start
    if record.room == 0 or gone * 4 < record.room:
        room = max(SMALLEST, 2 * record.room)
        target = _allocate(history, heap, room)
        if target < 0:
            return False
    for offset in range(length - gone):
        history[target + offset] = history[start + gone + offset]
    if target != start:
        _release(history, heap, start, record.room)
        record.history = target
        record.room = room
    record.length = length - gone
    return True


@njit(cache=True, nogil=True)
def make_room_memory(record, memory, heap, latest, more):  # type: ignore[no-untyped-def]
    """Room for `more` pairs at a load of at most 3/4. False where the pool is short."""
    if (record.known + more) * 4 <= record.slots * 3:
        return True
    start, slots = record.memory, record.slots
    fresh = 0
    for place in range(start, start + slots):
        if memory[place].key != 0 and memory[place].time > latest - REMEMBER:
            fresh += 1
    room = SMALLEST
    while (fresh + more) * 4 > room * 3:
        room *= 2
    if (fresh + more) * 8 > room * 5:
        room *= 2
    target = _allocate(memory, heap, room)
    if target < 0:
        return False
    for place in range(target, target + room):
        memory[place].key = 0
    for place in range(start, start + slots):
        if memory[place].key != 0 and memory[place].time > latest - REMEMBER:
            key = np.int64(memory[place].key)
            memory[slot_of(memory, target, room, key)] = memory[place]
    _release(memory, heap, start, slots)
    record.memory = target
    record.slots = room
    record.known = fresh
    return True
