"""PyOD detectors worth having: what each finds, what it costs, how it is fitted and compiled.

Only training and checks import this module: PyOD takes seconds to import, serving needs none of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyod.models.cblof import CBLOF
from pyod.models.copod import COPOD
from pyod.models.ecod import ECOD
from pyod.models.hbos import HBOS
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from pyod.models.loda import LODA
from pyod.models.pca import PCA
from threadpoolctl import threadpool_limits

from fraudwatch.detectors.arrays import Floats, Integers, Singles, scalar, whole
from fraudwatch.detectors.compiled import (
    Clusters,
    Compiled,
    Components,
    CopulaTails,
    Forest,
    Histograms,
    Neighbours,
    Projections,
    Tails,
)
from fraudwatch.errors import ConfigurationError

TREES, TREE_ROWS = 300, 1024
CUTS, CUT_BINS = 500, 10
BINS = 50
NEIGHBOURS = 5
CLUSTERS = 8
# Components that explain less than this share of variance are rounding noise: their weight, one
# over the share, would drown all others.
LEAST_SHARE = 1e-6


@dataclass(frozen=True, slots=True)
class Card:
    """What to know before choosing a detector."""

    finds: str
    cost: str
    limits: str


@dataclass(frozen=True, slots=True)
class Detector:
    """A registered PyOD detector.

    `fit(X, seed)` returns the fitted PyOD object, `compile` turns that into flat arrays.
    `companions`: PyOD's score depends on the other rows sent along, so PyOD as the oracle must be
    asked one row at a time. `has_edges`: the score jumps where a computed value meets the edge of
    a bin, so the last bit of a sum can show. `most_rows` bounds the training rows that make sense.
    """

    name: str
    card: Card
    fit: Callable[[Floats, int], Any]
    compile: Callable[[Any], Compiled]
    companions: bool = False
    has_edges: bool = False
    most_rows: int = 100_000


def fit(detector: Detector, X: Floats, seed: int) -> Any:
    """Fit with PyOD on one thread, so that the result does not depend on the machine's cores.

    Raises `ConfigurationError` where PyOD cannot fit on these rows.
    """
    if X.ndim != 2 or X.shape[0] < 2 or X.shape[1] < 1:
        raise ConfigurationError(
            f"{detector.name} needs a matrix of at least two rows and one column, got {X.shape}"
        )
    if not np.isfinite(X).all():
        raise ConfigurationError(f"{detector.name} cannot be trained on NaN or inf")
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # scipy warns about the skewness of constant columns; the score handles them
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        try:
            return detector.fit(X, seed)
        except ValueError as error:
            raise ConfigurationError(
                f"{detector.name} cannot be trained on these rows: {error}"
            ) from error


def oracle(detector: Detector, fitted: Any, X: Floats) -> Floats:
    """PyOD's own scores of the rows, each as if sent alone."""
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        if detector.companions:
            rows = [fitted.decision_function(X[i : i + 1])[0] for i in range(len(X))]
            return np.array(rows, dtype=np.float64)
        return np.asarray(fitted.decision_function(X), dtype=np.float64)


def _fit_iforest(X: Floats, seed: int) -> Any:
    rows = min(TREE_ROWS, len(X))
    return IForest(n_estimators=TREES, max_samples=rows, random_state=seed).fit(X)


def _compile_iforest(fitted: Any) -> Forest:
    forest = fitted.detector_
    feature: list[Integers] = []
    threshold: list[Singles] = []
    child: list[Integers] = []
    depth: list[Floats] = []
    roots: list[int] = []
    levels: list[int] = []
    start = 0
    for number, estimator in enumerate(forest.estimators_):
        tree = estimator.tree_
        order, new_child = _breadth_first(tree.children_left, tree.children_right)
        leaf = tree.children_left[order] < 0
        feature.append(np.where(leaf, 0, tree.feature[order]).astype(np.int32))
        cut = _float32_below(tree.threshold[order])
        threshold.append(np.where(leaf, np.float32(np.inf), cut).astype(np.float32))
        child.append((new_child + start).astype(np.int32))
        path = forest._decision_path_lengths[number] + forest._average_path_length_per_tree[number]  # noqa: SLF001
        depth.append(np.where(leaf, path[order] - 1.0, 0.0))
        roots.append(start)
        levels.append(int(tree.max_depth))
        start += len(order)
    rows = int(fitted.max_samples_)
    return Forest(
        feature=np.concatenate(feature),
        threshold=np.concatenate(threshold),
        child=np.concatenate(child),
        depth=np.concatenate(depth),
        roots=np.array(roots, dtype=np.int32),
        levels=np.array(levels, dtype=np.int32),
        denominator=scalar(len(roots) * _average_path(rows)),
        offset=scalar(float(fitted.offset_)),
        columns=whole(int(fitted.n_features_in_)),
    )


def _breadth_first(left: Any, right: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Old node numbers in breadth-first order with siblings adjacent, and each one's left child."""
    order = [0]
    child: list[int] = []
    for place, node in enumerate(order):  # grows while it is walked
        if left[node] < 0:
            child.append(place)
        else:
            child.append(len(order))
            order += [int(left[node]), int(right[node])]
    return np.array(order), np.array(child)


def _float32_below(values: Floats) -> Singles:
    """The largest float32 not above each value."""
    cut = values.astype(np.float32)
    return np.where(cut > values, np.nextafter(cut, np.float32(-np.inf)), cut).astype(np.float32)


def _average_path(rows: int) -> float:
    """Mean path length of an unsuccessful search among `rows` (Liu, Ting, Zhou 2008, eq. 1)."""
    if rows <= 2:
        return float(rows == 2)
    return float(2.0 * (np.log(rows - 1.0) + np.euler_gamma) - 2.0 * (rows - 1.0) / rows)


def _fit_pca(X: Floats, seed: int) -> Any:
    spread = X.std(axis=0)
    scaled = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    variances = np.linalg.eigvalsh(scaled.T @ scaled)
    kept = max(1, int((variances > LEAST_SHARE * variances.sum()).sum()))
    kept = min(kept, *X.shape)
    return PCA(n_components=kept, svd_solver="full", random_state=seed).fit(X)


def _compile_pca(fitted: Any) -> Components:
    return Components(
        centre=fitted.scaler_.mean_.copy(),
        scale=fitted.scaler_.scale_.copy(),
        components=np.ascontiguousarray(fitted.selected_components_.T),
        shares=np.ascontiguousarray(fitted.selected_w_components_),
    )


def _fit_loda(X: Floats, seed: int) -> Any:
    return LODA(n_bins=CUT_BINS, n_random_cuts=CUTS, random_state=seed).fit(X)


def _compile_loda(fitted: Any) -> Projections:
    cuts = fitted.projections_
    count = int(np.count_nonzero(cuts, axis=1).max())
    terms = np.sort(np.argsort(cuts == 0, axis=1, kind="stable")[:, :count], axis=1)
    bins = fitted.histograms_.shape[1]
    # divided twice by the number of cuts, as PyOD does
    surprise = -np.log(fitted.histograms_) / len(cuts) / len(cuts)
    return Projections(
        terms=terms.astype(np.int32),
        weights=np.take_along_axis(cuts, terms, axis=1),
        limits=np.ascontiguousarray(fitted.limits_[:, : bins - 1]),
        surprise=surprise,
        columns=whole(cuts.shape[1]),
    )


def _fit_hbos(X: Floats, seed: int) -> Any:  # noqa: ARG001 - nothing random in it
    return HBOS(n_bins=BINS).fit(X)


def _compile_hbos(fitted: Any) -> Histograms:
    heights = np.log2(fitted.hist_.T + fitted.alpha)
    return Histograms(
        edges=np.ascontiguousarray(fitted.bin_edges_.T),
        heights=np.ascontiguousarray(heights),
        rarest=heights.min(axis=1),
        slack=scalar(fitted.tol),
    )


def _fit_ecod(X: Floats, seed: int) -> Any:  # noqa: ARG001
    return ECOD().fit(X)


def _fit_copod(X: Floats, seed: int) -> Any:  # noqa: ARG001
    return COPOD().fit(X)


def _compile_ecod(fitted: Any) -> Tails:
    return Tails(*_moments(fitted.X_train))


def _compile_copod(fitted: Any) -> CopulaTails:
    return CopulaTails(*_moments(fitted.X_train))


def _moments(X: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    gaps = X - X.mean(axis=0)
    return (
        np.ascontiguousarray(np.sort(X, axis=0).T),
        X.mean(axis=0),
        (gaps**2).sum(axis=0),
        (gaps**3).sum(axis=0),
    )


def _fit_cblof(X: Floats, seed: int) -> Any:
    return CBLOF(n_clusters=CLUSTERS, random_state=seed).fit(X)


def _compile_cblof(fitted: Any) -> Clusters:
    centres = np.ascontiguousarray(fitted.cluster_centers_, dtype=np.float64)
    large = np.zeros(len(centres), dtype=np.bool_)
    large[fitted.large_cluster_labels_] = True
    return Clusters(centres=centres, large=large)


def _fit_knn(X: Floats, seed: int) -> Any:  # noqa: ARG001
    return KNN(n_neighbors=NEIGHBOURS).fit(X)


def _compile_knn(fitted: Any) -> Neighbours:
    rows = np.ascontiguousarray(fitted.neigh_._fit_X, dtype=np.float64)  # noqa: SLF001
    return Neighbours(rows=rows, k=whole(NEIGHBOURS))


DETECTORS: dict[str, Detector] = {
    detector.name: detector
    for detector in (
        Detector(
            "iforest",
            Card(
                finds="rows that few random splits set apart: odd combinations of a few features",
                cost="about 2 us a row in batches, 30 alone, for 300 trees; fits in seconds",
                limits="blind to differences within the range of a single dense cluster",
            ),
            _fit_iforest,
            _compile_iforest,
        ),
        Detector(
            "pca",
            Card(
                finds="rows far from the centre along directions in which traffic hardly varies: "
                "broken relations between features",
                cost="about 1 us a row; fits in a second",
                limits="linear; one wild value in training widens everything, so values are "
                "standardised and held within bounds first",
            ),
            _fit_pca,
            _compile_pca,
        ),
        Detector(
            "loda",
            Card(
                finds="rows in thin bins of many random projections of a few features each",
                cost="about 10 us a row for 500 cuts; fits in seconds",
                limits="equal-width bins: a long tail in training coarsens them",
            ),
            _fit_loda,
            _compile_loda,
            has_edges=True,
        ),
        Detector(
            "hbos",
            Card(
                finds="rare values of single features",
                cost="about 2 us a row; fits in a second",
                limits="sees no combinations; equal-width bins",
            ),
            _fit_hbos,
            _compile_hbos,
        ),
        Detector(
            "ecod",
            Card(
                finds="extreme values of single features, in either tail",
                cost="about 10 us a row; keeps every training value",
                limits="sees no combinations; a common value at the edge of a feature weighs as "
                "much as a rare one in the middle weighs nothing",
            ),
            _fit_ecod,
            _compile_ecod,
            companions=True,
        ),
        Detector(
            "copod",
            Card(
                finds="extreme values of single features, milder than ECOD on one-sided tails",
                cost="about 10 us a row; keeps every training value",
                limits="sees no combinations",
            ),
            _fit_copod,
            _compile_copod,
            companions=True,
        ),
        Detector(
            "cblof",
            Card(
                finds="rows far from every large cluster of traffic",
                cost="under 1 us a row; fits in a second",
                limits="depends on the number of clusters; cannot be fitted where traffic does "
                "not split into clusters, e.g. many equal rows",
            ),
            _fit_cblof,
            _compile_cblof,
        ),
        Detector(
            "knn",
            Card(
                finds="rows with few like them, whatever the shape of the traffic",
                cost="grows with the training rows: about 0.3 ms a row at 5,000",
                limits="too slow for more rows than that; features without meaning dilute it",
            ),
            _fit_knn,
            _compile_knn,
            most_rows=5_000,
        ),
    )
}
