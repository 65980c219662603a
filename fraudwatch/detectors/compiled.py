"""Fitted detectors as flat arrays with a `score`: what serves, and what a bundle stores.

Each scorer gives the score of its PyOD detector (see `registry.py`) without PyOD, the same for a
row alone as in any batch, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fraudwatch.detectors import kernels, tree_kernels
from fraudwatch.detectors.arrays import (
    Flags,
    Flat,
    Floats,
    Integers,
    Layout,
    Singles,
    require_range,
    require_sorted,
)
from fraudwatch.detectors.trees import Trees, lay_out, node_levels, require_trees
from fraudwatch.errors import BundleError, Invalid


@dataclass(frozen=True, slots=True)
class Compiled(Flat):
    """A fitted detector, ready to score. Subclasses name their `kind` and compute `_scores`."""

    kind: ClassVar[str] = ""

    @property
    def width(self) -> int:
        """Number of columns it was fitted on."""
        raise NotImplementedError

    def score(self, X: NDArray[np.floating]) -> Floats:
        """Anomaly score of each row, higher is stranger.

        Raises `Invalid` unless X is a matrix of finite values with `width` columns.
        """
        rows: Floats = np.ascontiguousarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise Invalid(f"expected a matrix with {self.width} columns, got shape {rows.shape}")
        if not np.isfinite(rows).all():
            raise Invalid("a detector scores finite values only: fill or leave out NaN and inf")
        return self._scores(rows)

    def _scores(self, X: Floats) -> Floats:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Forest(Compiled):
    """Isolation forest. Nodes of all trees in one table; siblings are neighbours.

    scikit-learn compares float32 values with float64 thresholds; here each threshold is the
    largest float32 not above it, which gives the same answer for every float32 value.
    """

    feature: Integers
    threshold: Singles  # +inf of a leaf
    child: Integers  # of the left child; the right one follows. A leaf names itself
    depth: Floats  # path length of a leaf with its correction for rows left together
    roots: Integers
    levels: Integers  # depth of each tree
    denominator: Floats
    offset: Floats
    columns: Integers
    trees: Trees = field(init=False, repr=False, compare=False)

    kind: ClassVar[str] = "iforest"
    layout: ClassVar[Layout] = {
        "feature": (np.int32, ("nodes",)),
        "threshold": (np.float32, ("nodes",)),
        "child": (np.int32, ("nodes",)),
        "depth": (np.float64, ("nodes",)),
        "roots": (np.int32, ("trees",)),
        "levels": (np.int32, ("trees",)),
        "denominator": (np.float64, ()),
        "offset": (np.float64, ()),
        "columns": (np.int32, ()),
    }

    def require_sound(self) -> None:
        require_trees(self.feature, self.child, self.roots, int(self.columns))
        leaf = self.child == np.arange(self.child.shape[0])
        if np.isnan(self.threshold).any() or ((self.threshold == np.inf) != leaf).any():
            raise BundleError("child: a threshold where a tree ends, or none: train again")
        deepest = np.maximum.reduceat(node_levels(self.child), self.roots)
        if not np.array_equal(deepest, self.levels):
            raise BundleError("levels: other than the trees are deep: train the model again")
        if not float(self.denominator) > 0:
            raise BundleError("the forest was grown on a single row: train on more")

    def derive(self) -> None:
        key = tree_kernels.ordered_singles(self.threshold.reshape(1, -1)).reshape(-1)
        leaf = self.threshold == np.inf
        # A path is longer than its edges by c(n) for n rows left together, near 2 ln(n).
        left_together = np.exp((self.depth - node_levels(self.child)) / 2)
        trees = lay_out(
            self.feature,
            np.where(leaf, np.int32(tree_kernels.NEVER), key),
            self.child,
            self.depth,
            np.where(leaf, left_together, 0.0),
            self.roots,
        )
        object.__setattr__(self, "trees", trees)

    @property
    def width(self) -> int:
        return int(self.columns)

    def _scores(self, X: Floats) -> Floats:
        depths = self.trees.sums(tree_kernels.ordered_singles(X))
        scores: Floats = kernels.forest_scores(depths, float(self.denominator), float(self.offset))
        return scores


@dataclass(frozen=True, slots=True)
class Components(Compiled):
    """PCA: distances to the principal axes, weighted by one over the variance they explain."""

    centre: Floats
    scale: Floats
    components: Floats
    shares: Floats

    kind: ClassVar[str] = "pca"
    layout: ClassVar[Layout] = {
        "centre": (np.float64, ("columns",)),
        "scale": (np.float64, ("columns",)),
        "components": (np.float64, ("columns", "components")),
        "shares": (np.float64, ("components",)),
    }

    @property
    def width(self) -> int:
        return len(self.centre)

    def _scores(self, X: Floats) -> Floats:
        scores: Floats = kernels.component_distances(
            X, self.centre, self.scale, self.components, self.shares
        )
        return scores


@dataclass(frozen=True, slots=True)
class Projections(Compiled):
    """LODA: histograms over sparse random projections."""

    terms: Integers
    weights: Floats
    limits: Floats
    surprise: Floats
    columns: Integers

    kind: ClassVar[str] = "loda"
    layout: ClassVar[Layout] = {
        "terms": (np.int32, ("cuts", "terms")),
        "weights": (np.float64, ("cuts", "terms")),
        "limits": (np.float64, ("cuts", "limits")),
        "surprise": (np.float64, ("cuts", "bins")),
        "columns": (np.int32, ()),
    }

    def require_sound(self) -> None:
        require_range("terms", self.terms, 0, int(self.columns))
        if self.surprise.shape[1] != self.limits.shape[1] + 1:
            raise BundleError("one bin more than limits is needed: train the model again")

    @property
    def width(self) -> int:
        return int(self.columns)

    def _scores(self, X: Floats) -> Floats:
        scores: Floats = kernels.projections(
            X, self.terms, self.weights, self.limits, self.surprise
        )
        return scores


@dataclass(frozen=True, slots=True)
class Histograms(Compiled):
    """HBOS: one histogram a column."""

    edges: Floats
    heights: Floats  # log2(density + regulariser)
    rarest: Floats  # least height of each column, for values far outside
    slack: Floats  # how far outside, in bin widths, still counts as the edge bin

    kind: ClassVar[str] = "hbos"
    layout: ClassVar[Layout] = {
        "edges": (np.float64, ("columns", "edges")),
        "heights": (np.float64, ("columns", "bins")),
        "rarest": (np.float64, ("columns",)),
        "slack": (np.float64, ()),
    }

    def require_sound(self) -> None:
        require_sorted("edges", self.edges)
        if self.edges.shape[1] != self.heights.shape[1] + 1:
            raise BundleError("one edge more than bins is needed: train the model again")

    @property
    def width(self) -> int:
        return len(self.edges)

    def _scores(self, X: Floats) -> Floats:
        scores: Floats = kernels.histograms(
            X, self.edges, self.heights, self.rarest, float(self.slack)
        )
        return scores


@dataclass(frozen=True, slots=True)
class Tails(Compiled):
    """ECOD: sum over columns of tail log-probabilities among the training values.

    PyOD joins the training rows to every batch, so its score depends on the companions; this is
    the score of the row sent alone.
    """

    values: Floats  # ascending
    mean: Floats
    second: Floats
    third: Floats

    kind: ClassVar[str] = "ecod"
    copula: ClassVar[bool] = False
    layout: ClassVar[Layout] = {
        "values": (np.float64, ("columns", "rows")),
        "mean": (np.float64, ("columns",)),
        "second": (np.float64, ("columns",)),
        "third": (np.float64, ("columns",)),
    }

    def require_sound(self) -> None:
        require_sorted("values", self.values)

    @property
    def width(self) -> int:
        return len(self.values)

    def _scores(self, X: Floats) -> Floats:
        scores: Floats = kernels.column_tails(
            X, self.values, self.mean, self.second, self.third, self.copula
        )
        return scores


@dataclass(frozen=True, slots=True)
class CopulaTails(Tails):
    """COPOD: as ECOD, with the mean of both tails in place of the larger one."""

    kind: ClassVar[str] = "copod"
    copula: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Clusters(Compiled):
    """CBLOF: distance to the nearest large cluster."""

    centres: Floats
    large: Flags

    kind: ClassVar[str] = "cblof"
    layout: ClassVar[Layout] = {
        "centres": (np.float64, ("clusters", "columns")),
        "large": (np.bool_, ("clusters",)),
    }

    @property
    def width(self) -> int:
        return len(self.centres[0])

    def _scores(self, X: Floats) -> Floats:
        scores: Floats = kernels.clusters(X, self.centres, self.large)
        return scores


@dataclass(frozen=True, slots=True)
class Neighbours(Compiled):
    """KNN: distance to the k-th nearest training row."""

    rows: Floats
    k: Integers

    kind: ClassVar[str] = "knn"
    layout: ClassVar[Layout] = {"rows": (np.float64, ("rows", "columns")), "k": (np.int32, ())}

    def require_sound(self) -> None:
        require_range("k", self.k, 1, self.rows.shape[0] + 1)

    @property
    def width(self) -> int:
        return len(self.rows[0])

    def _scores(self, X: Floats) -> Floats:
        scores: Floats = kernels.neighbours(X, self.rows, int(self.k))
        return scores


KINDS: dict[str, type[Compiled]] = {
    kind.kind: kind
    for kind in (
        Forest,
        Components,
        Projections,
        Histograms,
        Tails,
        CopulaTails,
        Clusters,
        Neighbours,
    )
}
