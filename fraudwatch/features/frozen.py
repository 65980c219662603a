"""Compiled code that moves whole accounts: into snapshots, out of them, and out for reading.

A frozen account is written like those of the arena (`bits.py`), in a form that depends on its past
alone: nothing too old, entries in the order of their keys, the fewest bits.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fraudwatch.features import bits, busy, kernel, rooms, walk
from fraudwatch.features.layout import (
    ACCOUNTS,
    BUSY,
    BUSY_ACCOUNTS,
    DONE,
    LENGTH,
    NOWHERE,
    ROOM,
    S_CODE,
    S_COUNTRY,
    S_DEVICE,
    S_KEY,
    S_MERCHANT,
    S_SEEN,
    SHORT_OF_ACCOUNTS,
    SHORT_OF_BUSY,
    SHORT_OF_SLABS,
    SHORT_OF_STORE,
    SIZE_OF,
    SIZES,
    START,
)
from fraudwatch.features.sources import fingerprint
from fraudwatch.features.spans import KEEP, NEVER


@njit(cache=True, nogil=True)
def _order_entries(columns, rows, entries):  # type: ignore[no-untyped-def]
    order = np.argsort(columns[S_KEY, :entries])
    keys, seen = columns[S_KEY, :entries].copy(), columns[S_SEEN, :entries].copy()
    columns[S_CODE, 0] = 0
    for place in range(entries):
        columns[S_KEY, place], columns[S_SEEN, place] = keys[order[place]], seen[order[place]]
        columns[S_CODE, order[place] + 1] = place + 1
    for column in (S_MERCHANT, S_COUNTRY, S_DEVICE):
        for i in range(rows):
            columns[column, i] = columns[S_CODE, columns[column, i]]


def _freeze(sources: str):  # type: ignore[no-untyped-def]
    @njit(cache=True, nogil=True)
    def freeze(pools, numbers, records, words, ints, floats, begin, grain):  # type: ignore[no-untyped-def]
        """Write accounts from `numbers[begin]` on into `records` and, from `grain` on, into zeroed
        `words`. Returns the first account for which there is no room, and the next free grain."""
        _ = sources
        form = np.empty(bits.FORM, dtype=np.int64)
        for i in range(begin, len(numbers)):
            account = pools.accounts[numbers[i]]
            columns, rows, entries = pools.scratch, np.int64(0), np.int64(0)
            if account.size == BUSY:
                columns, rows, entries = rooms.fold(
                    pools, pools.busy[account.segment], account.latest
                )
            elif account.size != NOWHERE:
                segment = np.int64(account.segment)
                rows, entries = bits.unpack(
                    pools.words, pools.ints, account, segment, account.latest, columns
                )
            _order_entries(columns, rows, entries)
            spot = walk.spot_of(pools, account)
            placed = spot[0] != NEVER
            unit, scale = np.int64(bits.COARSEST), np.int64(bits.LARGEST_SCALE)
            bits.shape(columns, rows, entries, placed, unit, scale, False, form)
            if (grain + form[bits.F_GRAINS]) * 16 > len(words):
                return i, grain
            records[i] = account
            record = records[i]
            record.located, record.size, record.segment = placed, 0, 0
            bits.write(words, ints, record, grain, columns, rows, entries, form)
            if placed:
                at = grain * 16 + 4
                words[at], floats[at + 8], floats[at + 16] = spot
            grain += form[bits.F_GRAINS]
        return len(numbers), grain

    return freeze


def _thaw(sources: str):  # type: ignore[no-untyped-def]
    @njit(cache=True, nogil=True)
    def thaw(pools, records, words, floats, ints, begin, grain):  # type: ignore[no-untyped-def]
        """Add frozen accounts from `begin` on, whose bits begin at `grain`, to the pools.

        Returns the first account not done, its grain, and what was short, as `kernel.advance`.
        """
        _ = sources
        for i in range(begin, len(records)):
            if pools.totals[ACCOUNTS] == len(pools.accounts):
                return i, grain, SHORT_OF_ACCOUNTS
            rows, entries = np.int64(records[i].rows), np.int64(records[i].entries)
            used = bits.rows_at(records[i], np.int64(0))
            stride = bits.row_bits(records[i])
            grains = (used + rows * stride + 127) >> 7
            number = pools.totals[ACCOUNTS]
            if rows > busy.MANY or entries > busy.MANY_ENTRIES:
                if pools.totals[BUSY_ACCOUNTS] == len(pools.busy):
                    return i, grain, SHORT_OF_BUSY
                columns = np.empty((8, max(rows, entries) + 1), dtype=np.int64)
                latest = records[i].latest
                rows, entries = bits.unpack(words, ints, records[i], grain, latest, columns)
                pools.accounts[number] = records[i]
                record = pools.accounts[number]
                if rooms.unfold(pools, record, columns, rows, entries) < 0:
                    return i, grain, SHORT_OF_STORE
                at = grain * 16 + 4
                spot = (np.int64(NEVER), 0.0, 0.0)
                if records[i].located:
                    spot = (words[at], floats[at + 8], floats[at + 16])
                walk.put_spot(pools, record, spot)
            else:
                size = SIZE_OF[grains]
                segment = bits.take(pools, size)
                if segment < 0:
                    return i, grain, SHORT_OF_SLABS
                pools.accounts[number] = records[i]
                record = pools.accounts[number]
                record.segment, record.size = segment, size
                if stride:
                    record.row_room = (SIZES[size] * 128 - used) // stride
                for j in range(grains * 4):
                    pools.ints[segment * 4 + j] = ints[grain * 4 + j]
                pools.ints[segment * 4] = number
            kernel.add_to_index(pools, number)
            grain += grains
        return len(records), grain, DONE

    return thaw


def _read(sources: str):  # type: ignore[no-untyped-def]
    @njit(cache=True, nogil=True)
    def read(pools, numbers, ends, into):  # type: ignore[no-untyped-def]
        """Rows of accounts (-1: none) as `layout.HISTORY`: those of account i up to `ends[i]`."""
        _ = sources
        begin = np.int64(0)
        for i in range(len(numbers)):
            count = ends[i] - begin
            if count > 0:
                account = pools.accounts[numbers[i]]
                if account.size == BUSY:
                    _read_busy(pools, pools.busy[account.segment], count, into, begin)
                else:
                    _read_bits(pools, account, into, begin)
            begin = ends[i]

    return read


@njit(cache=True, nogil=True)
def _read_busy(pools, row, count, into, begin):  # type: ignore[no-untyped-def]
    store, first = pools.store, row[LENGTH] - count
    for i in range(count):
        at = row[START] + first + i
        found = into[begin + i]
        found.time, found.amount = store[at], store[at + row[ROOM]]
        found.merchant = _value(pools, row, 0, first + i, 0)
        found.country = _value(pools, row, 1, first + i, 3)
        found.device = _value(pools, row, 2, first + i, 4)


@njit(cache=True, nogil=True)
def _value(pools, row, dimension, i, remembered):  # type: ignore[no-untyped-def]
    code = busy.code_of(pools.store, row, dimension, i)
    return kernel.value_of(remembered, busy.key_of(pools, row, code)) if code else np.int64(0)


@njit(cache=True, nogil=True)
def _read_bits(pools, record, into, begin):  # type: ignore[no-untyped-def]
    """All rows, the old ones too."""
    columns, segment = pools.scratch, np.int64(record.segment)
    always = record.base  # no row is before it
    rows, _ = bits.unpack(pools.words, pools.ints, record, segment, always, columns)
    for i in range(rows):
        found = into[begin + i]
        found.time, found.amount = columns[0, i], columns[1, i]
        found.merchant = found.country = found.device = 0
        if columns[S_MERCHANT, i]:
            found.merchant = kernel.value_of(0, columns[S_KEY, columns[S_MERCHANT, i] - 1])
        if columns[S_COUNTRY, i]:
            found.country = kernel.value_of(3, columns[S_KEY, columns[S_COUNTRY, i] - 1])
        if columns[S_DEVICE, i]:
            found.device = kernel.value_of(4, columns[S_KEY, columns[S_DEVICE, i] - 1])


@njit(cache=True, nogil=True)
def lengths_of(pools, numbers, lengths, latest):  # type: ignore[no-untyped-def]
    """How many rows `read` gives of each account (-1: none), and its latest time."""
    for i in range(len(numbers)):
        lengths[i], latest[i] = 0, NEVER
        if numbers[i] >= 0:
            account = pools.accounts[numbers[i]]
            latest[i] = account.latest
            if account.size == BUSY:
                lengths[i] = min(pools.busy[account.segment, LENGTH], KEEP + 1)
            elif account.size != NOWHERE:
                lengths[i] = account.rows


freeze = _freeze(fingerprint())
thaw = _thaw(fingerprint())
read = _read(fingerprint())
