"""Scoring time of compiled detectors beside PyOD's own, and of a whole model, in one run.

Run `python -m benchmarks.detectors [--rows N] [--slow]`. Times are medians on this machine in this
run; compare the ratios, not the milliseconds. `--slow` adds ECOD and COPOD, whose PyOD scores take
about a second each at 100,000 training rows.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from fraudwatch.detectors import registry
from fraudwatch.detectors.training import LabelledRows, fit
from fraudwatch.features.catalogue import FeatureSpec

BATCHES = (1, 256, 1000)
SEED = 1


def median_ms(call: Callable[[], object], seconds: float = 0.5) -> float:
    """Median time of a call in milliseconds, over about `seconds`, at least three calls."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def traffic(rows: int, columns: int, seed: int) -> np.ndarray:
    """Made-up feature rows: half skewed, half normal."""
    X = np.random.default_rng(seed).normal(size=(rows, columns))
    X[:, ::2] = np.exp(X[:, ::2])
    return X


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="training rows")
    parser.add_argument("--slow", action="store_true", help="also ECOD and COPOD")
    arguments = parser.parse_args()
    spec = FeatureSpec()
    columns = len(spec.names)
    X, queries = traffic(arguments.rows, columns, SEED), traffic(max(BATCHES), columns, SEED + 1)
    print(f"{arguments.rows} x {columns} training rows; ms a call, PyOD -> compiled (ratio)\n")
    heads = "".join(f"{f'{batch} rows':>28}" for batch in BATCHES)
    print(f"{'detector':10}{'fit s':>8}{heads}")
    for detector in registry.DETECTORS.values():
        if detector.companions and not arguments.slow:
            continue
        start = time.perf_counter()
        fitted = registry.fit(detector, X[: detector.most_rows], SEED)
        took = time.perf_counter() - start
        compiled = detector.compile(fitted)
        line = f"{detector.name:10}{took:8.1f}"
        for batch in BATCHES:
            rows = queries[:batch]
            theirs = median_ms(lambda rows=rows, f=fitted: f.decision_function(rows))  # type: ignore[misc]
            ours = median_ms(lambda rows=rows, c=compiled: c.score(rows))  # type: ignore[misc]
            line += f"{f'{theirs:.2f} -> {ours:.3f} ({theirs / ours:.0f}x)':>28}"
        print(line, flush=True)
    labels = LabelledRows(
        queries, np.random.default_rng(SEED).random(len(queries)) < 0.1, np.ones(len(queries))
    )
    start = time.perf_counter()
    model = fit(X, traffic(50_000, columns, SEED + 2), spec, seed=SEED, labels=labels)
    print(f"\nwhole model with label part: fitted in {time.perf_counter() - start:.1f} s")
    for batch in BATCHES:
        took = median_ms(lambda batch=batch: model.score(queries[:batch]))  # type: ignore[misc]
        print(f"{batch:>6} rows: {took:.3f} ms, {batch / took * 1000:,.0f} rows/s")
    unknown = np.full((1, columns), np.nan)
    print(
        f"reasons: {median_ms(lambda: model.reasons(queries[:1], unknown, unknown)):.2f} ms a row"
    )


if __name__ == "__main__":
    main()
