"""Scores on common scales: tail log-probability to combine, conformal risk to decide.

`tail_logs`: -log((#reference >= s + 1) / (n + 1)). Independent of each detector's scale and of the
batch, and it keeps the tail, which averaged ranks flatten.

`risk`: 1 - p with the conformal p-value p = (#calibration >= s + 1) / (n + 1), from traffic that
took no part in training (Vovk, Gammerman, Shafer 2005, Algorithmic Learning in a Random World;
Bates, Candes, Lei, Romano, Sesia 2023, Testing for outliers with conformal p-values). Where new
rows come from the same traffic, P(risk >= r) <= 1 - r whatever the detector, so a threshold of
0.99 alerts on about 1 % of ordinary traffic, before and after a retraining.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fraudwatch.detectors import kernels
from fraudwatch.detectors.arrays import Flat, Floats, Layout, require_sorted
from fraudwatch.errors import BundleError


@dataclass(frozen=True, slots=True)
class Reference(Flat):
    """Scores to compare with, ascending."""

    scores: Floats

    layout: ClassVar[Layout] = {"scores": (np.float64, ("scores",))}

    def require_sound(self) -> None:
        require_sorted("scores", self.scores)
        if self.scores.size == 0:
            raise BundleError("no scores to compare with: train on more rows")

    def tail_logs(self, scores: Floats) -> Floats:
        """-log tail probability of each score among these; NaN stays NaN."""
        logs: Floats = kernels.tail_logs(self.scores, scores)
        return np.where(np.isnan(scores), np.nan, logs)

    def risk(self, scores: Floats) -> Floats:
        """1 - conformal p-value of each score; NaN stays NaN."""
        n = self.scores.size
        at_least = n - np.searchsorted(self.scores, scores, side="left")
        risk = 1.0 - (at_least + 1) / (n + 1)
        return np.where(np.isnan(scores), np.nan, risk)


def reference(scores: Floats, most: int, rng: np.random.Generator) -> Reference:
    """Sort the scores; of more than `most`, a random draw. All must be finite."""
    if scores.size > most:
        scores = rng.choice(scores, size=most, replace=False)
    return Reference(np.sort(scores.astype(np.float64)))
