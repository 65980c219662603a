"""The shapes of what the kernel works on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HISTORY = np.dtype(
    [("time", "<i8"), ("amount", "<i8"), ("merchant", "<u4"), ("country", "<u4"), ("device", "<u4")]
)

# An account. `segment`: where its bits are in the arena, in grains; of a busy account the number
# of its row in `Pools.busy`. `size`: the segment's size class, `NOWHERE` or `BUSY`. The fields from
# `base` to `seen_bits` say how the bits are to be read (see `bits.py`).
ACCOUNT = np.dtype(
    [
        ("id", "<u8"),
        ("first", "<i8"),
        ("latest", "<i8"),
        ("base", "<i8"),
        ("origin", "<i8"),
        ("count", "<u4"),
        ("segment", "<i4"),
        ("entries", "<u4"),
        ("entry_room", "<u4"),
        ("unit", "<u4"),
        ("rows", "<u2"),
        ("row_room", "<u2"),
        ("scale", "<u2"),
        ("time_bits", "u1"),
        ("amount_bits", "u1"),
        ("merchant_bits", "u1"),
        ("country_bits", "u1"),
        ("device_bits", "u1"),
        ("seen_bits", "u1"),
        ("located", "u1"),
        ("size", "i1"),
    ]
)
BUSY, NOWHERE = -1, -2

# What the kernel may be short of.
DONE, SHORT_OF_ACCOUNTS, SHORT_OF_SLABS, SHORT_OF_BUSY, SHORT_OF_STORE = range(5)

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
    "late",  # microseconds behind the account's latest, 0 for its latest
)

GRAIN = 16  # bytes; what segments of the arena are made of
SLAB = 1_024  # grains
_LARGEST = SLAB


def _sizes() -> tuple[int, ...]:
    """Grains of the segments of each size class: each an eighth larger than the one before."""
    sizes = [4]
    while sizes[-1] < _LARGEST:
        sizes.append(min(max(sizes[-1] + 1, sizes[-1] * 9 // 8), _LARGEST))
    return tuple(sizes)


SIZES = np.array(_sizes(), dtype=np.int64)
SIZE_OF = np.searchsorted(SIZES, np.arange(_LARGEST + 1))  # by grains needed

# Numbers in `Pools.totals`.
(ACCOUNTS, STAMP, SLABS, FREE_SLAB, BUSY_ACCOUNTS) = range(5)

# Rows of `Pools.scratch`.
(S_TIME, S_AMOUNT, S_MERCHANT, S_COUNTRY, S_DEVICE, S_KEY, S_SEEN, S_CODE) = range(8)

# A busy account's row in `Pools.busy`: its history (start, room, rows), its table of entries
# (start, slots, pairs), its two ordered lists (start, buckets, buckets used, for amounts and for
# times of day), since when its place is known; then its windows as they stood at some row: the end
# they share, and of each the begin, the sum, and how many different values.
(START, ROOM, LENGTH, TABLE, SLOTS, KNOWN, LOCATED, END) = range(8)
AMOUNTS, CLOCK = 8, 11
BEGIN = 14
TOTAL = BEGIN + 5
DIFFERENT = TOTAL + 5  # window * 3 + dimension
WEEKDAY = DIFFERENT + 15
SQUARES = WEEKDAY + 7  # `busy.squares` of the amounts
BUSY_FIELDS = SQUARES + 3


class Pools(NamedTuple):
    """Where accounts live (see `bits.py` and `busy.py`).

    `places`: open-addressing table from account id to its number, -1 empty. `words`, `ints` and
    `floats` are the memory of `arena` (bytes): whole numbers and floats of 8 bytes from each byte
    on, and aligned whole numbers of 4. `before`: the slab below each slab of a size class, or the
    next free one; `classes`: top slab (-1 none) and segments used in it, of each size class.
    `heap[0]`: end of the used part of `store`; `heap[c]`: first free segment of 2**c numbers, -1
    none; a free segment begins with the start of the next. `halves` is the memory of `store`.
    """

    totals: NDArray[np.int64]
    places: NDArray[np.int32]
    accounts: NDArray[np.void]
    arena: NDArray[np.uint8]
    words: NDArray[np.int64]
    floats: NDArray[np.float64]
    ints: NDArray[np.uint32]
    before: NDArray[np.int32]
    classes: NDArray[np.int64]
    scratch: NDArray[np.int64]
    marks: NDArray[np.int64]
    busy: NDArray[np.int64]
    spots: NDArray[np.float64]  # [b, 2]: latitude and longitude of busy accounts
    store: NDArray[np.int64]
    halves: NDArray[np.uint16]
    heap: NDArray[np.int64]


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
