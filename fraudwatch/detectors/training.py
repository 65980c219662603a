"""Fit a model: detectors on recent traffic, trees on labels, calibration on rows kept apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version

import numpy as np

from fraudwatch.detectors import registry
from fraudwatch.detectors.arrays import Flags, Floats, Integers
from fraudwatch.detectors.boosted import MOST_ON_PATH
from fraudwatch.detectors.calibration import Reference, reference
from fraudwatch.detectors.checks import require_equal, require_same_trees
from fraudwatch.detectors.labelled import (
    LabelledPart,
    LabelledRows,
    blend_weight,
    fit_booster,
    tells_apart,
)
from fraudwatch.detectors.manifest import Manifest
from fraudwatch.detectors.model import Model, Part
from fraudwatch.detectors.preparation import Preparation, fit_preparation
from fraudwatch.detectors.sketch import fit_sketch
from fraudwatch.errors import ConfigurationError
from fraudwatch.features.catalogue import ATTRIBUTE_PREFIX, FeatureSpec

__all__ = ["DEFAULT", "LabelledRows", "Progress", "TrainingConfig", "fit"]

Progress = Callable[[str, float], None]  # what is being done, share done so far

LEAST_ROWS = 100
GATE_ROWS = 1000  # on which a compiled detector must agree with PyOD
# How large or busy an account or merchant is, and the calendar, set people apart, not payments.
# Ratios to the account's own habits stay. Without these the detectors find more fraud: average
# precision on two weeks of the Handbook, no labels, 0.377 instead of 0.327; Sparkov 0.185, 0.184.
SIZES_AND_CALENDAR = (
    *(
        f"{what}_{window}"
        for what in ("count", "sum", "mean", "max", "merchants", "countries", "devices")
        for window in ("7d", "30d")
    ),
    *(f"merchant_{what}" for what in ("count_1d", "count_7d", "count_30d", "mean_30d")),
    *("account_count", "account_age_days", "hour_of_day", "night", "weekend"),
)
# Within minutes nearly always 1; what they add, the day's windows say too. The trees see them.
BRIEF_SPREAD = ("merchants_10m", "countries_10m", "devices_10m", "countries_1h", "devices_1h")
LIBRARIES = ("numpy", "scikit-learn", "pyod", "lightgbm", "numba")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How a model is fitted; goes into its manifest.

    The defaults were chosen by measurement on two simulators' data, without labels: isolation
    forest and PCA beat every other pair and triple of the registry and every single detector but
    PCA, which was ahead by less than the noise. Bounds of 4 to 8 deviations beat wider ones, since
    a few wild values otherwise set the scale of a column.

    `detectors`: names in the registry. `left_out`: features that the detectors do not see; the
    label-trained part always sees all. `clip`: bound of standardised values. `half_at`: known
    frauds at which the label-trained part has half of the say. `threads`: for boosting.
    """

    detectors: tuple[str, ...] = ("iforest", "pca")
    left_out: tuple[str, ...] = (*SIZES_AND_CALENDAR, *BRIEF_SPREAD)
    clip: float = 8.0
    most_training_rows: int = 100_000
    most_reference_rows: int = 100_000
    label_trees: int = 100
    label_depth: int = 4
    half_at: float = 50.0
    threads: int = 1

    def __post_init__(self) -> None:
        unknown = sorted(set(self.detectors) - set(registry.DETECTORS))
        if unknown or not self.detectors or len(set(self.detectors)) != len(self.detectors):
            raise ConfigurationError(
                f"detectors must be different ones of {sorted(registry.DETECTORS)}, "
                f"got {list(self.detectors)}"
            )
        if not self.clip > 0 or not self.half_at > 0:
            raise ConfigurationError("clip and half_at must be positive")
        if not 1 <= self.label_depth <= MOST_ON_PATH:
            raise ConfigurationError(f"label_depth must be 1 to {MOST_ON_PATH}")


DEFAULT = TrainingConfig()


def fit(
    X: Floats,
    X_calibration: Floats,
    spec: FeatureSpec,
    *,
    seed: int,
    config: TrainingConfig = DEFAULT,
    labels: LabelledRows | None = None,
    window: tuple[str, str] = ("", ""),
    name: str = "model",
    created_at: datetime | None = None,
    metrics: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Model:
    """Fit a model on rows of the spec's features.

    `X` trains the detectors, without labels. `X_calibration` is recent traffic that took part in
    no training; the caller leaves out rows known as fraud. `labels` trains the label part, once
    both classes are known. The same input and seed give the same model, bit for bit.

    Raises `ConfigurationError` when there are too few rows, no feature varies, or a detector
    cannot be fitted; it names what to change.
    """
    tell = progress or (lambda _stage, _share: None)
    rng = np.random.default_rng(seed)
    steps = len(config.detectors) + 3
    tell("preparing", 0.0)
    nullable = np.array([feature.startswith(ATTRIBUTE_PREFIX) for feature in spec.names])
    X = _usable(X, nullable, "training")
    X_calibration = _usable(X_calibration, nullable, "calibration")
    if len(X) > config.most_training_rows:
        X = X[np.sort(rng.choice(len(X), size=config.most_training_rows, replace=False))]
    preparation = fit_preparation(X, _chosen(spec, config), nullable, config.clip)
    prepared, unseen = preparation.apply(X), preparation.apply(X_calibration[:GATE_ROWS])
    parts = {}
    for step, detector in enumerate(config.detectors, start=1):
        tell(f"fitting {detector}", step / steps)
        parts[detector] = _fit_part(registry.DETECTORS[detector], prepared, unseen, rng, config)
    tell("learning from labels", (steps - 2) / steps)
    labelled = None
    if labels is not None and tells_apart(labels.fraud):
        labelled, X_calibration = _fit_labelled(
            labels, X_calibration, preparation, rng, seed, config
        )
    tell("calibrating", (steps - 1) / steps)
    model = Model(
        manifest=Manifest(
            name=name,
            created_at=created_at.isoformat() if created_at else "",
            features=spec.to_dict(),
            feature_names=spec.names,
            features_version=spec.version,
            parts=config.detectors,
            label_weight=labelled.weight if labelled else 0.0,
            rows={
                "training": len(X),
                "calibration": len(X_calibration),
                "labelled": len(labels.fraud) if labels else 0,
                "labelled_fraud": int(labels.fraud.sum()) if labels else 0,
            },
            window=window,
            seed=seed,
            config=asdict(config),
            libraries={library: version(library) for library in LIBRARIES},
            metrics=dict(metrics or {}),
        ),
        preparation=preparation,
        parts=parts,
        sketch=fit_sketch(X),
        calibration=Reference(np.zeros(1)),
        labelled=labelled,
    )
    anomaly = model.score(X_calibration).anomaly
    model = model.calibrated(reference(anomaly, config.most_reference_rows, rng))
    tell("done", 1.0)
    return model


def _usable(X: Floats, nullable: Flags, what: str) -> Floats:
    """The rows without inf and without NaN where a value is never missing."""
    X = np.ascontiguousarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != len(nullable):
        raise ConfigurationError(
            f"{what} rows must have {len(nullable)} features, got shape {X.shape}"
        )
    X = X[(np.isfinite(X) | (np.isnan(X) & nullable)).all(axis=1)]
    if len(X) < LEAST_ROWS:
        raise ConfigurationError(
            f"{len(X)} usable {what} rows are too few, {LEAST_ROWS} are needed: "
            "take a longer window"
        )
    return X


def _chosen(spec: FeatureSpec, config: TrainingConfig) -> Integers:
    """Columns of the features that the detectors see."""
    unknown = sorted(set(config.left_out) - set(spec.names))
    if unknown:
        raise ConfigurationError(f"unknown features to leave out: {', '.join(unknown)}")
    seen = [place for place, name in enumerate(spec.names) if name not in config.left_out]
    return np.array(seen, dtype=np.int32)


def _fit_part(
    detector: registry.Detector,
    prepared: Floats,
    unseen: Floats,
    rng: np.random.Generator,
    config: TrainingConfig,
) -> Part:
    """Fit with PyOD, compile, and refuse a compiled detector that PyOD disagrees with."""
    rows = prepared
    if len(rows) > detector.most_rows:
        rows = rows[np.sort(rng.choice(len(rows), size=detector.most_rows, replace=False))]
    fitted = registry.fit(detector, rows, int(rng.integers(2**31)))
    compiled = detector.compile(fitted)
    require_equal(detector, fitted, compiled, unseen[:5] if detector.companions else unseen)
    return Part(compiled, reference(compiled.score(prepared), config.most_reference_rows, rng))


def _fit_labelled(
    labels: LabelledRows,
    X_calibration: Floats,
    preparation: Preparation,
    rng: np.random.Generator,
    seed: int,
    config: TrainingConfig,
) -> tuple[LabelledPart, Floats]:
    """The label part, and the half of the calibration rows that its reference leaves over.

    The trees know their own training rows too well, so the scores they are compared with come
    from rows they never saw; those rows then take no part in calibration.
    """
    usable = preparation.usable(preparation.matrix(labels.X))
    labels = LabelledRows(labels.X[usable], labels.fraud[usable], labels.weight[usable])
    booster = fit_booster(
        labels,
        trees=config.label_trees,
        depth=config.label_depth,
        threads=config.threads,
        seed=seed,
    )
    order = rng.permutation(len(X_calibration))
    compared, left = np.array_split(order, 2)
    part = LabelledPart(
        booster=booster,
        reference=Reference(np.zeros(1)),
        weight=blend_weight(int(labels.fraud.sum()), config.half_at),
    )
    unseen = X_calibration[np.sort(compared)]
    scores = part.raw(unseen)
    require_same_trees(booster, scores, unseen)
    return (
        LabelledPart(booster, reference(scores, config.most_reference_rows, rng), part.weight),
        X_calibration[np.sort(left)],
    )
