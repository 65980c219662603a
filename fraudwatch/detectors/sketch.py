"""How usual each single value is: quantile knots of the training rows, for reasons and ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fraudwatch.detectors import kernels
from fraudwatch.detectors.arrays import Flat, Floats, Layout, require_sorted
from fraudwatch.errors import BundleError

KNOTS = 1024
LOW, HIGH = 0.05, 0.95  # what counts as the normal range of a population
ORDINARY = float(-np.log(LOW))  # tail log-probability at the edge of that range


@dataclass(frozen=True, slots=True)
class Sketch(Flat):
    """Quantiles of every feature, closer together in the tails, under 400 KB for 45 features."""

    knots: Floats
    shares: Floats

    layout: ClassVar[Layout] = {
        "knots": (np.float64, ("features", "knots")),
        "shares": (np.float64, ("knots",)),
    }

    def require_sound(self) -> None:
        require_sorted("knots", self.knots)
        require_sorted("shares", self.shares)
        if self.shares.size == 0 or self.shares[0] <= 0 or self.shares[-1] >= 1:
            raise BundleError("quantiles stand at shares between 0 and 1: train the model again")

    def surprise(self, X: Floats) -> Floats:
        """-log of the smaller tail probability of each value, in nats; 0 for NaN."""
        surprise: Floats = kernels.surprises(X, self.knots, self.shares)
        return surprise

    def normal_range(self) -> tuple[Floats, Floats]:
        """5 % and 95 % quantile of each feature."""
        low, high = np.searchsorted(self.shares, (LOW, HIGH))
        return self.knots[:, low], self.knots[:, high]


def fit_sketch(X: Floats) -> Sketch:
    """Knots at the sample quantiles (the smallest value that the share does not exceed).

    Half of the knots are spread evenly over the middle 98 %, a quarter in each tail at
    logarithmic distances down to 1 / (rows + 1). A column without values gets zeros.
    """
    quarter = KNOTS // 4
    edge = 0.01
    tail = np.geomspace(1.0 / (max(len(X), 200) + 1), edge, quarter, endpoint=False)
    shares = np.concatenate(
        [tail, np.linspace(edge, 1 - edge, KNOTS - 2 * quarter), 1 - tail[::-1]]
    )
    knots = np.zeros((X.shape[1], KNOTS))
    for column in range(X.shape[1]):
        values = X[:, column]
        ordered = np.sort(values[~np.isnan(values)])
        if ordered.size:
            places = np.ceil(shares * ordered.size).astype(np.int64) - 1
            knots[column] = ordered[np.clip(places, 0, ordered.size - 1)]
    return Sketch(knots=knots, shares=shares)
