"""The kernel: the walk over accounts' pasts, row after row.

An account's past is its **rows**, the newest `KEEP` transactions of the last `RETAIN` before its
latest one, and its **entries**, when each (dimension, value) was seen last within `REMEMBER` before
its latest transaction. `bits.py` says how they lie in memory, `busy.py` what is added for accounts
with many of them.

What lies outside is gone by definition, whether or not it still takes up room; so when room is
cleared never changes a result. Within an account (dimension, value) pairs are told apart by 32
bits: of two that collide (one in four thousand million) the second counts as seen, and as the first
among an account's different merchants, countries or devices.

Each row is measured against what its account had received before, then joins it. A late row, whose
time is before the account's latest, counts what happened up to its own time; from then on it lies
in the windows of later rows. All sums are of whole numbers: results are equal to the last bit for
any cutting of the stream.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from fraudwatch.features import busy, rooms, walk
from fraudwatch.features.layout import (
    ACCOUNTS,
    BUSY,
    DONE,
    NOWHERE,
    SHORT_OF_ACCOUNTS,
    SHORT_OF_STORE,
)
from fraudwatch.features.sources import fingerprint
from fraudwatch.features.spans import (
    AGE,
    BEFORE,
    FIRST,
    HOUR,
    KM,
    LATE,
    NEVER,
    REMEMBER,
    RETAIN,
    SPEED,
)

MAX_SPEED = 10_000.0  # km/h
EARTH_KM = 6_371.0
_MIXER = 2_654_435_761
_UNMIXER = pow(_MIXER, -1, 2**32)
_STEP = 0x9E3779B1


@njit(cache=True, nogil=True)
def narrow(value):  # type: ignore[no-untyped-def]
    """A 64-bit id as 32 bits, 0 only for 0. Narrow ids stay as they are."""
    key = np.int64((value ^ (value >> np.uint64(32))) & np.uint64(0xFFFFFFFF))
    if key == 0 and value != np.uint64(0):
        return np.int64(1)
    return key


@njit(cache=True, nogil=True)
def _entry_key(dimension, value):  # type: ignore[no-untyped-def]
    key = (value * _MIXER + (dimension + 1) * _STEP) & 0xFFFFFFFF
    return key if key != 0 else np.int64(1)


@njit(cache=True, nogil=True)
def value_of(dimension, key):  # type: ignore[no-untyped-def]
    """The narrow id of a key (the inverse of `_entry_key`)."""
    return ((key - (dimension + 1) * _STEP) * _UNMIXER) & 0xFFFFFFFF


@njit(cache=True, nogil=True)
def _place_account(pools, account):  # type: ignore[no-untyped-def]
    """Number of the account; a new one is added (room for it must be there)."""
    index, accounts = pools.places, pools.accounts
    mask = len(index) - 1
    place = np.int64(account & np.uint64(mask))
    while index[place] >= 0:
        if accounts[index[place]].id == account:
            return np.int64(index[place])
        place = (place + 1) & mask
    number = pools.totals[ACCOUNTS]
    pools.totals[ACCOUNTS] = number + 1
    index[place] = number
    record = accounts[number]
    record.id = account
    record.first = record.latest = NEVER
    record.count = record.located = record.rows = record.entries = 0
    record.size = NOWHERE
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
def add_to_index(pools, number):  # type: ignore[no-untyped-def]
    """Count account `number`, whose record is written, as the newest."""
    mask = len(pools.places) - 1
    place = np.int64(pools.accounts[number].id & np.uint64(mask))
    while pools.places[place] >= 0:
        place = (place + 1) & mask
    pools.places[place] = number
    pools.totals[ACCOUNTS] = number + 1


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
def _distance(latitude, longitude, other_latitude, other_longitude):  # type: ignore[no-untyped-def]
    """Great-circle distance in km (haversine)."""
    a, b = math.radians(latitude), math.radians(other_latitude)
    half = (
        math.sin((b - a) / 2) ** 2
        + math.cos(a) * math.cos(b) * math.sin(math.radians(other_longitude - longitude) / 2) ** 2
    )
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, max(0.0, half))))


@njit(cache=True, nogil=True)
def _busy_step(pools, number, latest, time, amount, keys, spot, windows, past):  # type: ignore[no-untyped-def]
    """A row of an account whose windows are carried along."""
    record = pools.accounts[number]
    row = pools.busy[record.segment]
    codes = np.zeros(6, dtype=np.int64)
    more = 0
    for d in range(6):
        past[FIRST + d] = 0.0
        if keys[d]:
            code = busy.find(pools, row, keys[d])
            more += code == 0
            if code == 0 or busy.seen_of(pools, row, code) <= latest - REMEMBER:
                past[FIRST + d] = 1.0
    if not rooms.room_for_row(pools, row, latest):
        return SHORT_OF_STORE
    if more and not rooms.room_for_entries(pools, row, latest, more):
        return SHORT_OF_STORE
    for d in range(6):
        if keys[d] and time > latest - REMEMBER:
            codes[d] = busy.remember(pools, row, keys[d], time)
    position = busy.measure(pools, row, time, amount, latest, keys, codes, windows, past)
    if time > latest - RETAIN:
        busy.insert(pools, row, position, time, amount, codes[0], codes[3], codes[4])
    walk.put_spot(pools, record, spot)
    return DONE


def _compiled(sources: str):  # type: ignore[no-untyped-def]
    """`advance`, compiled anew when one of its sources changes (see `sources.py`)."""

    @njit(cache=True, nogil=True)
    def advance(pools, rows, measures, begin):  # type: ignore[no-untyped-def]
        """Measure each row from `begin` on, then add it to its account's past.

        Returns the first row not done and what was short: `DONE`, or what must grow (nothing of
        that row is done yet).
        """
        _ = sources
        keys = np.zeros(6, dtype=np.int64)
        for i in range(begin, len(rows.account)):
            if pools.totals[ACCOUNTS] == len(pools.accounts):
                return i, SHORT_OF_ACCOUNTS
            time, amount = rows.time[i], rows.amount[i]
            number = _place_account(pools, rows.account[i])
            record = pools.accounts[number]
            latest = time if record.count == 0 else max(time, record.latest)
            for d in range(6):
                value = narrow(rows.values[i, d])
                keys[d] = _entry_key(d, value) if value else 0
            past = measures.past[i]
            past[KM] = past[SPEED] = 0.0
            located, latitude, longitude = walk.spot_of(pools, record)
            if not (math.isnan(rows.latitude[i]) or math.isnan(rows.longitude[i])):
                if located != NEVER:
                    km = _distance(latitude, longitude, rows.latitude[i], rows.longitude[i])
                    hours = max(abs(time - located) / HOUR, 1 / 60)
                    past[KM] = km
                    past[SPEED] = min(km / hours, MAX_SPEED)
                if time >= located:
                    located, latitude, longitude = time, rows.latitude[i], rows.longitude[i]
            spot = (located, latitude, longitude)
            windows = measures.windows[i]
            if record.size == BUSY:
                short = _busy_step(pools, number, latest, time, amount, keys, spot, windows, past)
            else:
                short = walk.step(pools, number, latest, time, amount, keys, spot, windows, past)
            if short != DONE:
                return i, short
            past[BEFORE] = record.count
            past[AGE] = max(0, time - record.first) if record.count > 0 else 0
            past[LATE] = latest - time
            record.first = time if record.count == 0 else min(record.first, time)
            record.latest = latest
            record.count += 1
        return len(rows.account), DONE

    return advance


advance = _compiled(fingerprint())
