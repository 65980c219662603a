"""The kernel: accounts' pasts in pooled arrays, and the walk over them, row after row.

An account's past is two segments:

- its **history**: the newest `KEEP` transactions of the last `RETAIN` before its latest one,
  ordered by time, ties in order of arrival;
- its **memory**: an open-addressing table of (dimension, value) → last seen, for what was seen
  within `REMEMBER` before its latest transaction.

What lies outside is gone by definition, whether or not it still takes up room; so when room is
cleared never changes a result. Within an account ids are told apart by 32 bits.

Each row is measured against what its account had received before, then joins it. A late row, whose
time is before the account's latest, counts what happened up to its own time; from then on it lies
in the windows of later rows. Sums are of integers; floating-point sums run newest to oldest:
results are equal to the last bit for any cutting of the stream.

All compiled code and its constants are in this file on purpose: numba's cache on disk watches only
the file of the function that is called, and would go on using old code of helpers elsewhere.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from fraudwatch.features.layout import Measures, Pools, Rows

# Whoever changes what a measure means here raises `catalogue.DEFINITIONS`.
SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
WINDOWS = (600 * SECOND, HOUR, DAY, 7 * DAY, 30 * DAY)
LONGEST = WINDOWS[-1]
RETAIN = LONGEST + 7 * DAY  # rows up to 7 days late have whole windows
KEEP = 8_192
REMEMBER = 365 * DAY
NEVER = np.iinfo(np.int64).min
SMALLEST = 4  # rows of the smallest segment
SCRATCH = 2 * KEEP
MAX_SPEED = 10_000.0  # km/h
EARTH_KM = 6_371.0

DONE, SHORT_OF_ACCOUNTS, SHORT_OF_HISTORY, SHORT_OF_MEMORY = range(4)

# Measures of one window (second axis of `Measures.windows`).
COUNT, SUM, MAX, MERCHANTS, COUNTRIES, DEVICES = range(6)

# Measures of the account's past (columns of `Measures.past`, in the order of `layout.PAST`).
(SINCE, MEAN, DEVIATION, BELOW, SAME_HOUR, SAME_WEEKDAY, FIRST) = range(7)
(BEFORE, AGE, KM, SPEED, PAST_MAX, LATE) = range(12, 18)


@njit(cache=True, nogil=True)
def narrow(value):  # type: ignore[no-untyped-def]
    """A 64-bit id as 32 bits, 0 only for 0. Narrow ids stay as they are."""
    key = np.int64((value ^ (value >> np.uint64(32))) & np.uint64(0xFFFFFFFF))
    if key == 0 and value != np.uint64(0):
        return np.int64(1)
    return key


@njit(cache=True, nogil=True)
def _memory_key(dimension, value):  # type: ignore[no-untyped-def]
    key = (value * 2_654_435_761 + (dimension + 1) * 0x9E3779B1) & 0xFFFFFFFF
    return key if key != 0 else 1


@njit(cache=True, nogil=True)
def _size_class(rows):  # type: ignore[no-untyped-def]
    size = 0
    while (1 << size) < rows:
        size += 1
    return size


@njit(cache=True, nogil=True)
def _allocate(pool, heap, rows):  # type: ignore[no-untyped-def]
    """Start of a segment of `rows` (a power of two), -1 where the pool must grow first."""
    size = _size_class(rows)
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
    size = _size_class(rows)
    pool[start].time = heap[size]
    heap[size] = start


@njit(cache=True, nogil=True)
def _slot_of(memory, start, slots, key):  # type: ignore[no-untyped-def]
    """Where the key is, or the empty place where it would go."""
    mask = slots - 1
    place = key & mask
    while memory[start + place].key != 0 and memory[start + place].key != key:
        place = (place + 1) & mask
    return start + place


@njit(cache=True, nogil=True)
def _place_account(pools, account):  # type: ignore[no-untyped-def]
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
def numbers_of(index, accounts, ids, numbers):  # type: ignore[no-untyped-def]
    """Fill in the number of each account, -1 for unknown ones."""
    mask = len(index) - 1
    for i in range(len(ids)):
        place = np.int64(ids[i] & np.uint64(mask))
        while index[place] >= 0 and accounts[index[place]].id != ids[i]:
            place = (place + 1) & mask
        numbers[i] = index[place]


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
            place = _slot_of(memory, starts[account], slots[account], np.int64(keys[pair]))
            memory[place].key = keys[pair]
            memory[place].time = times[pair]
            pair += 1


@njit(cache=True, nogil=True)
def _make_room_history(record, history, heap, latest):  # type: ignore[no-untyped-def]
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
def _make_room_memory(record, memory, heap, latest, more):  # type: ignore[no-untyped-def]
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
            memory[_slot_of(memory, target, room, key)] = memory[place]
    _release(memory, heap, start, slots)
    record.memory = target
    record.slots = room
    record.known = fresh
    return True


@njit(cache=True, nogil=True)
def _is_new(table, mask, stamp, key):  # type: ignore[no-untyped-def]
    """1 where the key is not yet in the set of this stamp (it is from now on), else 0."""
    place = key & mask
    while True:
        entry = table[place]
        if entry >> 32 != stamp:
            table[place] = (stamp << 32) | key
            return 1
        if entry & 0xFFFFFFFF == key:
            return 0
        place = (place + 1) & mask


@njit(cache=True, nogil=True)
def _distance(latitude, longitude, other_latitude, other_longitude):  # type: ignore[no-untyped-def]
    """Great-circle distance in km (haversine)."""
    a, b = math.radians(latitude), math.radians(other_latitude)
    half = (
        math.sin((b - a) / 2) ** 2
        + math.cos(a) * math.cos(b) * math.sin(math.radians(other_longitude - longitude) / 2) ** 2
    )
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, max(0.0, half))))


@njit(cache=True, nogil=True)
def _walk(pools, record, latest, time, amount, keys, windows, past):  # type: ignore[no-untyped-def]
    """One backward walk over the account's history for all nested windows.

    Returns where in the segment a row of this time belongs.
    """
    history, scratch = pools.history, pools.scratch
    start, length = record.history, record.length
    oldest = max(0, length - KEEP)
    floor = latest - RETAIN
    position = length
    while position > oldest and history[start + position - 1].time > time:
        position -= 1
    mask = 15
    while mask + 1 < 2 * (position - oldest):
        mask = 2 * mask + 1
    pools.totals[1] += 1
    stamp = pools.totals[1]
    merchants = _is_new(scratch[0], mask, stamp, keys[0]) if keys[0] else 0
    countries = _is_new(scratch[1], mask, stamp, keys[3]) if keys[3] else 0
    devices = _is_new(scratch[2], mask, stamp, keys[4]) if keys[4] else 0
    total = top = amount
    past_top = below = same_hour = same_weekday = 0
    # Amounts are summed as differences from the newest: the squares then lose no figures.
    newest = position > oldest and history[start + position - 1].time > max(time - LONGEST, floor)
    pivot = history[start + position - 1].amount if newest else 0
    differences = 0
    squares = 0.0
    j = position - 1
    for window in range(len(WINDOWS)):
        bound = max(time - WINDOWS[window], floor)
        while j >= oldest and history[start + j].time > bound:
            row = history[start + j]
            x = row.amount
            total += x
            past_top = max(past_top, x)
            differences += x - pivot
            squares += float(x - pivot) * float(x - pivot)
            if x < amount:
                below += 2
            elif x == amount:
                below += 1
            gap = (row.time - time) % DAY
            if gap <= HOUR or gap >= DAY - HOUR:
                same_hour += 1
            if (row.time // DAY - time // DAY) % 7 == 0:
                same_weekday += 1
            if row.merchant != 0:
                merchants += _is_new(scratch[0], mask, stamp, np.int64(row.merchant))
            if row.country != 0:
                countries += _is_new(scratch[1], mask, stamp, np.int64(row.country))
            if row.device != 0:
                devices += _is_new(scratch[2], mask, stamp, np.int64(row.device))
            j -= 1
        top = max(top, past_top)
        windows[window, COUNT] = position - j
        windows[window, SUM] = total
        windows[window, MAX] = top
        windows[window, MERCHANTS] = merchants
        windows[window, COUNTRIES] = countries
        windows[window, DEVICES] = devices
    n = position - 1 - j
    past[SINCE] = (time - history[start + position - 1].time if n else LONGEST) / 1e6
    past[MEAN] = pivot + differences / n if n else 0.0
    past[DEVIATION] = 0.0
    if n > 1:
        spread = squares - float(differences) * float(differences) / n
        past[DEVIATION] = math.sqrt(max(0.0, spread) / (n - 1))
    past[BELOW] = below / 2
    past[SAME_HOUR] = same_hour
    past[SAME_WEEKDAY] = same_weekday
    past[PAST_MAX] = past_top
    return position


@njit(cache=True, nogil=True)
def advance(pools: Pools, rows: Rows, measures: Measures, begin: int) -> tuple[int, int]:
    """Measure each row from `begin` on, then add it to its account's past.

    Returns the first row not done and what was short: `DONE`, or a pool that must grow (nothing
    of that row is done yet).
    """
    memory = pools.memory
    keys = np.zeros(6, dtype=np.int64)
    for i in range(begin, len(rows.account)):
        if pools.totals[0] == len(pools.accounts):
            return i, SHORT_OF_ACCOUNTS
        time, amount = rows.time[i], rows.amount[i]
        record = pools.accounts[_place_account(pools, rows.account[i])]
        latest = time if record.count == 0 else max(time, record.latest)
        if not _make_room_history(record, pools.history, pools.history_heap, latest):
            return i, SHORT_OF_HISTORY
        past = measures.past[i]
        more = 0
        for d in range(6):
            keys[d] = narrow(rows.values[i, d])
            past[FIRST + d] = 0.0
            if keys[d] == 0:
                continue
            seen = NEVER
            if record.slots > 0:
                place = _slot_of(memory, record.memory, record.slots, _memory_key(d, keys[d]))
                if memory[place].key != 0:
                    seen = memory[place].time
            if seen <= latest - REMEMBER:
                more += 1
                past[FIRST + d] = 1.0 if record.count > 0 else 0.0
        if more > 0 and not _make_room_memory(record, memory, pools.memory_heap, latest, more):
            return i, SHORT_OF_MEMORY

        position = _walk(pools, record, latest, time, amount, keys, measures.windows[i], past)
        past[BEFORE] = record.count
        past[AGE] = max(0, time - record.first) if record.count > 0 else 0
        past[LATE] = latest - time
        past[KM] = past[SPEED] = 0.0
        placed = not (math.isnan(rows.latitude[i]) or math.isnan(rows.longitude[i]))
        if placed:
            if record.located != NEVER:
                km = _distance(
                    record.latitude, record.longitude, rows.latitude[i], rows.longitude[i]
                )
                hours = max(abs(time - record.located) / HOUR, 1 / 60)
                past[KM] = km
                past[SPEED] = min(km / hours, MAX_SPEED)
            if time >= record.located:
                record.located = time
                record.latitude = rows.latitude[i]
                record.longitude = rows.longitude[i]

        if time > latest - RETAIN:
            start = record.history
            for offset in range(record.length, position, -1):
                pools.history[start + offset] = pools.history[start + offset - 1]
            row = pools.history[start + position]
            row.time = time
            row.amount = amount
            row.merchant = keys[0]
            row.country = keys[3]
            row.device = keys[4]
            record.length += 1
        for d in range(6):
            if keys[d] != 0:
                key = _memory_key(d, keys[d])
                place = _slot_of(memory, record.memory, record.slots, key)
                if memory[place].key == 0:
                    memory[place].key = key
                    memory[place].time = time
                    record.known += 1
                memory[place].time = max(memory[place].time, time)
        record.first = time if record.count == 0 else min(record.first, time)
        record.latest = latest
        record.count += 1
    return len(rows.account), DONE
