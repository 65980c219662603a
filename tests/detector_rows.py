"""Made-up feature rows: ordinary traffic, and rows that stand out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudwatch.features.catalogue import FeatureSpec

SPEC = FeatureSpec(attributes=("score",))


def made_up(seed: int, rows: int) -> NDArray[np.float64]:
    """Skewed, whole-number and bounded columns; the attribute is missing in three of ten rows."""
    rng = np.random.default_rng(seed)
    X = np.exp(rng.normal(size=(rows, len(SPEC.names))))
    X[:, SPEC.names.index("count_24h")] = 1 + rng.poisson(2.0, size=rows)
    X[:, SPEC.names.index("night")] = rng.random(rows) < 0.2
    X[:, SPEC.names.index("max_24h")] = X[:, SPEC.names.index("amount")] * 2
    X[rng.random(rows) < 0.3, -1] = np.nan
    return X


def strange(seed: int, rows: int, factor: float = 20.0) -> NDArray[np.float64]:
    """Ordinary rows with larger amounts and sums."""
    X = made_up(seed, rows)
    for name in ("amount", "sum_24h", "max_24h", "amount_ratio_7d", "mean_7d"):
        X[:, SPEC.names.index(name)] *= factor
    return X
