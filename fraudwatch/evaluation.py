"""`fraudwatch evaluate`: how good detection and learning are on recorded transactions.

Everything but the counting is the product's own code: mapping, features, detectors, calibration,
training sets. The protocols and the choices in them are described in docs/evaluation.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraudwatch.detectors.model import Model
from fraudwatch.detectors.training import DEFAULT, Progress, TrainingConfig
from fraudwatch.errors import ConfigurationError, Invalid
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import Columns, from_frame, hash_ids
from fraudwatch.features.offline import compute_features
from fraudwatch.history import (
    DAY,
    FRAUD,
    LEGITIMATE,
    UNKNOWN,
    History,
    delayed_truth,
    numeric_attributes,
)
from fraudwatch.learning import train
from fraudwatch.oversight import metrics
from fraudwatch.training_set import Plan

EPOCH_DAY = date(1970, 1, 1)
THRESHOLD = 0.99
DRAWS = 500

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A file of labelled transactions, in canonical order. `day`: days since 1970, UTC."""

    source: str
    frame: pd.DataFrame
    spec: FeatureSpec
    columns: Columns
    transaction: NDArray[np.uint64]
    fraud: NDArray[np.bool_]
    day: Integers

    def __len__(self) -> int:
        return len(self.day)


def record(frame: pd.DataFrame, source: str) -> Recorded:
    """Prepare a canonical frame with `label`. Its numeric attributes become features.

    Raises `ConfigurationError` without labels.
    """
    if "label" not in frame:
        raise ConfigurationError(
            f"{source}: evaluation needs the truth: name the label's column under [label] in the "
            "mapping"
        )
    spec = FeatureSpec(attributes=numeric_attributes(frame))
    columns = from_frame(frame, spec)
    return Recorded(
        source=source,
        frame=frame,
        spec=spec,
        columns=columns,
        transaction=hash_ids(frame["transaction_id"]),
        fraud=frame["label"].to_numpy(dtype=np.bool_),
        day=columns.time_us // DAY,
    )


@dataclass(frozen=True, slots=True)
class WeeklyOptions:
    """What a model is worth: rounds of training, delay and test days.

    `labels`: `none` fits without labels, `all` with every label of the training window. `k`: how
    many accounts are looked at a day. `threshold`: the risk whose promise is checked.
    """

    labels: str = "none"
    start: date = date(2018, 5, 9)
    train_days: int = 7
    delay_days: int = 7
    test_days: int = 7
    step_days: int = 14
    rounds: int = 8
    k: int = 100
    threshold: float = THRESHOLD
    seed: int = 1
    config: TrainingConfig = DEFAULT

    def __post_init__(self) -> None:
        if self.labels not in ("none", "all"):
            raise Invalid("--labels must be none or all")
        if min(self.train_days, self.test_days, self.step_days, self.rounds, self.k) < 1:
            raise Invalid("days, rounds and k must be 1 or more")
        if self.delay_days < 0 or not 0 < self.threshold < 1:
            raise Invalid("the delay must be 0 or more, the threshold between 0 and 1")


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Test transactions of one part, scored: parallel columns. `rank` orders them; unscored rows
    are infinite, for they go to people."""

    fraud: NDArray[np.bool_]
    rank: Floats
    risk: Floats
    account: NDArray[np.uint64]
    day: Integers


def score(model: Model, features: Floats) -> tuple[Floats, Floats]:
    """Anomaly and risk, as the worker uses them: what cannot be scored ranks first."""
    scores = model.score(features)
    return np.where(np.isnan(scores.anomaly), np.inf, scores.anomaly), scores.risk


def evaluate_weekly(
    recorded: Recorded, options: WeeklyOptions, progress: Progress | None = None
) -> dict[str, Any]:
    """Run the rounds; see docs/evaluation.md for the result."""
    tell = progress or (lambda _stage, _share: None)
    began = time.perf_counter()
    features = delayed_features(recorded, options.delay_days, tell)
    parts = []
    for number in range(options.rounds):
        tell(f"round {number + 1} of {options.rounds}", number / options.rounds)
        parts.append(_round(recorded, features, options, number))
    return result(
        {"protocol": "weekly", "labels": options.labels},
        recorded,
        parts,
        headline=range(len(parts)),
        k=options.k,
        threshold=options.threshold,
        seed=options.seed,
        seconds=time.perf_counter() - began,
    )


def delayed_features(
    recorded: Recorded, delay_days: int, tell: Callable[[str, float], None]
) -> Floats:
    """Features of every transaction, with every fraud known `delay_days` after it happened."""
    rows = max(1, len(recorded))
    batch = compute_features(
        recorded.frame,
        recorded.spec,
        known_frauds=delayed_truth(recorded.frame, delay_days),
        progress=lambda done: tell("computing features", done / rows),
    )
    return batch.values


def _round(recorded: Recorded, features: Floats, options: WeeklyOptions, number: int) -> Scored:
    first = day_number(options.start) + number * options.step_days
    trained = first + options.train_days
    tested = trained + options.delay_days
    window = np.flatnonzero((recorded.day >= first) & (recorded.day < trained))
    rows = np.flatnonzero((recorded.day >= tested) & (recorded.day < tested + options.test_days))
    if not len(window) or not len(rows):
        raise ConfigurationError(
            f"{recorded.source}: no transactions in round {number + 1} (training from "
            f"{day_date(first)}, test from {day_date(tested)}): choose --start and --rounds to fit"
        )
    rows = rows[~known_victims(recorded, rows, first, options.delay_days)]
    fraud = np.full(len(window), UNKNOWN, dtype=np.int8)
    if options.labels == "all":
        fraud = np.where(recorded.fraud[window], FRAUD, LEGITIMATE).astype(np.int8)
    nothing = np.zeros(len(window), dtype=np.bool_)
    history = History(
        spec=recorded.spec,
        features=features[window],
        time_us=recorded.columns.time_us[window],
        account=recorded.columns.account[window],
        transaction=recorded.transaction[window],
        fraud=fraud,
        flagged=nothing,
        sampled=nothing,
        open=nothing,
        matured=nothing,
    )
    model = train(
        history,
        seed=options.seed,
        plan=Plan(calibration_days=options.train_days),
        config=options.config,
    )
    rank, risk = score(model, features[rows])
    return Scored(
        recorded.fraud[rows], rank, risk, recorded.columns.account[rows], recorded.day[rows]
    )


def known_victims(
    recorded: Recorded, rows: Integers, first: int, delay_days: int
) -> NDArray[np.bool_]:
    """Rows of accounts with a fraud from day `first` on that was known before the row's day."""
    accounts, place = np.unique(recorded.columns.account, return_inverse=True)
    never = np.iinfo(np.int64).max
    earliest = np.full(len(accounts), never)
    frauds = recorded.fraud & (recorded.day >= first)
    np.minimum.at(earliest, place[frauds], recorded.day[frauds])
    return np.asarray(earliest[place[rows]] < recorded.day[rows] - delay_days, dtype=np.bool_)


def result(
    head: dict[str, Any],
    recorded: Recorded,
    parts: Sequence[Scored],
    *,
    headline: Sequence[int],
    k: int,
    threshold: float,
    seed: int,
    seconds: float,
    more: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The result as docs/evaluation.md describes it: figures of each part, and the means of the
    `headline` parts with bootstrap intervals over days."""
    rankings = [metrics.rank(part.fraud, part.rank, part.day) for part in parts]
    cards = [metrics.card_days(part.fraud, part.rank, part.account, part.day, k) for part in parts]
    alarms = [metrics.false_alarms(part.fraud, part.risk, part.day, threshold) for part in parts]
    figures = [ranking.figures() for ranking in rankings]
    chosen = list(headline)
    days = [rankings[part].days for part in chosen]

    def interval(figure: Callable[[int, Floats], float]) -> list[float]:
        def mean(weights: Sequence[Floats]) -> float:
            pairs = zip(chosen, weights, strict=True)
            return _mean([figure(part, weight) for part, weight in pairs])

        return list(metrics.interval(days, mean, seed=seed, draws=DRAWS))

    low, high = interval(lambda part, weight: alarms[part].share(weight))
    found = {
        **head,
        "data": recorded.source,
        "rows": len(recorded),
        "seconds": round(seconds, 1),
        "auc": _mean([figures[part][0] for part in chosen]),
        "average_precision": _mean([figures[part][1] for part in chosen]),
        "card_precision": {
            "k": k,
            "value": _mean([float(cards[part].precision.mean()) for part in chosen]),
            "ceiling": _mean([float(cards[part].ceiling.mean()) for part in chosen]),
        },
        "false_alarm": {
            "promised": round(1 - threshold, 12),
            "found": _mean([alarms[part].share() for part in chosen]),
            "low": low,
            "high": high,
        },
        "intervals": {
            "auc": interval(lambda part, weight: rankings[part].figures(weight)[0]),
            "average_precision": interval(lambda part, weight: rankings[part].figures(weight)[1]),
            "card_precision": interval(
                lambda part, weight: float(weight @ cards[part].precision / weight.sum())
            ),
        },
        "parts": [
            {
                "from": day_date(int(part.day.min())).isoformat(),
                "to": day_date(int(part.day.max())).isoformat(),
                "auc": auc,
                "average_precision": precision,
                "card_precision": float(card.precision.mean()),
                **own,
            }
            for part, (auc, precision), card, own in zip(
                parts, figures, cards, more or [{}] * len(parts), strict=True
            )
        ],
    }
    return {name: _json(item) for name, item in found.items()}


def _mean(values: Sequence[float]) -> float:
    """Mean of the figures there are; NaN without any."""
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


def _json(found: Any) -> Any:
    """The same for JSON, which has no NaN: None where there is no figure."""
    if isinstance(found, dict):
        return {name: _json(item) for name, item in found.items()}
    if isinstance(found, list):
        return [_json(item) for item in found]
    return metrics.or_none(found) if isinstance(found, float) else found


def day_number(day: date) -> int:
    """Days since 1970."""
    return (day - EPOCH_DAY).days


def day_date(number: int) -> date:
    """The inverse of `day_number`."""
    return EPOCH_DAY + timedelta(days=number)
