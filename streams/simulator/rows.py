"""Simulated payments as numbers: one structured array, ids as codes, -1 for what a row lacks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROW = np.dtype(
    [
        ("account", "i8"),
        ("time_us", "i8"),
        ("cents", "i8"),  # of the row's own currency
        ("currency", "i8"),
        ("merchant", "i8"),
        ("channel", "i8"),
        ("country", "i8"),
        ("device", "i8"),
        ("counterparty", "i8"),
        ("ip", "i8"),
        ("latitude", "f8"),
        ("longitude", "f8"),
        ("login_age_hours", "f8"),
        ("ip_risk", "f8"),
        ("failed_logins_24h", "f8"),
        ("pattern", "i8"),  # 0: ordinary
    ]
)

ATTRIBUTES = ("login_age_hours", "ip_risk", "failed_logins_24h")

Rows = NDArray[np.void]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000


def blank(count: int) -> Rows:
    """Rows in which nothing is known yet: codes -1, places and attributes missing."""
    rows: Rows = np.zeros(count, ROW)
    for name in ("merchant", "channel", "country", "device", "counterparty", "ip"):
        rows[name] = -1
    for name in ("latitude", "longitude", *ATTRIBUTES):
        rows[name] = np.nan
    return rows


def join(parts: list[Rows]) -> Rows:
    """All rows after each other."""
    return np.concatenate(parts) if parts else blank(0)


def generator(*key: int) -> np.random.Generator:
    """Randomness that depends on the key alone: seed, purpose, day …"""
    return np.random.default_rng(key)


def choose(rng: np.random.Generator, cumulative: Floats, size: int) -> Ints:
    """`size` indices with the probabilities whose running sum is given (any scale)."""
    picked: Ints = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    return np.minimum(picked, len(cumulative) - 1)


def choose_each(rng: np.random.Generator, cumulative: Floats, which: Ints) -> Ints:
    """For each entry an index by the probabilities of row `which` of a table of running sums."""
    table = cumulative[which]
    u = rng.random(len(which)) * table[:, -1]
    picked: Ints = np.minimum((table <= u[:, None]).sum(axis=1), table.shape[1] - 1)
    return picked
