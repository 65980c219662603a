"""Room for busy accounts (see `busy.py`): made, found when it runs out, and given up.

An account becomes busy by `unfold`. Its history doubles its room until `KEEP` rows and as many that
are too old fit; its table, while at most three quarters of it are full.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudwatch.features import busy
from fraudwatch.features.layout import (
    BEGIN,
    BUSY,
    BUSY_ACCOUNTS,
    END,
    KNOWN,
    LENGTH,
    ROOM,
    S_AMOUNT,
    S_COUNTRY,
    S_DEVICE,
    S_KEY,
    S_MERCHANT,
    S_SEEN,
    S_TIME,
    SLOTS,
    START,
    TABLE,
)
from fraudwatch.features.spans import KEEP, REMEMBER, RETAIN, WINDOWS

_SMALLEST_ROOM = 512
_SMALLEST_TABLE = 64


@njit(cache=True, nogil=True)
def allocate(store, heap, numbers):  # type: ignore[no-untyped-def]
    """Start of a piece of so many numbers (a power of two), -1 where the store must grow."""
    size = 0
    while (1 << size) < numbers:
        size += 1
    start = heap[size]
    if start >= 0:
        heap[size] = store[start]
        return start
    start = heap[0]
    if start + numbers > len(store):
        return np.int64(-1)
    heap[0] = start + numbers
    return start


@njit(cache=True, nogil=True)
def release(store, heap, start, numbers):  # type: ignore[no-untyped-def]
    size = 0
    while (1 << size) < numbers:
        size += 1
    store[start] = heap[size]
    heap[size] = start


@njit(cache=True, nogil=True)
def room_for_row(pools, row, latest):  # type: ignore[no-untyped-def]
    """Room for one more row. False where the store is short."""
    if row[LENGTH] < row[ROOM]:
        return True
    store, heap, start, room, length = pools.store, pools.heap, row[START], row[ROOM], row[LENGTH]
    gone = max(0, length - KEEP)
    while gone < length and store[start + gone] <= latest - RETAIN:
        gone += 1
    if gone * 4 < room:
        target = allocate(store, heap, 16 * room)
        if target < 0:
            return False
        for column in range(4):
            for i in range(length):
                store[target + column * 2 * room + i] = store[start + column * room + i]
        release(store, heap, start, 8 * room)
        row[START], row[ROOM] = target, 2 * room
        busy.find_tops(store, row, 0)
        busy.forget(pools, row)
        return True
    while row[END] < gone:
        for window in range(len(WINDOWS)):
            busy.enter(pools, row, window, row[END], 1)
        row[END] += 1
    for window in range(len(WINDOWS)):
        while row[BEGIN + window] < gone:
            busy.enter(pools, row, window, row[BEGIN + window], -1)
            row[BEGIN + window] += 1
        row[BEGIN + window] -= gone
    row[END] -= gone
    for column in range(4):
        for i in range(start + column * room, start + column * room + length - gone):
            store[i] = store[i + gone]
    row[LENGTH] = length - gone
    busy.find_tops(store, row, 0)
    return True


@njit(cache=True, nogil=True)
def room_for_entries(pools, row, latest, more):  # type: ignore[no-untyped-def]
    """Room for `more` entries at a load of at most 3/4. False where the store is short."""
    if (row[KNOWN] + more) * 4 <= row[SLOTS] * 3:
        return True
    store, table, slots = pools.store, row[TABLE], row[SLOTS]
    fresh = more
    for slot in range(slots):
        at = table + slot * busy.SLOT
        fresh += store[at] != 0 and store[at + 1] > latest - REMEMBER
    room = _SMALLEST_TABLE
    while fresh * 2 > room:
        room *= 2
    target = allocate(store, pools.heap, room * busy.SLOT)
    if target < 0:
        return False
    store[target : target + room * busy.SLOT] = 0
    codes = np.zeros(slots + 1, dtype=np.int64)
    for slot in range(slots):
        at = table + slot * busy.SLOT
        if store[at] != 0 and store[at + 1] > latest - REMEMBER:
            found = busy.slot_of(store, target, room, store[at])
            store[target + found * busy.SLOT] = store[at]
            store[target + found * busy.SLOT + 1] = store[at + 1]
            codes[slot + 1] = found + 1
    for i in range(row[LENGTH]):
        merchant, country, device = (
            busy.code_of(store, row, 0, i),
            busy.code_of(store, row, 1, i),
            busy.code_of(store, row, 2, i),
        )
        at = row[START] + 2 * row[ROOM] + i
        store[at] = codes[merchant]
        store[at + row[ROOM]] = (codes[country] << 32) | codes[device]
    release(store, pools.heap, table, slots * busy.SLOT)
    row[TABLE], row[SLOTS], row[KNOWN] = target, room, fresh - more
    busy.forget(pools, row)
    return True


@njit(cache=True, nogil=True)
def unfold(pools, record, columns, rows, entries):  # type: ignore[no-untyped-def]
    """Make an account busy, of columns as those of `Pools.scratch`. Its place is the caller's to
    tell. Returns its row in `Pools.busy`; -1 where the store is short, nothing is done then. There
    must be a free row."""
    store, heap = pools.store, pools.heap
    number = pools.totals[BUSY_ACCOUNTS]
    row = pools.busy[number]
    row[:] = 0
    room, slots = _SMALLEST_ROOM, _SMALLEST_TABLE
    while room < 2 * rows and room < 2 * KEEP:
        room *= 2
    while slots < 2 * entries:
        slots *= 2
    start = allocate(store, heap, 8 * room)
    if start < 0:
        return np.int64(-1)
    table = allocate(store, heap, slots * busy.SLOT)
    if table < 0:
        release(store, heap, start, 8 * room)
        return np.int64(-1)
    row[START], row[ROOM], row[TABLE], row[SLOTS] = start, room, table, slots
    store[table : table + slots * busy.SLOT] = 0
    codes = np.zeros(entries + 1, dtype=np.int64)
    for i in range(entries):
        codes[i + 1] = busy.remember(pools, row, columns[S_KEY, i], columns[S_SEEN, i])
    for i in range(rows):
        busy.insert(
            pools,
            row,
            i,
            columns[S_TIME, i],
            columns[S_AMOUNT, i],
            codes[columns[S_MERCHANT, i]],
            codes[columns[S_COUNTRY, i]],
            codes[columns[S_DEVICE, i]],
        )
    busy.forget(pools, row)
    pools.totals[BUSY_ACCOUNTS] += 1
    record.segment, record.size = number, BUSY
    return number


@njit(cache=True, nogil=True)
def fold(pools, row, latest):  # type: ignore[no-untyped-def]
    """What is not too old, as columns like `Pools.scratch`; and numbers of rows and entries."""
    store, start = pools.store, row[START]
    columns = np.zeros((8, max(row[LENGTH], row[KNOWN]) + 1), dtype=np.int64)
    codes = np.zeros(row[SLOTS] + 1, dtype=np.int64)
    entries = 0
    for slot in range(row[SLOTS]):
        at = row[TABLE] + slot * busy.SLOT
        if store[at] != 0 and store[at + 1] > latest - REMEMBER:
            columns[S_KEY, entries], columns[S_SEEN, entries] = store[at], store[at + 1]
            entries += 1
            codes[slot + 1] = entries
    rows = 0
    for i in range(max(0, row[LENGTH] - KEEP), row[LENGTH]):
        if store[start + i] > latest - RETAIN:
            columns[S_TIME, rows], columns[S_AMOUNT, rows] = (
                store[start + i],
                store[start + row[ROOM] + i],
            )
            columns[S_MERCHANT, rows] = codes[busy.code_of(store, row, 0, i)]
            columns[S_COUNTRY, rows] = codes[busy.code_of(store, row, 1, i)]
            columns[S_DEVICE, rows] = codes[busy.code_of(store, row, 2, i)]
            rows += 1
    return columns, rows, entries
