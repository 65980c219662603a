"""The kernel: walks accounts' pasts, one row after the other.

Each row is measured against what its account had received before (see `pools.py` for what is kept
of that), then joins it. A late row, whose time is before the account's latest, counts what happened
up to its own time; from then on it lies in the windows of later rows.

Sums are of integers; floating-point sums run newest to oldest: results are equal to the last bit
for any cutting of the stream.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fraudwatch.features.pools import (
    DAY,
    DONE,
    HOUR,
    KEEP,
    LONGEST,
    NEVER,
    REMEMBER,
    RETAIN,
    SECOND,
    SHORT_OF_ACCOUNTS,
    SHORT_OF_HISTORY,
    SHORT_OF_MEMORY,
    Pools,
    make_room_history,
    make_room_memory,
    memory_key,
    narrow,
    place_account,
    slot_of,
)

WINDOWS = (600 * SECOND, HOUR, DAY, 7 * DAY, LONGEST)
MAX_SPEED = 10_000.0
EARTH_KM = 6_371.0

# Measures of one window (second axis of `Measures.windows`).
COUNT, SUM, MAX, MERCHANTS, COUNTRIES, DEVICES = range(6)

# Measures of the account's past (columns of `Measures.past`).
PAST = (
    "since",  # seconds since the latest transaction
    "mean",  # mean of the past 30 days, 1e-4
    "deviation",  # sample standard deviation of the same, 1e-4
    "below",  # number of smaller amounts + half of the equal ones
    "hour",  # number about the same time of day
    "weekday",  # number on the same weekday
    "first_merchant",
    "first_category",
    "first_channel",
    "first_country",
    "first_device",
    "first_counterparty",
    "count",  # transactions before
    "age",  # microseconds since the first
    "km",
    "speed",
    "max",  # largest amount of the past 30 days, 1e-4
)
(SINCE, MEAN, DEVIATION, BELOW, SAME_HOUR, SAME_WEEKDAY, FIRST) = range(7)
(BEFORE, AGE, KM, SPEED, PAST_MAX) = range(12, 17)


class Rows(NamedTuple):
    """The columns that the kernel reads; `values` holds the six remembered dimensions."""

    account: NDArray[np.uint64]
    time: NDArray[np.int64]
    amount: NDArray[np.int64]
    values: NDArray[np.uint64]  # [n, 6]: merchant, category, channel, country, device, counterparty
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]


class Measures(NamedTuple):
    """What the kernel finds: `windows` int64[n, 5, 6], `past` float64[n, len(PAST)]."""

    windows: NDArray[np.int64]
    past: NDArray[np.float64]


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
        record = pools.accounts[place_account(pools, rows.account[i])]
        latest = time if record.count == 0 else max(time, record.latest)
        if not make_room_history(record, pools.history, pools.history_heap, latest):
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
                place = slot_of(memory, record.memory, record.slots, memory_key(d, keys[d]))
                if memory[place].key != 0:
                    seen = memory[place].time
            if seen <= latest - REMEMBER:
                more += 1
                past[FIRST + d] = 1.0 if record.count > 0 else 0.0
        if more > 0 and not make_room_memory(record, memory, pools.memory_heap, latest, more):
            return i, SHORT_OF_MEMORY

        position = _walk(pools, record, latest, time, amount, keys, measures.windows[i], past)
        past[BEFORE] = record.count
        past[AGE] = max(0, time - record.first) if record.count > 0 else 0
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
                key = memory_key(d, keys[d])
                place = slot_of(memory, record.memory, record.slots, key)
                if memory[place].key == 0:
                    memory[place].key = key
                    memory[place].time = time
                    record.known += 1
                memory[place].time = max(memory[place].time, time)
        record.first = time if record.count == 0 else min(record.first, time)
        record.latest = latest
        record.count += 1
    return len(rows.account), DONE
