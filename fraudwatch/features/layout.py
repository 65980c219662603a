"""The shapes of what the kernel works on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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


class Pools(NamedTuple):
    """Where accounts live (see `kernel.py`).

    `totals`: number of accounts, stamp of the scratch tables.
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
