"""Trees laid out for speed: `Trees.sums` gives each row the sum of the leaves it reaches.

Most rows of a fitted tree pass through few of its nodes. The `EXITS - 1` nodes that most rows pass
are compared all at once, for many rows side by side, and give a row's place among the `EXITS`
subtrees below them (the bit vectors of QuickScorer: Lucchese et al. 2015, QuickScorer: a fast
algorithm to rank documents with additive ensembles of regression trees). The few rows whose place
is no leaf walk on from there, node by node.

Which nodes are compared at once decides speed alone, never a sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudwatch.detectors import tree_kernels
from fraudwatch.detectors.arrays import Floats, Integers, require_range
from fraudwatch.errors import BundleError

MOST = 1 << 16  # nodes of a tree, and columns: both are numbers of 16 bits


@dataclass(frozen=True, slots=True)
class Trees:
    """Trees over rows of int32 keys: a row steps to the right where its key is > the node's."""

    opened: Integers  # how many nodes of each tree are compared at once
    limits: Integers  # (trees, EXITS): keys of the nodes compared at once
    columns: Integers  # (trees, EXITS): the column each of them looks at
    kept: NDArray[np.uint32]  # (trees, EXITS): exits left to a row that steps to the right there
    exits: Integers  # (trees, EXITS): node at each exit, where `tree_kernels.PLACES` puts it
    nodes: NDArray[np.int64]  # key, column and left child in one, see `tree_kernels.tree_sums`
    values: Floats  # of each node, 0 where it is no leaf
    roots: Integers

    def sums(self, keys: Integers) -> Floats:
        """For each row of keys, the sum over all trees of the leaf that it reaches."""
        sums: Floats = tree_kernels.tree_sums(
            keys,
            self.opened,
            self.limits,
            self.columns,
            self.kept,
            self.exits,
            self.nodes,
            self.values,
            self.roots,
        )
        return sums


def lay_out(
    feature: Integers,
    key: Integers,
    child: Integers,
    value: Floats,
    weight: Floats,
    roots: Integers,
) -> Trees:
    """Trees from sound tables (`require_trees`), one row a node.

    `key` is below `tree_kernels.NEVER` but at leaves. `weight` says how many rows end at each leaf,
    up to a factor, as far as is known; it is not looked at elsewhere.
    """
    shape = (len(roots), tree_kernels.EXITS)
    opened = np.zeros(len(roots), dtype=np.int32)
    limits = np.full(shape, tree_kernels.NEVER, dtype=np.int32)
    columns = np.zeros(shape, dtype=np.int32)
    kept = np.full(shape, 0xFFFFFFFF, dtype=np.uint32)
    exits = np.zeros(shape, dtype=np.int32)
    tree_kernels.choose_exits(
        feature, key, child, weight, roots, opened, limits, columns, kept, exits
    )
    near = child - _root_of_each(roots, len(child))
    nodes = key.astype(np.int64) << 32 | feature.astype(np.int64) << 16 | near
    return Trees(opened, limits, columns, kept, exits, nodes, value, roots)


def require_trees(
    feature: NDArray[Any], child: NDArray[Any], roots: NDArray[Any], columns: int
) -> None:
    """Raise `BundleError` unless every walk stays within its tree and comes to an end.

    Nodes of a tree follow each other from its root on; a right child follows the left one; a leaf
    is its own child; children come after their parents.
    """
    nodes = child.shape[0]
    ends = np.append(roots[1:], nodes).astype(np.int64)
    sizes = ends - roots
    if roots.size == 0 or roots[0] != 0 or (sizes < 1).any():
        raise BundleError("the trees do not follow each other: train the model again")
    if sizes.max() > MOST or columns > MOST:
        raise BundleError(f"a tree has more than {MOST} nodes or columns: train on fewer")
    require_range("feature", feature, 0, columns)
    place = np.arange(nodes)
    last = np.repeat(ends - 1, sizes)
    inner = child != place
    if (child[inner] <= place[inner]).any() or (child[inner] >= last[inner]).any():
        raise BundleError("a tree's children are not its own: train the model again")


def node_levels(child: Integers) -> Integers:
    """How many edges each node is away from its root."""
    levels: Integers = tree_kernels.node_levels(child)
    return levels


def _root_of_each(roots: Integers, nodes: int) -> Integers:
    """For every node the root of its tree."""
    return np.repeat(roots, np.append(roots[1:], nodes) - roots)
