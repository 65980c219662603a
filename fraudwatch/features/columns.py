"""Transactions as numpy columns: the one input of the feature kernel.

Live batches (`from_transactions`) and recorded frames (`from_frame`) give the same bits, so that
whatever is computed from columns is the same live and offline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
import xxhash
from numpy.typing import NDArray

from fraudwatch.domain.limits import AMOUNT_DECIMALS
from fraudwatch.domain.transaction import Transaction
from fraudwatch.features.catalogue import FeatureSpec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# 50 thousand million units of the reference currency, in 1e-4. Amounts saturate here, so that the
# sum over a full account history (kernel.KEEP rows) stays inside int64.
AMOUNT_LIMIT_E4 = 5 * 10**14

_E4 = Decimal(10**AMOUNT_DECIMALS)

IDS = ("account", "merchant", "category", "channel", "country", "device", "counterparty")
FIELDS = {
    "account": "account_id",
    "merchant": "merchant_id",
    "category": "merchant_category",
    "channel": "channel",
    "country": "country",
    "device": "device_id",
    "counterparty": "counterparty_id",
}


@dataclass(frozen=True, eq=False)
class Columns:
    """n transactions in order. Ids are 64-bit hashes, 0 where the transaction has none.

    `time_us`: microseconds since 1970 UTC. `amount_e4`: 1e-4 of the reference currency, at most
    `AMOUNT_LIMIT_E4`. `latitude`, `longitude`: degrees, NaN where unknown. `attributes`:
    float64[n, k] in the order of `FeatureSpec.attributes`, NaN where missing or not a number.
    """

    account: NDArray[np.uint64]
    time_us: NDArray[np.int64]
    amount_e4: NDArray[np.int64]
    merchant: NDArray[np.uint64]
    category: NDArray[np.uint64]
    channel: NDArray[np.uint64]
    country: NDArray[np.uint64]
    device: NDArray[np.uint64]
    counterparty: NDArray[np.uint64]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    attributes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.account)

    def take(self, rows: NDArray[Any] | slice) -> Columns:
        """The rows named by an index array, a mask or a slice."""
        return Columns(*(getattr(self, f.name)[rows] for f in fields(self)))


def hash_id(text: str) -> int:
    """Stable 64-bit xxh3 hash of an id; never 0, which stands for "absent"."""
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) or 1


def hash_ids(values: Any) -> NDArray[np.uint64]:
    """Hashes of a sequence of strings; 0 for missing or empty ones."""
    codes, uniques = pd.factorize(pd.Series(values))
    table = np.zeros(len(uniques) + 1, dtype=np.uint64)  # the last one answers code -1: missing
    for position, text in enumerate(uniques):
        table[position] = hash_id(str(text)) if text != "" else 0
    return table[codes]


def from_transactions(transactions: Sequence[Transaction], spec: FeatureSpec) -> Columns:
    """Columns of live transactions, in their order."""
    n = len(transactions)
    ids = {name: _hash_field(transactions, field) for name, field in FIELDS.items()}
    time_us = np.fromiter((to_us(t.event_time) for t in transactions), np.int64, n)
    rate = np.ones(n)
    if spec.rates:
        rate[:] = [spec.rates.get(t.currency, 1.0) for t in transactions]
    attributes = np.full((n, len(spec.attributes)), np.nan)
    for position, name in enumerate(spec.attributes):
        attributes[:, position] = [_number(t.attributes.get(name)) for t in transactions]
    return Columns(
        **ids,
        time_us=time_us,
        amount_e4=in_reference(amounts_e4(transactions), rate),
        # None becomes NaN
        latitude=np.array([t.latitude for t in transactions], dtype=np.float64),
        longitude=np.array([t.longitude for t in transactions], dtype=np.float64),
        attributes=attributes,
    )


def from_frame(frame: pd.DataFrame, spec: FeatureSpec) -> Columns:
    """Columns of a canonical frame, in its order."""
    n = len(frame)
    ids = {
        name: hash_ids(frame[field]) if field in frame else np.zeros(n, dtype=np.uint64)
        for name, field in FIELDS.items()
    }
    times = frame["event_time"].dt.tz_convert("UTC").dt.tz_localize(None)
    rate = frame["currency"].map(lambda currency: spec.rates.get(currency, 1.0))
    attributes = np.full((n, len(spec.attributes)), np.nan)
    for position, name in enumerate(spec.attributes):
        attributes[:, position] = _numbers(frame, f"attributes.{name}")
    return Columns(
        **ids,
        time_us=times.to_numpy(dtype="datetime64[us]").astype(np.int64),
        amount_e4=in_reference(
            frame["amount_e4"].to_numpy(dtype=np.int64), rate.to_numpy(dtype=np.float64)
        ),
        latitude=_numbers(frame, "latitude"),
        longitude=_numbers(frame, "longitude"),
        attributes=attributes,
    )


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 UTC of an aware moment, exactly."""
    return (moment - EPOCH) // _MICROSECOND


def amounts_e4(transactions: Sequence[Transaction]) -> NDArray[np.int64]:
    """Exact amounts in 1e-4 of each transaction's own currency."""
    units = map(_E4.__mul__, map(attrgetter("amount"), transactions))
    return np.fromiter(map(int, units), np.int64, len(transactions))


def in_reference(amount_e4: NDArray[np.int64], rate: NDArray[np.float64]) -> NDArray[np.int64]:
    """Amounts times rates, rounded half to even; exact where the rate is 1; saturated."""
    product = np.minimum(amount_e4 * rate, float(AMOUNT_LIMIT_E4))
    converted = np.rint(product).astype(np.int64)
    return np.where(rate == 1.0, np.minimum(amount_e4, AMOUNT_LIMIT_E4), converted)


def _hash_field(transactions: Sequence[Transaction], field: str) -> NDArray[np.uint64]:
    texts = list(map(attrgetter(field), transactions))
    hashes = {text: hash_id(text) if text else 0 for text in set(texts)}
    return np.fromiter(map(hashes.__getitem__, texts), np.uint64, len(texts))


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        return np.nan
    number = float(value)
    return number if np.isfinite(number) else np.nan


def _numbers(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    if name not in frame:
        return np.full(len(frame), np.nan)
    column = frame[name]
    if not pd.api.types.is_numeric_dtype(column.dtype):
        return np.array([_number(value) for value in column], dtype=np.float64)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)
