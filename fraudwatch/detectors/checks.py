"""What every registered detector must hold: `checks(detector)` yields them by name.

A detector that fails one cannot be used: a decision must be the same alone and in any batch, now
and when it is recomputed from the ledger.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import lightgbm
import numpy as np

from fraudwatch.detectors import registry
from fraudwatch.detectors.arrays import Floats
from fraudwatch.detectors.compiled import KINDS, Compiled
from fraudwatch.detectors.registry import Detector
from fraudwatch.errors import BundleError, ConfigurationError, FraudwatchError, Invalid

Check = Callable[[], None]

SEED = 7
COLUMNS = 8
CLOSE = 1e-9
# A training row that is the least of its projection meets the edge of a bin to the last bit, and
# falls on either side of it by the order of a sum: PyOD does not agree with itself on such rows.
EDGE_ROWS = 0.05


class CheckFailed(FraudwatchError):
    """A detector does not keep a promise; the message says which and by how much."""

    code = "check-failed"


def training_rows(seed: int = SEED, rows: int = 600) -> Floats:
    """Made-up traffic: normal, skewed, whole-number, bounded and related columns, duplicates."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, COLUMNS))
    X[:, 1] = np.exp(X[:, 1])
    X[:, 2] = rng.poisson(2.0, size=rows)
    X[:, 3] = rng.integers(0, 2, size=rows)
    X[:, 4] = X[:, 0] * 0.9 + X[:, 4] * 0.1
    X[: rows // 10] = X[rows // 10 : 2 * (rows // 10)]
    return X


def query_rows(rows: int = 1000) -> Floats:
    """Rows to score: half like the training rows, some of them the very same, half stranger."""
    X = training_rows(SEED + 1, rows)
    X[: rows // 4] = training_rows()[: rows // 4]
    X[rows // 2 :] *= np.random.default_rng(SEED + 2).lognormal(1.0, 1.0, (rows - rows // 2, 1))
    return X


def require_equal(detector: Detector, fitted: Any, compiled: Compiled, X: Floats) -> None:
    """Raise `CheckFailed` unless the compiled scores are PyOD's, but for the last bits."""
    found, wanted = compiled.score(X), registry.oracle(detector, fitted, X)
    gap = np.abs(found - wanted) / np.maximum(np.abs(wanted), 1e-12)
    far = gap > CLOSE
    allowed = EDGE_ROWS if detector.has_edges else 0.0
    if not np.isfinite(found).all() or far.mean() > allowed:
        raise CheckFailed(
            f"{detector.name}: {far.sum()} of {len(X)} scores differ from PyOD's, the worst by "
            f"{gap.max():.3g} of its value"
        )


def require_same_trees(booster: lightgbm.Booster, scores: Floats, X: Floats) -> None:
    """Raise `CheckFailed` unless the compiled trees' scores are LightGBM's to the last bit."""
    wanted = np.asarray(booster.predict(X, raw_score=True, num_threads=1)).reshape(-1)
    if not np.array_equal(scores, wanted):
        raise CheckFailed(f"{(scores != wanted).sum()} of {len(X)} scores differ from LightGBM's")


def checks(detector: Detector) -> Iterator[tuple[str, Check]]:
    """All checks of a detector as (name, function that raises `CheckFailed`)."""
    X, Q = training_rows(), query_rows()
    fitted = registry.fit(detector, X, SEED)
    compiled = detector.compile(fitted)

    def require(held: object, what: str) -> None:
        if not held:
            raise CheckFailed(f"{detector.name}: {what}")

    def equal_to_pyod() -> None:
        require_equal(detector, fitted, compiled, Q)

    def finds_the_strange() -> None:
        usual, strange = compiled.score(Q[:500]), compiled.score(Q[500:])
        require(np.median(strange) > np.median(usual), "strange rows do not score higher")

    def deterministic() -> None:
        again = detector.compile(registry.fit(detector, X, SEED))
        for name, array in compiled.arrays().items():
            require(
                array.tobytes() == again.arrays()[name].tobytes(), f"{name} differs on a second fit"
            )

    def batch_invariant() -> None:
        whole = compiled.score(Q)
        alone = np.concatenate([compiled.score(Q[i : i + 1]) for i in range(len(Q))])
        require((whole == alone).all(), "a row alone scores differently than in a batch")
        for size in (3, 64, 65, 333):
            cut = np.concatenate([compiled.score(Q[i : i + size]) for i in range(0, len(Q), size)])
            require((whole == cut).all(), f"batches of {size} score differently")

    def order_invariant() -> None:
        order = np.random.default_rng(SEED).permutation(len(Q))
        require((compiled.score(Q)[order] == compiled.score(Q[order])).all(), "order matters")

    def companions_do_not_matter() -> None:
        strange = np.repeat(Q[-1:] * 10, 2000, axis=0)
        require(
            (compiled.score(strange) == compiled.score(Q[-1:] * 10)).all(),
            "a row hides behind copies of itself",
        )

    def persists() -> None:
        require(compiled.kind == detector.name, "bundles would not find its scorer by its name")
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **compiled.arrays())
        buffer.seek(0)
        with np.load(buffer, allow_pickle=False) as stored:
            back = KINDS[compiled.kind].from_arrays(dict(stored))
        require((back.score(Q) == compiled.score(Q)).all(), "scores differ after a round trip")

    def refuses_damaged_arrays() -> None:
        arrays = compiled.arrays()
        for name in arrays:
            rest = {key: value for key, value in arrays.items() if key != name}
            _must_raise(BundleError, detector, KINDS[compiled.kind].from_arrays, rest)

    def refuses_nan_and_inf() -> None:
        for bad in (np.nan, np.inf, -np.inf):
            row = Q[:2].copy()
            row[1, 3] = bad
            _must_raise(Invalid, detector, compiled.score, row)
            tainted = X.copy()
            tainted[5, 2] = bad
            _must_raise(ConfigurationError, detector, registry.fit, detector, tainted, SEED)

    def refuses_wrong_width() -> None:
        for wrong in (Q[:, :-1], np.hstack([Q, Q[:, :1]]), Q[0]):
            _must_raise(Invalid, detector, compiled.score, wrong)

    def takes_no_rows() -> None:
        require(compiled.score(Q[:0]).shape == (0,), "no rows do not give no scores")

    def survives_constant_columns() -> None:
        flat = X.copy()
        flat[:, 5] = 7.0
        other = Q.copy()
        other[:500, 5] = 7.0
        refit = registry.fit(detector, flat, SEED)
        require_equal(detector, refit, detector.compile(refit), other[:200])

    def survives_duplicates() -> None:
        same = np.repeat(X[:60], 10, axis=0)
        refit = registry.fit(detector, same, SEED)
        require_equal(detector, refit, detector.compile(refit), Q[:200])

    def takes_extreme_values() -> None:
        row = Q[:1].copy()
        row[0, 0], row[0, 1] = 1e12, -1e12
        require(np.isfinite(compiled.score(row)).all(), "a huge value has no finite score")

    for check in (
        equal_to_pyod,
        finds_the_strange,
        deterministic,
        batch_invariant,
        order_invariant,
        companions_do_not_matter,
        persists,
        refuses_damaged_arrays,
        refuses_nan_and_inf,
        refuses_wrong_width,
        takes_no_rows,
        survives_constant_columns,
        survives_duplicates,
        takes_extreme_values,
    ):
        yield check.__name__, check


def _must_raise(
    error: type[Exception], detector: Detector, call: Callable[..., object], *arguments: object
) -> None:
    try:
        call(*arguments)
    except error:
        return
    raise CheckFailed(f"{detector.name}: bad input was taken without {error.__name__}")
