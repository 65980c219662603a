"""CPU of scoring with compiled detectors beside PyOD's own, and of a whole model, in one run.

``python -m benchmarks.detectors [--rows N] [--rounds N] [--fast]``: each round calls PyOD and the
compiled detector in turn, at batches of 1, 256 and 2,000 rows. `--fast` leaves out ECOD and COPOD,
for which PyOD takes seconds a call at 100,000 training rows; these have one round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.table import Figure, Noise, aligned
from fraudwatch.detectors import registry
from fraudwatch.detectors.arrays import Floats
from fraudwatch.detectors.model import Model
from fraudwatch.detectors.training import LabelledRows, fit
from fraudwatch.features.catalogue import FeatureSpec

BATCHES = (1, 256, 2_000)
SEED = 1
ROWS, ROUNDS = 100_000, 3
SECONDS = 0.1  # of calls for one time; those that take longer are called once
COLUMNS = len(FeatureSpec().names)
INPUT = (
    f"detectors: {ROWS:,} x {COLUMNS} made-up feature rows of seed {SEED} for training, others of "
    f"seed {SEED + 1} to be scored"
)

Call = Callable[[], object]
Score = Callable[[Floats], object]


def microseconds(call: Call) -> float:
    """Median CPU of a call, over about `SECONDS`, at least one call."""
    times: list[float] = []
    end = time.process_time() + SECONDS
    while not times or time.process_time() < end:
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times) * 1e6


def in_turn(calls: Mapping[str, Call], noise: Noise, rounds: int) -> dict[str, tuple[float, ...]]:
    """CPU of each call in each round, after one that compiles."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(microseconds(call))
        noise.sample()
    return {name: tuple(found) for name, found in times.items()}


def traffic(rows: int, columns: int, seed: int) -> Floats:
    """Made-up feature rows: half skewed, half normal."""
    X = np.random.default_rng(seed).normal(size=(rows, columns))
    X[:, ::2] = np.exp(X[:, ::2])
    return X


def batches(
    name: str, ours: Score, theirs: Score, queries: Floats, noise: Noise, rounds: int
) -> list[Figure]:
    """How many times as long PyOD (or another library) takes, at each size of batch."""
    found = []
    for size in BATCHES:
        X = queries[:size]
        calls: dict[str, Call] = {"ours": lambda X=X: ours(X), "theirs": lambda X=X: theirs(X)}  # type: ignore[misc]
        times = in_turn(calls, noise, rounds)
        found.append(
            Figure(
                f"{name}, batch of {size:,}",
                tuple(b / a for a, b in zip(times["ours"], times["theirs"], strict=True)),
                "x",
                None,
                beside=f"{statistics.median(times['theirs']) / size:,.2f} us / "
                f"{statistics.median(times['ours']) / size:,.2f} us a row",
            )
        )
        print(f"{found[-1].measure}: {found[-1].beside}", flush=True)
    return found


def measure(
    noise: Noise, rows: int = ROWS, rounds: int = ROUNDS, fast: bool = False
) -> list[Figure]:
    """Each detector of the registry, then a whole model without and with labels."""
    X, queries = traffic(rows, COLUMNS, SEED), traffic(max(BATCHES), COLUMNS, SEED + 1)
    figures: list[Figure] = []
    fitted: dict[str, Any] = {}
    fitting: dict[str, float] = {}
    for detector in registry.DETECTORS.values():
        if detector.companions and fast:
            continue
        began = time.process_time()
        fitted[detector.name] = registry.fit(detector, X[: detector.most_rows], SEED)
        fitting[detector.name] = time.process_time() - began
        figures += batches(
            f"PyOD / compiled {detector.name}",
            detector.compile(fitted[detector.name]).score,
            fitted[detector.name].decision_function,
            queries,
            noise,
            1 if detector.companions else rounds,  # PyOD takes seconds for each call of these
        )
    return figures + models(X, queries, fitted, fitting, noise, rounds)


def models(
    X: Floats,
    queries: Floats,
    fitted: Mapping[str, Any],
    fitting: Mapping[str, float],
    noise: Noise,
    rounds: int,
) -> list[Figure]:
    """A model of the default detectors, and one with a part that learns from labels."""
    spec, calibration = FeatureSpec(), traffic(50_000, COLUMNS, SEED + 2)
    began = time.process_time()
    model = fit(X, calibration, spec, seed=SEED)
    took = time.process_time() - began
    own = sum(fitting[name] for name in model.parts)
    names = " + ".join(model.parts)
    fraud = np.random.default_rng(SEED).random(len(queries)) < 0.1
    labels = LabelledRows(queries, fraud, np.ones(len(queries)))
    learnt = fit(X, calibration, spec, seed=SEED, labels=labels)
    booster = learnt.labelled.booster if learnt.labelled else None
    if booster is None:
        raise RuntimeError("a model with labels has no part that learnt from them")

    def theirs(rows: Floats) -> None:
        for name in model.parts:
            fitted[name].decision_function(rows)

    def theirs_and_labels(rows: Floats) -> None:
        theirs(rows)
        booster.predict(rows, num_threads=1)

    figures = batches(f"PyOD's {names} / whole model", model.score, theirs, queries, noise, rounds)
    figures += batches(
        f"PyOD's {names} and LightGBM / whole model with labels",
        learnt.score,
        theirs_and_labels,
        queries,
        noise,
        rounds,
    )
    figures.append(reasons(learnt, queries[:1], noise, rounds))
    beside = f"{took:.1f} s / {own:.1f} s with PyOD"
    figures.append(
        Figure(
            "fitting a whole model / its detectors alone", (took / own,), "x", None, True, beside
        )
    )
    return figures


def reasons(model: Model, row: Floats, noise: Noise, rounds: int) -> Figure:
    """What an alert's reasons take against its score."""
    unknown = np.full(row.shape, np.nan)
    calls: dict[str, Call] = {
        "reasons": lambda: model.reasons(row, unknown, unknown),
        "score": lambda: model.score(row),
    }
    times = in_turn(calls, noise, rounds)
    return Figure(
        "reasons / score of one row, with labels",
        tuple(a / b for a, b in zip(times["reasons"], times["score"], strict=True)),
        "x",
        None,
        beside=" / ".join(f"{statistics.median(found):.0f} us" for found in times.values()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="training rows")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--fast", action="store_true", help="leave out ECOD and COPOD")
    print(aligned(measure(Noise(), **vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
