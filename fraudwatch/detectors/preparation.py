"""From features as they come to the matrix that detectors are fitted on and score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fraudwatch.detectors import kernels
from fraudwatch.detectors.arrays import (
    Flags,
    Flat,
    Floats,
    Integers,
    Layout,
    require_range,
    scalar,
)
from fraudwatch.errors import BundleError, ConfigurationError, Invalid


@dataclass(frozen=True, slots=True)
class Preparation(Flat):
    """Which columns are used, and how: NaN filled, standardised, held within bounds.

    A column that did not vary in training says nothing and is left out.
    """

    columns: Integers  # of the feature matrix, those that detectors see
    fill: Floats  # training median, stands in for a missing value
    centre: Floats  # training mean
    scale: Floats  # training standard deviation
    clip: Floats  # bound on standardised values, in standard deviations
    nullable: Flags  # per feature: may be NaN (an institution's attribute that was not sent)

    layout: ClassVar[Layout] = {
        "columns": (np.int32, ("used",)),
        "fill": (np.float64, ("used",)),
        "centre": (np.float64, ("used",)),
        "scale": (np.float64, ("used",)),
        "clip": (np.float64, ()),
        "nullable": (np.bool_, ("features",)),
    }

    def require_sound(self) -> None:
        require_range("columns", self.columns, 0, self.width)
        numbers = np.concatenate([self.fill, self.centre, self.scale, self.clip.reshape(1)])
        if not np.isfinite(numbers).all() or not (self.scale > 0).all():
            raise BundleError("standardisation must be finite, scales positive: train again")

    @property
    def width(self) -> int:
        """Number of features a row must have."""
        return len(self.nullable)

    def matrix(self, X: NDArray[np.floating]) -> Floats:
        """X as a contiguous float64 matrix, or `Invalid` where its shape does not fit."""
        rows: Floats = np.ascontiguousarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise Invalid(f"the model needs rows of {self.width} features, got shape {rows.shape}")
        return rows

    def usable(self, X: Floats) -> Flags:
        """Rows without inf, and without NaN where a value is never missing."""
        fine = np.isfinite(X) | (np.isnan(X) & self.nullable)
        return np.asarray(fine.all(axis=1), dtype=np.bool_)

    def apply(self, X: Floats) -> Floats:
        """The matrix that detectors see; every value finite when the rows are usable."""
        prepared: Floats = kernels.prepare(
            X, self.columns, self.fill, self.centre, self.scale, float(self.clip)
        )
        return prepared


def fit_preparation(X: Floats, columns: Integers, nullable: Flags, clip: float) -> Preparation:
    """Learn medians, means and deviations of the training rows (usable ones only).

    Raises `ConfigurationError` when no column varies.
    """
    kept, fill, centre, scale = [], [], [], []
    for column in columns:
        values = X[:, column]
        present = values[~np.isnan(values)]
        if present.size == 0 or present.min() == present.max():
            continue
        median = float(np.median(present))
        filled = np.where(np.isnan(values), median, values)
        deviation = float(filled.std())
        if not np.isfinite(deviation) or deviation <= 0:
            continue
        kept.append(column)
        fill.append(median)
        centre.append(float(filled.mean()))
        scale.append(deviation)
    if not kept:
        raise ConfigurationError(
            "no feature varies in the training rows: train on more, or on other, transactions"
        )
    return Preparation(
        columns=np.array(kept, dtype=np.int32),
        fill=np.array(fill),
        centre=np.array(centre),
        scale=np.array(scale),
        clip=scalar(clip),
        nullable=nullable.astype(np.bool_),
    )
