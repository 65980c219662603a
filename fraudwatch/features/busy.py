"""Accounts with many transactions: a row costs them no more than it costs others.

What `bits.py` holds is walked over for each row. For an account with more than `MANY` rows or
`MANY_ENTRIES` entries, sums, counts and ranks of the five windows are carried along instead, from
the place in its history where they stood to the place of the next row: an ordinary row enters each
window once and leaves it once. A late row moves them back, by as many rows as it is late.

All of it is of whole numbers, so it does not depend on the way there: what is measured equals what
a walk finds, to the last bit. It can be made again from rows and entries alone, and is, after a
restart and when room runs out.

In `Pools.store` a busy account has a piece of 8 * `ROOM` numbers and a table of its entries. The
piece: columns of `ROOM` numbers (times, amounts, codes of merchants, codes of countries * 2**32 +
those of devices), two ordered lists, the largest amount of each 64 rows. A code is the number of a
slot in the table, from 1 on, 0 for none. A slot is 8 numbers: key (0: empty), last seen, and 15
small counters: rows with it in each window, as each dimension.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from fraudwatch.features import ordered
from fraudwatch.features.layout import (
    AMOUNTS,
    BEGIN,
    CLOCK,
    DIFFERENT,
    END,
    KNOWN,
    LENGTH,
    ROOM,
    SLOTS,
    SQUARES,
    START,
    TABLE,
    TOTAL,
    WEEKDAY,
)
from fraudwatch.features.spans import (
    BELOW,
    COUNT,
    COUNTRIES,
    DAY,
    DEVIATION,
    DEVICES,
    HOUR,
    KEEP,
    LONGEST,
    MAX,
    MEAN,
    MERCHANTS,
    PAST_MAX,
    RETAIN,
    SAME_HOUR,
    SAME_WEEKDAY,
    SINCE,
    SUM,
    WINDOWS,
)

MANY = 256
MANY_ENTRIES = 512
SLOT = 8
_ROWS_A_BUCKET = 32  # of the room of the history
_BLOCK = 64
_LONG = len(WINDOWS) - 1

SPLIT = 25  # bits of an amount's lower part
_LOWER = (1 << SPLIT) - 1


@njit(cache=True, nogil=True)
def deviation(count, total, high, mixed, low):  # type: ignore[no-untyped-def]
    """Sample standard deviation of amounts a * 2**SPLIT + b from the exact sums of the amounts and
    of a*a, a*b and b*b. Good to seven figures where it is above a ten-thousandth of the mean."""
    if count < 2:
        return 0.0
    squares = float(high) * 2.0 ** (2 * SPLIT) + float(mixed) * 2.0 ** (SPLIT + 1) + float(low)
    return math.sqrt(max(0.0, squares - float(total) * float(total) / count) / (count - 1))


@njit(cache=True, nogil=True)
def slot_of(store, table, slots, key):  # type: ignore[no-untyped-def]
    """The slot of the key, or the empty one where it would go."""
    slot = (key ^ (key >> 15)) & (slots - 1)
    while store[table + slot * SLOT] != 0 and store[table + slot * SLOT] != key:
        slot = (slot + 1) & (slots - 1)
    return slot


@njit(cache=True, nogil=True)
def code_of(store, row, dimension, i):  # type: ignore[no-untyped-def]
    """Code of row i's merchant (0), country (1) or device (2)."""
    if dimension == 0:
        return store[row[START] + 2 * row[ROOM] + i]
    both = store[row[START] + 3 * row[ROOM] + i]
    return both >> 32 if dimension == 1 else both & 0xFFFFFFFF


@njit(cache=True, nogil=True)
def enter(pools, row, window, i, sign):  # type: ignore[no-untyped-def]
    """Row i of the history enters a window (sign 1) or leaves it (-1)."""
    store, halves = pools.store, pools.halves
    amount = store[row[START] + row[ROOM] + i]
    row[TOTAL + window] += sign * amount
    for dimension in range(3):
        code = code_of(store, row, dimension, i)
        if code != 0:
            at = (row[TABLE] + (code - 1) * SLOT + 2) * 4 + window * 3 + dimension
            before = np.int64(halves[at])
            halves[at] = before + sign
            if before == 0 or before + sign == 0:
                row[DIFFERENT + window * 3 + dimension] += sign
    if window == _LONG:
        time = store[row[START] + i]
        row[WEEKDAY + time // DAY % 7] += sign
        a, b = amount >> SPLIT, amount & _LOWER
        row[SQUARES] += sign * (a * a)
        row[SQUARES + 1] += sign * (a * b)
        row[SQUARES + 2] += sign * (b * b)
        if sign > 0:
            ordered.put_in(store, row, AMOUNTS, amount)
            ordered.put_in(store, row, CLOCK, time % DAY)
        else:
            ordered.take_out(store, row, AMOUNTS, amount)
            ordered.take_out(store, row, CLOCK, time % DAY)


@njit(cache=True, nogil=True)
def _move(pools, row, time, latest):  # type: ignore[no-untyped-def]
    """Move the windows to where a row of this time belongs."""
    store, start, length = pools.store, row[START], row[LENGTH]
    oldest = max(0, length - KEEP)
    floor = latest - RETAIN
    while row[END] < length and (row[END] < oldest or store[start + row[END]] <= time):
        for window in range(len(WINDOWS)):
            enter(pools, row, window, row[END], 1)
        row[END] += 1
    while row[END] > oldest and store[start + row[END] - 1] > time:
        row[END] -= 1
        for window in range(len(WINDOWS)):
            if row[BEGIN + window] > row[END]:
                row[BEGIN + window] = row[END]
            else:
                enter(pools, row, window, row[END], -1)
    for window in range(len(WINDOWS)):
        bound = max(time - WINDOWS[window], floor)
        begin = row[BEGIN + window]
        while begin < row[END] and (begin < oldest or store[start + begin] <= bound):
            enter(pools, row, window, begin, -1)
            begin += 1
        while begin > oldest and store[start + begin - 1] > bound:
            begin -= 1
            enter(pools, row, window, begin, 1)
        row[BEGIN + window] = begin


@njit(cache=True, nogil=True)
def measure(pools, row, time, amount, latest, keys, codes, windows, past):  # type: ignore[no-untyped-def]
    """Measure a row against the history. Returns where in the history it belongs."""
    _move(pools, row, time, latest)
    store, halves, start = pools.store, pools.halves, row[START]
    end = row[END]
    top = np.int64(0)
    place = end
    for window in range(len(WINDOWS)):
        begin = row[BEGIN + window]
        top = _top(store, row, begin, place, top)
        place = begin
        windows[window, COUNT] = end - begin + 1
        windows[window, SUM] = row[TOTAL + window] + amount
        windows[window, MAX] = max(top, amount)
        for dimension, column in enumerate((MERCHANTS, COUNTRIES, DEVICES)):
            remembered = (0, 3, 4)[dimension]
            fresh = keys[remembered] != 0
            if codes[remembered] != 0:
                slot = row[TABLE] + (codes[remembered] - 1) * SLOT
                fresh = halves[(slot + 2) * 4 + window * 3 + dimension] == 0
            windows[window, column] = row[DIFFERENT + window * 3 + dimension] + fresh
    count = end - row[BEGIN + _LONG]
    total = row[TOTAL + _LONG]
    past[SINCE] = (time - store[start + end - 1] if count else LONGEST) / 1e6
    past[MEAN] = total / count if count else 0.0
    past[DEVIATION] = deviation(count, total, row[SQUARES], row[SQUARES + 1], row[SQUARES + 2])
    past[PAST_MAX] = top
    less = ordered.count(store, row, AMOUNTS, amount - 1)
    past[BELOW] = (less + ordered.count(store, row, AMOUNTS, amount)) / 2
    clock = time % DAY
    low, high = clock - HOUR, clock + HOUR
    near = ordered.count(store, row, CLOCK, high) - ordered.count(store, row, CLOCK, low - 1)
    if low < 0:
        near += count - ordered.count(store, row, CLOCK, low + DAY - 1)
    if high >= DAY:
        near += ordered.count(store, row, CLOCK, high - DAY)
    past[SAME_HOUR] = near
    past[SAME_WEEKDAY] = row[WEEKDAY + time // DAY % 7]
    return end


@njit(cache=True, nogil=True)
def _tops(row):  # type: ignore[no-untyped-def]
    """Where the largest amounts of blocks are."""
    return row[START] + 8 * row[ROOM] - row[ROOM] // _BLOCK


@njit(cache=True, nogil=True)
def _top(store, row, begin, end, top):  # type: ignore[no-untyped-def]
    """The largest amount of the rows from `begin` to before `end`, at least `top`."""
    amounts, tops = row[START] + row[ROOM], _tops(row)
    while end > begin:
        if end % _BLOCK == 0 and end - _BLOCK >= begin:
            end -= _BLOCK
            top = max(top, store[tops + end // _BLOCK])
        else:
            end -= 1
            top = max(top, store[amounts + end])
    return top


@njit(cache=True, nogil=True)
def find_tops(store, row, begin):  # type: ignore[no-untyped-def]
    """Find the largest amounts of blocks anew, from the one of row `begin` on."""
    tops = _tops(row)
    for block in range(begin // _BLOCK, (row[LENGTH] + _BLOCK - 1) // _BLOCK):
        top = np.int64(0)
        at = row[START] + row[ROOM] + block * _BLOCK
        for i in range(at, at + min(_BLOCK, row[LENGTH] - block * _BLOCK)):
            top = max(top, store[i])
        store[tops + block] = top


@njit(cache=True, nogil=True)
def insert(pools, row, position, time, amount, merchant, country, device):  # type: ignore[no-untyped-def]
    """Put a row into the history, where there is room for it."""
    store, start, room = pools.store, row[START], row[ROOM]
    late = position < row[LENGTH]
    for i in range(row[LENGTH], position, -1):
        for column in range(4):
            at = start + column * room + i
            store[at] = store[at - 1]
    store[start + position] = time
    store[start + room + position] = amount
    store[start + 2 * room + position] = merchant
    store[start + 3 * room + position] = (country << 32) | device
    row[LENGTH] += 1
    if late:
        find_tops(store, row, position)
    else:
        at = _tops(row) + position // _BLOCK
        store[at] = amount if position % _BLOCK == 0 else max(store[at], amount)


@njit(cache=True, nogil=True)
def forget(pools, row):  # type: ignore[no-untyped-def]
    """Empty windows; the next `_move` fills them."""
    store = pools.store
    row[END] = max(0, row[LENGTH] - KEEP)
    row[BEGIN : BEGIN + 5] = row[END]
    row[TOTAL : SQUARES + 3] = 0
    for slot in range(row[SLOTS]):
        for i in range(2, SLOT):
            store[row[TABLE] + slot * SLOT + i] = 0
    buckets = min(row[ROOM], KEEP) // _ROWS_A_BUCKET - 1
    lists = row[START] + 4 * row[ROOM]
    ordered.clear(row, AMOUNTS, lists, buckets)
    ordered.clear(row, CLOCK, lists + ordered.PIECE * buckets, buckets)


@njit(cache=True, nogil=True)
def find(pools, row, key):  # type: ignore[no-untyped-def]
    """Code of a key, 0 for none."""
    slot = slot_of(pools.store, row[TABLE], row[SLOTS], key)
    return slot + 1 if pools.store[row[TABLE] + slot * SLOT] == key else np.int64(0)


@njit(cache=True, nogil=True)
def key_of(pools, row, code):  # type: ignore[no-untyped-def]
    return pools.store[row[TABLE] + (code - 1) * SLOT]


@njit(cache=True, nogil=True)
def seen_of(pools, row, code):  # type: ignore[no-untyped-def]
    return pools.store[row[TABLE] + (code - 1) * SLOT + 1]


@njit(cache=True, nogil=True)
def remember(pools, row, key, time):  # type: ignore[no-untyped-def]
    """The key was seen at that time. Returns its code."""
    slot = slot_of(pools.store, row[TABLE], row[SLOTS], key)
    at = row[TABLE] + slot * SLOT
    if pools.store[at] == 0:
        pools.store[at] = key
        pools.store[at + 1] = time
        row[KNOWN] += 1
    pools.store[at + 1] = max(pools.store[at + 1], time)
    return slot + 1
