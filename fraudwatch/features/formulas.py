"""The formulas of the catalogue, on columns of measures. Elementwise arithmetic and comparisons
only: exactly rounded, so that a row alone equals the row in any batch to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudwatch.features import spans as k
from fraudwatch.features.catalogue import ATTRIBUTE_PREFIX, FeatureSpec
from fraudwatch.features.columns import Columns
from fraudwatch.features.layout import PAST, Measures
from fraudwatch.features.profiles import MerchantProfiles
from fraudwatch.features.spans import DAY, HOUR

E4 = 10_000.0
MAX_RATIO = 1_000.0
MAX_DEVIATION = 1_000.0
WINDOW_NAMES = ("10m", "1h", "24h", "7d", "30d")
Floats = NDArray[np.float64]


def feature_matrix(
    columns: Columns, measures: Measures, profiles: MerchantProfiles, spec: FeatureSpec
) -> Floats:
    """float64[n, d] in the order of `spec.names`."""
    found = {
        **_amounts_and_windows(columns, measures),
        **_habits(columns, measures),
        **_past(measures),
        **merchant_features(columns, profiles),
    }
    for position, name in enumerate(spec.attributes):
        found[ATTRIBUTE_PREFIX + name] = columns.attributes[:, position]
    values = np.empty((len(columns), len(spec.names)))
    for position, name in enumerate(spec.names):
        values[:, position] = found[name]
    return values


def ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """above / below, 1 where below is 0, at most `MAX_RATIO`."""
    quotient = np.ones(len(above))
    np.divide(above, below, out=quotient, where=below != 0)
    return np.minimum(quotient, MAX_RATIO)


def share(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """above / below, 0 where below is 0."""
    quotient = np.zeros(len(above))
    np.divide(above, below, out=quotient, where=below != 0)
    return quotient


def _amounts_and_windows(columns: Columns, measures: Measures) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {"amount": columns.amount_e4 / E4}
    for position, name in enumerate(WINDOW_NAMES):
        measured = measures.windows[:, position]
        found[f"count_{name}"] = measured[:, k.COUNT]
        found[f"sum_{name}"] = measured[:, k.SUM] / E4
        found[f"mean_{name}"] = measured[:, k.SUM] / (measured[:, k.COUNT] * E4)
        found[f"max_{name}"] = measured[:, k.MAX] / E4
        found[f"merchants_{name}"] = measured[:, k.MERCHANTS]
        found[f"countries_{name}"] = measured[:, k.COUNTRIES]
        found[f"devices_{name}"] = measured[:, k.DEVICES]
    return found


def _habits(columns: Columns, measures: Measures) -> dict[str, NDArray[Any]]:
    past, amount = measures.past, columns.amount_e4
    counts, sums = measures.windows[:, :, k.COUNT], measures.windows[:, :, k.SUM]
    past_count = counts[:, 4] - 1
    days = past[:, k.AGE] / DAY
    found: dict[str, NDArray[Any]] = {}
    for position, name, longest in ((3, "7d", 7.0), (4, "30d", 30.0)):
        mean = share(sums[:, position] - amount, counts[:, position] - 1)
        observed = np.clip(days, 1.0, longest)
        found[f"amount_ratio_{name}"] = ratio(amount, mean)
        found[f"count_ratio_24h_{name}"] = ratio(counts[:, 2] * observed, counts[:, position])
    found["sum_ratio_24h_30d"] = ratio(sums[:, 2] * np.clip(days, 1.0, 30.0), sums[:, 4])
    found["amount_to_max_30d"] = ratio(amount, past[:, k.PAST_MAX])
    spread = np.maximum(np.maximum(past[:, k.DEVIATION], past[:, k.MEAN] / 10), 0.01 * E4)
    deviation = np.clip((amount - past[:, k.MEAN]) / spread, -MAX_DEVIATION, MAX_DEVIATION)
    found["amount_deviation_30d"] = np.where(past_count > 1, deviation, 0.0)
    found["amount_rank_30d"] = (past[:, k.BELOW] + 0.5) / (past_count + 1)
    found["hour_share_30d"] = (past[:, k.SAME_HOUR] + 1 / 12) / (past_count + 1)
    found["weekday_share_30d"] = (past[:, k.SAME_WEEKDAY] + 1 / 7) / (past_count + 1)
    hour = columns.time_us % DAY // HOUR
    found["hour_of_day"] = hour
    found["night"] = hour <= 6
    found["weekend"] = (columns.time_us // DAY + 3) % 7 >= 5  # 1970-01-01 was a Thursday
    return found


def _past(measures: Measures) -> dict[str, NDArray[Any]]:
    past = measures.past
    found: dict[str, NDArray[Any]] = {
        name: past[:, position] for position, name in enumerate(PAST) if name.startswith("first_")
    }
    return found | {
        "seconds_since_last": past[:, k.SINCE],
        "account_count": past[:, k.BEFORE],
        "account_age_days": past[:, k.AGE] / DAY,
        "travel_km": past[:, k.KM],
        "travel_speed": past[:, k.SPEED],
    }


def merchant_features(columns: Columns, profiles: MerchantProfiles) -> dict[str, NDArray[Any]]:
    """The features that depend on profiles, by name: all others do not change with them."""
    known = profiles.lookup(columns.merchant)
    mean = share(known["amount_30d"], known["count_30d"])  # 1e-4
    found: dict[str, NDArray[Any]] = {
        "merchant_known": known["known"],
        "merchant_mean_30d": mean / E4,
        "amount_to_merchant_mean": ratio(columns.amount_e4, mean),
        "merchant_frauds_7d": known["frauds_7d"],
        "merchant_frauds_30d": known["frauds_30d"],
    }
    for window in ("1d", "7d", "30d"):
        found[f"merchant_count_{window}"] = known[f"count_{window}"]
        found[f"merchant_fraud_rate_{window}"] = share(
            known[f"rated_frauds_{window}"], known[f"rated_count_{window}"]
        )
    return found
