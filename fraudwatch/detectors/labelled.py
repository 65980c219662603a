"""The part that learns from people's labels: boosted trees, blended in as labels grow."""

from __future__ import annotations

from dataclasses import dataclass, field

import lightgbm
import numpy as np
from numpy.typing import NDArray

from fraudwatch.detectors.arrays import Flags, Floats
from fraudwatch.detectors.boosted import Boosted, read_boosted
from fraudwatch.detectors.calibration import Reference
from fraudwatch.errors import BundleError, Invalid

# Frauds are few and features many: without shrinkage single leaves shout. Measured on the
# Handbook, a week of labels: average precision 0.706 with 10, 0.661 with none.
SHRINKAGE = 10.0
LEAST_TOP = 20  # reference scores that the slope of the tail is read off


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Transactions whose truth is known: features, fraud or not, weight in training."""

    X: Floats
    fraud: Flags
    weight: Floats

    def __post_init__(self) -> None:
        rows = self.X.shape[0] if self.X.ndim == 2 else -1
        if self.fraud.shape != (rows,) or self.weight.shape != (rows,):
            raise Invalid(
                f"labelled rows must be of one length: X {self.X.shape}, fraud "
                f"{self.fraud.shape}, weight {self.weight.shape}"
            )
        if not (np.isfinite(self.weight).all() and (self.weight >= 0).all()):
            raise Invalid("weights of labelled rows must be finite and not negative")


@dataclass(frozen=True, slots=True)
class LabelledPart:
    """Boosted trees with the reference scores that put them on the ensemble's scale.

    `weight` is the share of this part in the anomaly score, 0 to 1.
    """

    booster: lightgbm.Booster
    reference: Reference
    weight: float
    compiled: Boosted = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        compiled = read_boosted(self.text(), self.booster.num_feature())
        object.__setattr__(self, "compiled", compiled)

    def raw(self, X: Floats) -> Floats:
        """Log-odds as the trees give them, the same for a row alone as in any batch."""
        return self.compiled.raw(X)

    def tail_logs(self, raw: Floats) -> Floats:
        """Tail log-probability of each score, on an exponential tail from the top 1 % on.

        Counting among n reference scores ends at log(n + 1): all of the clearest frauds would rank
        alike. Excesses over a high threshold are near exponential for tails such as those of
        log-odds (Pickands 1975, Statistical inference using extreme order statistics).
        """
        scores = self.reference.scores
        top = scores[-max(LEAST_TOP, scores.size // 100) :]
        counted = self.reference.tail_logs(raw)
        excess = float(np.mean(top - top[0]))
        if excess <= 0:
            return counted
        start = float(self.reference.tail_logs(top[:1])[0])
        return np.where(raw > top[0], start + (raw - top[0]) / excess, counted)

    def contributions(self, X: Floats) -> Floats:
        """TreeSHAP contribution (Lundberg et al. 2020) of each feature to `raw`."""
        return self.compiled.contributions(X)

    def text(self) -> str:
        """The trees as LightGBM text."""
        return str(self.booster.model_to_string())


def read_booster(text: str, width: int) -> lightgbm.Booster:
    """Trees from LightGBM text, for rows of `width` features. Raises `BundleError`."""
    try:
        booster = lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise BundleError(f"the label-trained part cannot be read: {error}") from error
    if booster.num_feature() != width:
        raise BundleError(
            f"the label-trained part takes {booster.num_feature()} features, the model {width}: "
            "train the model again"
        )
    return booster


def fit_booster(
    rows: LabelledRows, *, trees: int, depth: int, threads: int, seed: int
) -> lightgbm.Booster:
    """Train on the labelled rows; the same rows and seed give the same trees, bit for bit.

    Leaves need 20 rows, fewer while labels are few: otherwise nothing would be learnt at first.
    """
    least = int(min(20, max(2, rows.fraud.sum() // 5)))
    booster = lightgbm.train(
        {
            "objective": "binary",
            "learning_rate": 0.1,
            "max_depth": depth,
            "num_leaves": 2**depth - 1,
            "min_data_in_leaf": least,
            "lambda_l2": SHRINKAGE,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": threads,
            "seed": seed,
            "verbosity": -1,
        },
        lightgbm.Dataset(rows.X, label=rows.fraud.astype(np.float64), weight=rows.weight),
        num_boost_round=trees,
    )
    # through text, so that a fitted and a loaded model are one and the same
    return lightgbm.Booster(model_str=booster.model_to_string())


def blend_weight(frauds: int, half_at: float) -> float:
    """How far labels are trusted: n / (n + half_at), one half at `half_at` known frauds."""
    return frauds / (frauds + half_at)


def tells_apart(fraud: NDArray[np.bool_]) -> bool:
    """Whether both classes are known: without, there is nothing to tell apart."""
    return bool(fraud.any() and not fraud.all())
