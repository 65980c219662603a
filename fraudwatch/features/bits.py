"""An account's past as a run of bits, in a segment of the arena.

A segment holds, in this order:

- the number of its account (32 bits);
- where the account was located last: time, latitude, longitude (64 bits each), if it ever was;
- its **entries**: a 32-bit key for each (dimension, value) seen within `REMEMBER` before its
  latest transaction, then when each was seen last;
- its **rows**: the transactions of the last `RETAIN` before its latest one, ordered by time, ties
  in order of arrival: time, amount, and merchant, country and device as numbers of entries (0:
  none).

Times and amounts are whole numbers of a unit that divides them all, with as many bits as the
account needs, so that an ordinary row takes 6 to 12 bytes. Whatever does not fit makes the account
be written anew (`pack`), in a form that fits; what is too old is left out then.

Segments have `SIZES`. Those of one size lie in slabs, one after the other without holes: the last
one moves to where one is given back. So no room is lost, however accounts grow and shrink.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudwatch.features.layout import (
    FREE_SLAB,
    S_AMOUNT,
    S_CODE,
    S_COUNTRY,
    S_DEVICE,
    S_KEY,
    S_MERCHANT,
    S_SEEN,
    S_TIME,
    SIZE_OF,
    SIZES,
    SLAB,
    SLABS,
)
from fraudwatch.features.spans import DAY, REMEMBER, RETAIN, SECOND

COARSEST = SECOND  # unit of times to try first
LARGEST_SCALE = 10_000  # unit of amounts to try first
WORD = 57  # bits that can be read at once from any bit on
HEAD = 32
SPOT = 3 * 64
ROW_TIME_TO_COME = 8 * DAY  # so much later a row may be before the account is written anew
SEEN_TIME_TO_COME = 32 * DAY

# A form: how an account is to be written.
(F_BASE, F_ORIGIN, F_UNIT, F_SCALE, F_TIME, F_AMOUNT, F_MERCHANT, F_COUNTRY, F_DEVICE, F_SEEN) = (
    range(10)
)
(F_ENTRIES, F_ROWS, F_GRAINS) = range(10, 13)
FORM = 13


@njit(cache=True, nogil=True)
def take(pools, size):  # type: ignore[no-untyped-def]
    """A free segment of a size class, -1 where slabs are short."""
    classes, totals, before = pools.classes, pools.totals, pools.before
    if classes[size, 0] < 0 or classes[size, 1] == SLAB // SIZES[size]:
        slab = totals[FREE_SLAB]
        if slab >= 0:
            totals[FREE_SLAB] = before[slab]
        elif totals[SLABS] < len(before):
            slab = totals[SLABS]
            totals[SLABS] += 1
        else:
            return np.int64(-1)
        before[slab] = classes[size, 0]
        classes[size, 0] = slab
        classes[size, 1] = 0
    segment = classes[size, 0] * SLAB + classes[size, 1] * SIZES[size]
    classes[size, 1] += 1
    return segment


@njit(cache=True, nogil=True)
def give_back(pools, size, segment):  # type: ignore[no-untyped-def]
    """Free a segment: the last one of its size takes its place."""
    classes, totals, ints = pools.classes, pools.totals, pools.ints
    slab = classes[size, 0]
    classes[size, 1] -= 1
    last = slab * SLAB + classes[size, 1] * SIZES[size]
    if last != segment:
        for i in range(SIZES[size] * 4):
            ints[segment * 4 + i] = ints[last * 4 + i]
        pools.accounts[ints[segment * 4]].segment = segment
    if classes[size, 1] == 0:
        classes[size, 0] = pools.before[slab]
        if classes[size, 0] >= 0:
            classes[size, 1] = SLAB // SIZES[size]
        pools.before[slab] = totals[FREE_SLAB]
        totals[FREE_SLAB] = slab


@njit(cache=True, nogil=True)
def width(value):  # type: ignore[no-untyped-def]
    """Bits of a number that is not negative."""
    bits = 0
    while value >> bits:
        bits += 1
    return bits


@njit(cache=True, nogil=True)
def get(words, at, mask):  # type: ignore[no-untyped-def]
    """The number at a bit, of at most `WORD` bits."""
    return (words[at >> 3] >> (at & 7)) & mask


@njit(cache=True, nogil=True)
def put(words, at, mask, value):  # type: ignore[no-untyped-def]
    shift = at & 7
    words[at >> 3] = (words[at >> 3] & ~(mask << shift)) | (value << shift)


@njit(cache=True, nogil=True)
def mask_of(bits):  # type: ignore[no-untyped-def]
    return (np.int64(1) << np.int64(bits)) - 1


@njit(cache=True, nogil=True)
def units(distance, unit):  # type: ignore[no-untyped-def]
    """`distance // unit`. Dividing by a number that the compiler knows is ten times as fast."""
    if unit == 1_000_000:
        return distance // 1_000_000
    if unit == 1_000:
        return distance // 1_000
    return distance


@njit(cache=True, nogil=True)
def scaled(amount, scale):  # type: ignore[no-untyped-def]
    """`amount // scale`."""
    if scale == 10_000:
        return amount // 10_000
    if scale == 100:
        return amount // 100
    return amount


@njit(cache=True, nogil=True)
def keys_at(record, segment):  # type: ignore[no-untyped-def]
    """Where the keys of a segment begin, as an index of `ints`."""
    return segment * 4 + (7 if record.located else 1)


@njit(cache=True, nogil=True)
def seen_at(record, segment):  # type: ignore[no-untyped-def]
    """The bit where the times of entries begin."""
    return keys_at(record, segment) * 32 + np.int64(record.entry_room) * 32


@njit(cache=True, nogil=True)
def rows_at(record, segment):  # type: ignore[no-untyped-def]
    """The bit where the rows begin."""
    return seen_at(record, segment) + np.int64(record.entry_room) * record.seen_bits


@njit(cache=True, nogil=True)
def row_bits(record):  # type: ignore[no-untyped-def]
    codes = np.int64(record.merchant_bits) + record.country_bits + record.device_bits
    return codes + record.time_bits + record.amount_bits


@njit(cache=True, nogil=True)
def put_row(words, record, at, time, amount, merchant, country, device):  # type: ignore[no-untyped-def]
    """Write a row; everything must fit."""
    stride = row_bits(record)
    if stride <= WORD:
        row, shift = units(time - record.base, record.unit), np.int64(record.time_bits)
        row |= scaled(amount, record.scale) << shift
        shift += record.amount_bits
        row |= merchant << shift
        shift += record.merchant_bits
        row |= country << shift
        shift += record.country_bits
        put(words, at, mask_of(stride), row | (device << shift))
        return
    put(words, at, mask_of(record.time_bits), units(time - record.base, record.unit))
    at += record.time_bits
    put(words, at, mask_of(record.amount_bits), scaled(amount, record.scale))
    at += record.amount_bits
    put(words, at, mask_of(record.merchant_bits), merchant)
    at += record.merchant_bits
    put(words, at, mask_of(record.country_bits), country)
    at += record.country_bits
    put(words, at, mask_of(record.device_bits), device)


@njit(cache=True, nogil=True)
def _pour(words, at, width, values, count):  # type: ignore[no-untyped-def]
    """Write numbers of `width` bits (at most `WORD`) one after the other.

    Words are stored without being read again: a load from what was just stored in part is slow.
    """
    end = (at + count * width + 7) >> 3
    beyond = words[end]
    place, have = at >> 3, at & 7
    pending = words[place] & mask_of(have)
    for i in range(count):
        pending |= values[i] << have
        words[place] = pending
        have += width
        if have >= 8:
            place += have >> 3
            have &= 7
            pending = values[i] >> (width - have)
    words[end] = beyond


@njit(cache=True, nogil=True)
def unpack(words, ints, record, segment, latest, into):  # type: ignore[no-untyped-def]
    """Read what is not too old into columns as those of `Pools.scratch`; returns rows, entries."""
    entries = 0
    keys, at = keys_at(record, segment), seen_at(record, segment)
    bits, unit = np.int64(record.seen_bits), np.int64(record.unit)
    mask = mask_of(bits)
    into[S_CODE, 0] = 0
    for i in range(record.entries):
        seen = record.origin + unit * get(words, at + i * bits, mask)
        into[S_CODE, i + 1] = 0
        if seen > latest - REMEMBER:
            into[S_KEY, entries] = ints[keys + i]
            into[S_SEEN, entries] = seen
            entries += 1
            into[S_CODE, i + 1] = entries
    rows = 0
    at, stride = rows_at(record, segment), row_bits(record)
    times, amounts = mask_of(record.time_bits), mask_of(record.amount_bits)
    merchants, countries = mask_of(record.merchant_bits), mask_of(record.country_bits)
    devices = mask_of(record.device_bits)
    amount_at = np.int64(record.time_bits)
    merchant_at = amount_at + record.amount_bits
    country_at = merchant_at + record.merchant_bits
    device_at = country_at + record.country_bits
    base, scale = np.int64(record.base), np.int64(record.scale)
    for _ in range(record.rows):
        row = words[at >> 3] >> (at & 7)
        time = base + unit * (row & times)
        if time > latest - RETAIN:
            if stride <= WORD:
                amount, merchant = row >> amount_at & amounts, row >> merchant_at & merchants
                country, device = row >> country_at & countries, row >> device_at & devices
            else:
                amount = get(words, at + amount_at, amounts)
                merchant = get(words, at + merchant_at, merchants)
                country = get(words, at + country_at, countries)
                device = get(words, at + device_at, devices)
            into[S_TIME, rows] = time
            into[S_AMOUNT, rows] = scale * amount
            into[S_MERCHANT, rows] = into[S_CODE, merchant]
            into[S_COUNTRY, rows] = into[S_CODE, country]
            into[S_DEVICE, rows] = into[S_CODE, device]
            rows += 1
        at += stride
    return rows, entries


@njit(cache=True, nogil=True)
def _common(values, count, base, unit):  # type: ignore[no-untyped-def]
    """The largest of `unit`, a thousandth and a millionth of it that divides all distances."""
    for i in range(count):
        while (values[i] - base) % unit:
            unit //= 1_000
    return unit


@njit(cache=True, nogil=True)
def shape(columns, rows, entries, located, unit, scale, spare, form):  # type: ignore[no-untyped-def]
    """How these columns are to be written: fills in `form`.

    `spare`: leave room for more, and take `unit` and `scale` to divide everything. Else the same
    columns always get the same form, with the largest unit and scale from these on.
    """
    seen, times, amounts = columns[S_SEEN], columns[S_TIME], columns[S_AMOUNT]
    first = seen[0] if entries else np.int64(0)
    last = first
    for i in range(entries):
        first, last = min(first, seen[i]), max(last, seen[i])
    base = times[0] if rows else first
    origin = first if entries else base
    last = max(last, origin)
    end = times[rows - 1] if rows else base
    if not spare:
        unit = _common(times, rows, base, unit)
        unit = _common(seen, entries, base, unit)
        for i in range(rows):
            while amounts[i] % scale:
                scale //= 100
    top = merchant = country = device = np.int64(0)
    for i in range(rows):
        top = max(top, amounts[i])
        merchant = max(merchant, columns[S_MERCHANT, i])
        country = max(country, columns[S_COUNTRY, i])
        device = max(device, columns[S_DEVICE, i])
    entry_room, row_room = np.int64(entries), np.int64(rows)
    if spare:
        end += ROW_TIME_TO_COME
        last += SEEN_TIME_TO_COME
        entry_room += 1 + entries // 16
        row_room += 1 + rows // 32
        merchant = entry_room if merchant else merchant
    form[F_BASE], form[F_ORIGIN], form[F_UNIT], form[F_SCALE] = base, origin, unit, scale
    form[F_TIME] = width((end - base) // unit)
    form[F_AMOUNT] = width(top // scale)
    form[F_MERCHANT], form[F_COUNTRY], form[F_DEVICE] = (
        width(merchant),
        width(country),
        width(device),
    )
    form[F_SEEN] = width((last - origin) // unit)
    stride = form[F_TIME] + form[F_AMOUNT] + form[F_MERCHANT] + form[F_COUNTRY] + form[F_DEVICE]
    used = HEAD + (SPOT if located else 0) + entry_room * (32 + form[F_SEEN])
    grains = (used + row_room * stride + 127) >> 7
    if spare:
        grains = SIZES[SIZE_OF[grains]]
        row_room = (grains * 128 - used) // max(stride, 8)
    form[F_ENTRIES], form[F_ROWS], form[F_GRAINS] = entry_room, row_room, grains


@njit(cache=True, nogil=True)
def write(words, ints, record, segment, columns, rows, entries, form):  # type: ignore[no-untyped-def]
    """Write columns in a form; the record then says how to read them. Not the head, not the spot:
    `record.located` must be right. The columns' codes are lost."""
    record.base, record.origin = form[F_BASE], form[F_ORIGIN]
    record.unit, record.scale = form[F_UNIT], form[F_SCALE]
    record.time_bits, record.amount_bits = form[F_TIME], form[F_AMOUNT]
    record.merchant_bits, record.country_bits = form[F_MERCHANT], form[F_COUNTRY]
    record.device_bits, record.seen_bits = form[F_DEVICE], form[F_SEEN]
    record.entry_room, record.row_room = form[F_ENTRIES], form[F_ROWS]
    record.entries, record.rows = entries, rows
    keys, values = keys_at(record, segment), columns[S_CODE]
    base, origin, unit, scale = form[F_BASE], form[F_ORIGIN], form[F_UNIT], form[F_SCALE]
    for i in range(entries):
        ints[keys + i] = columns[S_KEY, i]
        values[i] = units(columns[S_SEEN, i] - origin, unit)
    _pour(words, seen_at(record, segment), form[F_SEEN], values, entries)
    at, stride = rows_at(record, segment), row_bits(record)
    if stride <= WORD:
        merchant_at = form[F_TIME] + form[F_AMOUNT]
        country_at = merchant_at + form[F_MERCHANT]
        device_at = country_at + form[F_COUNTRY]
        for i in range(rows):
            values[i] = (
                units(columns[S_TIME, i] - base, unit)
                | scaled(columns[S_AMOUNT, i], scale) << form[F_TIME]
                | columns[S_MERCHANT, i] << merchant_at
                | columns[S_COUNTRY, i] << country_at
                | columns[S_DEVICE, i] << device_at
            )
        _pour(words, at, stride, values, rows)
        return
    for i in range(rows):
        put_row(
            words,
            record,
            at + i * stride,
            columns[S_TIME, i],
            columns[S_AMOUNT, i],
            columns[S_MERCHANT, i],
            columns[S_COUNTRY, i],
            columns[S_DEVICE, i],
        )
