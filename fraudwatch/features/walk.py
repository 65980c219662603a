"""A row of an ordinary account: one walk over the bits of its past, then it joins them.

Returns what was short, `DONE` for nothing: the caller makes room and calls again.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudwatch.features import bits, busy, rooms
from fraudwatch.features.layout import (
    BUSY,
    BUSY_ACCOUNTS,
    DONE,
    LOCATED,
    NOWHERE,
    S_AMOUNT,
    S_COUNTRY,
    S_DEVICE,
    S_KEY,
    S_MERCHANT,
    S_SEEN,
    S_TIME,
    SHORT_OF_BUSY,
    SHORT_OF_SLABS,
    SHORT_OF_STORE,
    SIZE_OF,
    STAMP,
)
from fraudwatch.features.spans import (
    BELOW,
    COUNT,
    COUNTRIES,
    DAY,
    DEVIATION,
    DEVICES,
    FIRST,
    HOUR,
    LONGEST,
    MAX,
    MEAN,
    MERCHANTS,
    NEVER,
    PAST_MAX,
    REMEMBER,
    RETAIN,
    SAME_HOUR,
    SAME_WEEKDAY,
    SINCE,
    SUM,
    WINDOWS,
)

_WEEKS = sum(1 << days for days in range(0, 35, 7))


@njit(cache=True, nogil=True)
def spot_of(pools, record):  # type: ignore[no-untyped-def]
    """When and where the account was located last; `NEVER` for not at all."""
    segment = np.int64(record.segment)
    if record.size == BUSY:
        spots = pools.spots
        return pools.busy[segment, LOCATED], spots[segment, 0], spots[segment, 1]
    if record.located == 0:
        return np.int64(NEVER), 0.0, 0.0
    at = segment * 16 + 4
    return pools.words[at], pools.floats[at + 8], pools.floats[at + 16]


@njit(cache=True, nogil=True)
def put_spot(pools, record, spot):  # type: ignore[no-untyped-def]
    segment = np.int64(record.segment)
    if record.size == BUSY:
        pools.busy[segment, LOCATED] = spot[0]
        pools.spots[segment, 0], pools.spots[segment, 1] = spot[1], spot[2]
    elif record.located:
        at = segment * 16 + 4
        pools.words[at], pools.floats[at + 8], pools.floats[at + 16] = spot


@njit(cache=True, nogil=True)
def _entry_of(ints, at, entries, key):  # type: ignore[no-untyped-def]
    """Number of the entry with this key, from 1 on, 0 for none."""
    for i in range(entries):
        if ints[at + i] == key:
            return np.int64(i + 1)
    return np.int64(0)


@njit(cache=True, nogil=True)
def _walk(pools, record, latest, time, amount, keys, codes, windows, past):  # type: ignore[no-untyped-def]
    """One backward walk over the account's rows for all nested windows.

    Returns how many rows come before one of this time.
    """
    words, marks = pools.words, pools.marks
    floor = latest - RETAIN
    base, unit, scale = np.int64(record.base), np.int64(record.unit), np.int64(record.scale)
    stride = bits.row_bits(record)
    begin = bits.rows_at(record, np.int64(record.segment))
    times, amounts = bits.mask_of(record.time_bits), bits.mask_of(record.amount_bits)
    merchant_mask = bits.mask_of(record.merchant_bits)
    country_mask, device_mask = (
        bits.mask_of(record.country_bits),
        bits.mask_of(record.device_bits),
    )
    amount_at = np.int64(record.time_bits)
    merchant_at = amount_at + record.amount_bits
    country_at = merchant_at + record.merchant_bits
    device_at = country_at + record.country_bits
    position = np.int64(record.rows)
    at = begin + (position - 1) * stride
    while position > 0 and base + unit * bits.get(words, at, times) > time:
        position -= 1
        at -= stride
    pools.totals[STAMP] += 1
    stamp = pools.totals[STAMP]
    merchants = countries = devices = 0
    if keys[0]:
        merchants = 1
        marks[0, codes[0]] = stamp
    if keys[3]:
        countries = 1
        marks[1, codes[3]] = stamp
    if keys[4]:
        devices = 1
        marks[2, codes[4]] = stamp
    total = top = amount
    past_top = below = same_hour = same_weekday = squares = np.int64(0)
    until_midnight = DAY - 1 - time % DAY
    newest = base + unit * bits.get(words, at, times)
    j = position - 1
    for window in range(len(WINDOWS)):
        bound = max(time - WINDOWS[window], floor)
        while j >= 0:
            row = words[at >> 3] >> (at & 7)
            t = base + unit * (row & times)
            if t <= bound:
                break
            if stride <= bits.WORD:
                x, merchant = row >> amount_at & amounts, row >> merchant_at & merchant_mask
                country, device = row >> country_at & country_mask, row >> device_at & device_mask
            else:
                x = bits.get(words, at + amount_at, amounts)
                merchant = bits.get(words, at + merchant_at, merchant_mask)
                country = bits.get(words, at + country_at, country_mask)
                device = bits.get(words, at + device_at, device_mask)
            x *= scale
            total += x
            past_top = max(past_top, x)
            squares += x * x
            below += (x < amount) + (x <= amount)
            days = np.int64(np.uint64(time - t) // np.uint64(DAY))
            rest = time - t - days * DAY
            same_hour += (rest <= HOUR) | (rest >= DAY - HOUR)
            days += (until_midnight + rest) >= DAY  # midnights between
            same_weekday += (_WEEKS >> days) & 1
            merchants += (merchant != 0) & (marks[0, merchant] != stamp)
            marks[0, merchant] = stamp
            if country_mask | device_mask:
                countries += (country != 0) & (marks[1, country] != stamp)
                marks[1, country] = stamp
                devices += (device != 0) & (marks[2, device] != stamp)
                marks[2, device] = stamp
            j -= 1
            at -= stride
        top = max(top, past_top)
        windows[window, COUNT] = position - j
        windows[window, SUM] = total
        windows[window, MAX] = top
        windows[window, MERCHANTS] = merchants
        windows[window, COUNTRIES] = countries
        windows[window, DEVICES] = devices
    n = position - 1 - j
    high = mixed = np.int64(0)
    if past_top >> busy.SPLIT:  # squares do not fit: once more, in parts
        squares = np.int64(0)
        for i in range(j + 1, position):
            x = scale * bits.get(words, begin + i * stride + amount_at, amounts)
            a, b = x >> busy.SPLIT, x & ((1 << busy.SPLIT) - 1)
            high += a * a
            mixed += a * b
            squares += b * b
    past[SINCE] = (time - newest if n else LONGEST) / 1e6
    past[MEAN] = (total - amount) / n if n else 0.0
    past[DEVIATION] = busy.deviation(n, total - amount, high, mixed, squares)
    past[BELOW] = below / 2
    past[SAME_HOUR] = same_hour
    past[SAME_WEEKDAY] = same_weekday
    past[PAST_MAX] = past_top
    return position


@njit(cache=True, nogil=True)
def _join_in_place(pools, record, time, amount, keys, codes, joins, spot):  # type: ignore[no-untyped-def]
    """Add a row as the newest, and what it tells of entries, if all of it fits. Else do nothing."""
    words, ints = pools.words, pools.ints
    entries = np.int64(record.entries)
    if record.size == NOWHERE or record.rows == record.row_room or not joins:
        return False
    if (spot[0] != NEVER) != (record.located != 0):
        return False
    if time < record.base or time < record.origin:
        return False
    moment = bits.units(time - record.base, record.unit)
    if moment * record.unit != time - record.base or moment >> record.time_bits:
        return False
    money = bits.scaled(amount, record.scale)
    if money * record.scale != amount or money >> record.amount_bits:
        return False
    seen = bits.units(time - record.origin, record.unit)
    if seen >> record.seen_bits:
        return False
    for d in range(6):
        if keys[d] and codes[d] == 0:
            for e in range(d):
                if keys[e] == keys[d]:
                    codes[d] = codes[e]
            if codes[d] == 0:
                entries += 1
                codes[d] = entries
    if (
        entries > record.entry_room
        or codes[0] >> record.merchant_bits
        or codes[3] >> record.country_bits
        or codes[4] >> record.device_bits
    ):
        return False
    segment = np.int64(record.segment)
    keys_at, at = bits.keys_at(record, segment), bits.seen_at(record, segment)
    width, mask = np.int64(record.seen_bits), bits.mask_of(record.seen_bits)
    for d in range(6):
        if keys[d]:
            place = at + (codes[d] - 1) * width
            if codes[d] > record.entries:
                ints[keys_at + codes[d] - 1] = keys[d]
                bits.put(words, place, mask, seen)
            elif bits.get(words, place, mask) < seen:
                bits.put(words, place, mask, seen)
    record.entries = entries
    row = bits.rows_at(record, segment) + np.int64(record.rows) * bits.row_bits(record)
    bits.put_row(words, record, row, time, amount, codes[0], codes[3], codes[4])
    record.rows += 1
    put_spot(pools, record, spot)
    return True


@njit(cache=True, nogil=True)
def _join_anew(pools, number, latest, time, amount, keys, joins, spot):  # type: ignore[no-untyped-def]
    """Add a row, and what it tells of entries, and write the account anew."""
    record, columns = pools.accounts[number], pools.scratch
    rows = entries = np.int64(0)
    unit, scale = np.int64(bits.COARSEST), np.int64(bits.LARGEST_SCALE)
    old_size, old_segment = np.int64(record.size), np.int64(record.segment)
    if old_size != NOWHERE:
        rows, entries = bits.unpack(pools.words, pools.ints, record, old_segment, latest, columns)
        unit, scale = np.int64(record.unit), np.int64(record.scale)
        while (time - record.base) % unit:
            unit //= 1_000
    while amount % scale:
        scale //= 100
    for d in range(6):
        if keys[d] and time > latest - REMEMBER:
            entry = 0
            while entry < entries and columns[S_KEY, entry] != keys[d]:
                entry += 1
            if entry == entries:
                columns[S_KEY, entry], columns[S_SEEN, entry] = keys[d], time
                entries += 1
            columns[S_SEEN, entry] = max(columns[S_SEEN, entry], time)
    if joins:
        position = rows
        while position > 0 and columns[S_TIME, position - 1] > time:
            position -= 1
        for i in range(rows, position, -1):
            for column in range(5):
                columns[column, i] = columns[column, i - 1]
        columns[S_TIME, position], columns[S_AMOUNT, position] = time, amount
        for column, d in ((S_MERCHANT, 0), (S_COUNTRY, 3), (S_DEVICE, 4)):
            columns[column, position] = 0
            for entry in range(entries):
                if keys[d] and columns[S_KEY, entry] == keys[d]:
                    columns[column, position] = entry + 1
        rows += 1
    if rows > busy.MANY or entries > busy.MANY_ENTRIES:
        if pools.totals[BUSY_ACCOUNTS] == len(pools.busy):
            return SHORT_OF_BUSY
        if rooms.unfold(pools, record, columns, rows, entries) < 0:
            return SHORT_OF_STORE
    else:
        form = np.empty(bits.FORM, dtype=np.int64)
        placed = spot[0] != NEVER
        bits.shape(columns, rows, entries, placed, unit, scale, True, form)
        size = SIZE_OF[form[bits.F_GRAINS]]
        segment = old_segment
        if size != old_size:
            segment = bits.take(pools, size)
            if segment < 0:
                return SHORT_OF_SLABS
        record.segment, record.size, record.located = segment, size, placed
        pools.ints[segment * 4] = number
        bits.write(pools.words, pools.ints, record, segment, columns, rows, entries, form)
    put_spot(pools, record, spot)
    if old_size >= 0 and old_size != record.size:
        bits.give_back(pools, old_size, old_segment)
    return DONE


@njit(cache=True, nogil=True)
def step(pools, number, latest, time, amount, keys, spot, windows, past):  # type: ignore[no-untyped-def]
    """A row of an account whose past is walked over."""
    record = pools.accounts[number]
    codes = np.zeros(6, dtype=np.int64)
    segment = np.int64(record.segment)
    keys_at, at = bits.keys_at(record, segment), bits.seen_at(record, segment)
    width, mask = np.int64(record.seen_bits), bits.mask_of(record.seen_bits)
    known = record.count > 0
    for d in range(6):
        past[FIRST + d] = 0.0
        if keys[d]:
            seen = np.int64(NEVER)
            codes[d] = _entry_of(pools.ints, keys_at, np.int64(record.entries), keys[d])
            if codes[d]:
                units = bits.get(pools.words, at + (codes[d] - 1) * width, mask)
                seen = record.origin + np.int64(record.unit) * units
            if seen <= latest - REMEMBER and known:
                past[FIRST + d] = 1.0
    _walk(pools, record, latest, time, amount, keys, codes, windows, past)
    joins = time > latest - RETAIN
    if time == latest and _join_in_place(pools, record, time, amount, keys, codes, joins, spot):
        return DONE
    return _join_anew(pools, number, latest, time, amount, keys, joins, spot)
