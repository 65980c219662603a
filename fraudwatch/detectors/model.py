"""A trained model: from features to anomaly, risk and reasons. Immutable; needs no PyOD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isnan

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraudwatch.detectors import kernels
from fraudwatch.detectors.arrays import Floats, Integers
from fraudwatch.detectors.calibration import Reference
from fraudwatch.detectors.compiled import Compiled
from fraudwatch.detectors.labelled import LabelledPart
from fraudwatch.detectors.manifest import Manifest
from fraudwatch.detectors.preparation import Preparation
from fraudwatch.detectors.sketch import ORDINARY, Sketch
from fraudwatch.domain.decision import Reason
from fraudwatch.errors import Invalid
from fraudwatch.features.catalogue import sentence
from fraudwatch.features.themes import theme

LABELLED = "labelled"  # name of the label-trained part among the scores


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says about n rows; NaN in `anomaly` and `risk` where it could not score.

    `parts` holds each detector's tail log-probability, all on one scale (nats).
    `fraud_probability` is None until there are labels enough to calibrate one honestly.
    """

    anomaly: Floats
    risk: Floats
    parts: dict[str, Floats]
    fraud_probability: Floats | None


@dataclass(frozen=True, slots=True)
class Part:
    """One detector with the scores of training rows that give its tail probabilities."""

    detector: Compiled
    reference: Reference


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Detectors on prepared features, combined, calibrated and explained.

    anomaly = (1 - w) U + w L: U is the mean tail log-probability of the detectors, L that of the
    label-trained part, w its `weight` (0 without labels).
    """

    manifest: Manifest
    preparation: Preparation
    parts: Mapping[str, Part]
    sketch: Sketch
    calibration: Reference
    labelled: LabelledPart | None = None
    _themes: Integers = field(init=False, repr=False)  # number of each feature's theme

    def __post_init__(self) -> None:
        themes = [theme(name) for name in self.manifest.feature_names]
        number = {about: place for place, about in enumerate(dict.fromkeys(themes))}
        numbers = np.array([number[about] for about in themes], dtype=np.int32)
        object.__setattr__(self, "_themes", numbers)

    @property
    def name(self) -> str:
        """Name of the model, as in its manifest."""
        return self.manifest.name

    def score(self, X: NDArray[np.floating]) -> Scores:
        """Score rows of the manifest's features, each by itself: batch and order do not matter.

        A row with inf, with NaN in a feature that is never missing, or on which a part fails gets
        NaN. Raises `Invalid` when the number of columns differs.
        """
        X = self.preparation.matrix(X)
        usable = self.preparation.usable(X)
        if usable.all():
            anomaly, parts = self._anomaly(X)
        else:
            anomaly = np.full(len(X), np.nan)
            anomaly[usable], found = self._anomaly(X[usable])
            parts = {name: np.full(len(X), np.nan) for name in found}
            for name, values in found.items():
                parts[name][usable] = values
        return Scores(anomaly, self.calibration.risk(anomaly), parts, None)

    def _anomaly(self, X: Floats) -> tuple[Floats, dict[str, Floats]]:
        prepared = self.preparation.apply(X)
        parts: dict[str, Floats] = {}
        total = np.zeros(len(X))
        for name, part in self.parts.items():
            parts[name] = part.reference.tail_logs(part.detector.score(prepared))
            total += parts[name]
        anomaly = total / len(self.parts)
        if self.labelled is not None:
            learnt = self.labelled.tail_logs(self.labelled.raw(X))
            parts[LABELLED] = learnt
            anomaly = (1.0 - self.labelled.weight) * anomaly + self.labelled.weight * learnt
        return anomaly, parts

    def reasons(
        self, X: NDArray[np.floating], normal_low: Floats, normal_high: Floats, top: int = 5
    ) -> list[tuple[Reason, ...]]:
        """What makes each row stand out, at most `top` reasons, heaviest first.

        Features of one theme (`features.themes`) give one reason, named by the heaviest of them
        and weighing what they weigh together.

        `normal_low` and `normal_high` bound each account's own normal values (n, features), NaN
        where unknown: then the population's 5-95 % range stands in. A weight is a feature's share
        of what can be put down to single features: of how far it lies in the tails of the
        training values and, weighted as in the score, of the push that the label-trained part
        gives it towards fraud.
        """
        X = self.preparation.matrix(X)
        if normal_low.shape != X.shape or normal_high.shape != X.shape:
            raise Invalid(
                f"normal ranges must have the shape of the rows: {normal_low.shape} and "
                f"{normal_high.shape}, rows {X.shape}"
            )
        themes = self._themes
        sums, columns = kernels.heaviest_themes(self.weights(X), themes, int(themes.max()) + 1, top)
        everyone_low, everyone_high = self.sketch.normal_range()
        rows = np.arange(len(X))[:, np.newaxis]
        values, lows, highs = (
            X[rows, columns],
            normal_low[rows, columns],
            normal_high[rows, columns],
        )
        unknown = np.isnan(lows) | np.isnan(highs)
        lows = np.where(unknown, everyone_low[columns], lows)
        highs = np.where(unknown, everyone_high[columns], highs)
        told = zip(
            sums.tolist(),
            columns.tolist(),
            values.tolist(),
            lows.tolist(),
            highs.tolist(),
            unknown.tolist(),
            strict=True,
        )
        return [
            tuple(self._reason(*facts) for facts in zip(*row, strict=True) if facts[0] > 0)
            for row in told
        ]

    def _reason(
        self, weight: float, column: int, found: float, low: float, high: float, unknown: bool
    ) -> Reason:
        name = self.manifest.feature_names[column]
        value = None if isnan(found) else found
        whose = "everyone" if unknown else "account"
        return Reason(
            feature=name,
            value=value,
            sentence=sentence(name, value, low, high, whose),
            weight=weight,
            normal_low=low,
            normal_high=high,
            normal_of=whose,
        )

    def weights(self, X: Floats) -> Floats:
        """Share of each feature in what makes each row stand out, (n, features), rows sum to 1.

        A value within the population's 5-95 % range has no share in the unsupervised part, unless
        every value is.
        """
        surprise = np.zeros(X.shape)
        columns = self.preparation.columns
        surprise[:, columns] = self.sketch.surprise(X)[:, columns]
        beyond = np.maximum(surprise - ORDINARY, 0.0)
        shares = _shares(np.where(beyond.any(axis=1, keepdims=True), beyond, surprise))
        if self.labelled is None:
            return shares
        push = _shares(np.maximum(self.labelled.contributions(X), 0.0))
        return (1.0 - self.labelled.weight) * shares + self.labelled.weight * push

    def calibrated(self, calibration: Reference) -> Model:
        """The same model with other calibration scores."""
        return replace(self, calibration=calibration)

    def described(
        self,
        *,
        name: str | None = None,
        created_at: str | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Model:
        """The same model with other words in its manifest."""
        manifest = msgspec.structs.replace(
            self.manifest,
            name=self.manifest.name if name is None else name,
            created_at=self.manifest.created_at if created_at is None else created_at,
            metrics=self.manifest.metrics if metrics is None else dict(metrics),
        )
        return replace(self, manifest=manifest)

    def warm_up(self) -> None:
        """Compile the kernels (seconds on a new machine, cached afterwards)."""
        row = np.zeros((1, self.preparation.width))
        row[:, self.preparation.columns] = self.preparation.fill
        self.score(row)
        unknown = np.full(row.shape, np.nan)
        self.reasons(row, unknown, unknown)


def _shares(values: Floats) -> Floats:
    """Each row divided by its sum; a row of zeros stays."""
    totals = values.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(values, totals, out=np.zeros(values.shape), where=totals > 0)
    return shares
