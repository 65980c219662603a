"""Merchant profiles: what was known about each merchant at the start of a day.

Versioned by day, because they look across accounts: every row of a stream that is scored with the
same version sees the same profile, whatever partition or worker carried it.

Fraud rates need labels, and labels come late. A rate over the last days would divide frauds that
are known by transactions whose truth is not known yet, so rates are taken over whole days that
end `label_delay_days` before the profile's day; what is known earlier counts in `frauds_…`.
(The delayed windows follow the Fraud Detection Handbook, chapter 3, "terminal ID
transformations".)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from fraudwatch.features.columns import Columns
from fraudwatch.features.packing import pack, unpack
from fraudwatch.features.spans import DAY

MAGIC = b"FWPROF1\n"
EPOCH_DAY = date(1970, 1, 1)
LONGEST_DAYS = 30
LABEL_DELAY_DAYS = 7  # the Handbook's
AMOUNT_LIMIT_E4 = 10**12  # a single amount counts at most 10^8 in a merchant's mean
NUMBERS = (
    "known",
    "count_1d",
    "count_7d",
    "count_30d",
    "amount_30d",  # sum, 1e-4
    "rated_count_1d",
    "rated_count_7d",
    "rated_count_30d",
    "rated_frauds_1d",
    "rated_frauds_7d",
    "rated_frauds_30d",
    "frauds_7d",
    "frauds_30d",
)


@dataclass(frozen=True, eq=False)
class DayTable:
    """Transactions by merchant and day. Rows of the same merchant and day add up.

    `merchant`: hashes (`columns.hash_ids`); `day`: days since 1970 (UTC) of the transactions;
    `count`, `amount_e4` (reference currency), `frauds`: known ones; all int64. Counts may be
    negative in rows that take something back.
    """

    merchant: NDArray[np.uint64]
    day: NDArray[np.int64]
    count: NDArray[np.int64]
    amount_e4: NDArray[np.int64]
    frauds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.merchant)

    def first(self, rows: int) -> DayTable:
        """The first so many rows."""
        return DayTable(
            self.merchant[:rows],
            self.day[:rows],
            self.count[:rows],
            self.amount_e4[:rows],
            self.frauds[:rows],
        )


def day_table(columns: Columns, frauds: NDArray[np.int64] | None = None) -> DayTable:
    """A row per merchant and day of these transactions; `frauds` int64[n]: 1 where known fraud."""
    rows = np.flatnonzero(columns.merchant)
    merchant, day = columns.merchant[rows], columns.time_us[rows] // DAY
    order = np.lexsort((merchant, day))
    merchant, day = merchant[order], day[order]
    if not len(order):
        return DayTable(merchant, day, *(np.zeros(0, dtype=np.int64) for _ in range(3)))
    starts = np.flatnonzero(np.r_[True, (merchant[1:] != merchant[:-1]) | (day[1:] != day[:-1])])
    picked = rows[order]
    known = np.zeros(len(columns), dtype=np.int64) if frauds is None else frauds
    return DayTable(
        merchant[starts],
        day[starts],
        np.diff(np.r_[starts, len(order)]),
        np.add.reduceat(np.minimum(columns.amount_e4[picked], AMOUNT_LIMIT_E4), starts),
        np.add.reduceat(known[picked], starts),
    )


@dataclass(frozen=True, eq=False)
class MerchantProfiles:
    """`version`: the ISO date at whose start (00:00 UTC) this was known; "" for nothing known.

    `merchants`: sorted hashes; `numbers`: int64[m, len(NUMBERS)].
    """

    version: str
    merchants: NDArray[np.uint64]
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.merchants)

    def lookup(self, merchants: NDArray[np.uint64]) -> dict[str, NDArray[np.int64]]:
        """Each number for each of these merchants; 0 for unknown ones."""
        found = np.zeros((len(merchants), len(NUMBERS)), dtype=np.int64)
        if len(self.merchants):
            places = np.searchsorted(self.merchants, merchants)
            places[places == len(self.merchants)] = 0
            hits = self.merchants[places] == merchants
            found[hits] = self.numbers[places[hits]]
        return {name: found[:, position] for position, name in enumerate(NUMBERS)}

    def dump(self) -> bytes:
        """As bytes; equal profiles give equal bytes."""
        arrays = {"merchants": self.merchants, "numbers": self.numbers.T}
        return pack(MAGIC, self.version, arrays)

    @classmethod
    def load(cls, data: bytes) -> MerchantProfiles:
        """The inverse of `dump`. Raises `BundleError` where the data is damaged."""
        version, arrays = unpack(MAGIC, data)
        return cls(version, arrays["merchants"], np.ascontiguousarray(arrays["numbers"].T))


EMPTY_PROFILES = MerchantProfiles(
    "", np.zeros(0, dtype=np.uint64), np.zeros((0, len(NUMBERS)), dtype=np.int64)
)


def build_profiles(
    as_of: date, tables: Sequence[DayTable], *, label_delay_days: int = LABEL_DELAY_DAYS
) -> MerchantProfiles:
    """Profiles as known at the start of `as_of`.

    `tables`: transactions of the last `LONGEST_DAYS + label_delay_days` days before `as_of` (other
    days are left out here), with the frauds that were known before `as_of` 00:00 UTC.
    """
    merchant = np.concatenate([EMPTY_PROFILES.merchants, *(t.merchant for t in tables)])
    ages = (as_of - EPOCH_DAY).days - np.concatenate(
        [np.zeros(0, dtype=np.int64), *(t.day for t in tables)]
    )  # 1: yesterday
    used = (ages >= 1) & (ages <= LONGEST_DAYS + label_delay_days)
    merchants, place = np.unique(merchant[used], return_inverse=True)
    ages = ages[used]
    numbers = np.zeros((len(merchants), len(NUMBERS)), dtype=np.int64)

    def total(field: str, oldest: int, skipped: int = 0) -> NDArray[np.int64]:
        """Sum of a field by merchant over the ages skipped+1 … skipped+oldest."""
        values = np.concatenate([getattr(t, field) for t in tables])[used]
        inside = (ages > skipped) & (ages <= skipped + oldest)
        sums = np.zeros(len(merchants), dtype=np.int64)
        np.add.at(sums, place[inside], values[inside])
        return sums

    if len(merchants):
        columns = {
            "known": np.minimum(total("count", LONGEST_DAYS + label_delay_days), 1),
            "amount_30d": total("amount_e4", 30),
            "frauds_7d": total("frauds", 7),
            "frauds_30d": total("frauds", 30),
        }
        for days in (1, 7, 30):
            columns[f"count_{days}d"] = total("count", days)
            columns[f"rated_count_{days}d"] = total("count", days, label_delay_days)
            columns[f"rated_frauds_{days}d"] = total("frauds", days, label_delay_days)
        for position, name in enumerate(NUMBERS):
            numbers[:, position] = columns[name]
    return MerchantProfiles(as_of.isoformat(), merchants, numbers)
