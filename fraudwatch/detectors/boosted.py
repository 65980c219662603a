"""LightGBM's trees without LightGBM: the same scores to the last bit, in a tenth of the time.

Read from the text that LightGBM writes, which stays what a bundle stores. How LightGBM decides is
in its documentation: a value <= the threshold goes left; NaN counts as 0 where none was seen in
training, else it goes the way that the node names. Sums are over trees in their order.

Contributions of features are TreeSHAP's (Lundberg et al. 2020, From local explanations to global
understanding with explainable AI for trees, path-dependent) as LightGBM's, but for the last bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudwatch.detectors import tree_kernels
from fraudwatch.detectors.arrays import Floats, Integers
from fraudwatch.detectors.trees import Trees, lay_out, require_trees
from fraudwatch.errors import BundleError

MOST_ON_PATH = 8  # different features; the tables for contributions double with each
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of a decision type
_ZERO, _LEFT, _RIGHT = 0, 1, 2  # what NaN is, see `tree_kernels.ranks`
_SEEN_NAN = 2  # missing type, from bit 2 on


class _Node(NamedTuple):
    """A node as read; `left` is its left child, counted from the root, of a leaf itself."""

    feature: int
    missing: int
    cut: float
    left: int
    value: float
    rows: int  # training rows that ended at a leaf


@dataclass(frozen=True, slots=True)
class Boosted:
    """The trees of a booster over rows of `width` features."""

    width: int
    trees: Trees
    ranked: _Ranked
    paths: _Paths

    def raw(self, X: Floats) -> Floats:
        """Sum over trees: LightGBM's raw score of each row."""
        return self.trees.sums(self.ranked.keys(X))

    def contributions(self, X: Floats) -> Floats:
        """What each feature adds to `raw`, (n, width)."""
        paths = self.paths
        found: Floats = tree_kernels.contributions(
            self.ranked.keys(X),
            paths.column,
            paths.key,
            paths.child,
            paths.slot,
            paths.leaf,
            paths.first,
            paths.features,
            paths.gains,
            paths.starts,
            paths.table,
            self.width,
        )
        return found


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Every threshold of a feature, so that a value is known by how many it exceeds."""

    columns: Integers
    missing: Integers
    cuts: Floats
    ends: Integers

    def keys(self, X: Floats) -> Integers:
        keys: Integers = tree_kernels.ranks(X, self.columns, self.missing, self.cuts, self.ends)
        return keys


@dataclass(frozen=True, slots=True)
class _Paths:
    """What `tree_kernels.contributions` needs to know of every leaf's path."""

    column: Integers
    key: Integers
    child: Integers
    slot: Integers
    leaf: Integers
    first: Integers
    features: Integers
    gains: Floats
    starts: NDArray[np.int64]
    table: Floats


def read_boosted(text: str, width: int) -> Boosted:
    """The trees in LightGBM's text. Raises `BundleError` for kinds that we do not train."""
    head, *sections = text.split("\nTree=")
    facts = _facts(head)
    try:
        if (facts["num_class"], facts["num_tree_per_iteration"]) != ("1", "1"):
            raise BundleError("the label-trained part has more than one class: train again")
        read = [_read_tree(_facts(section)) for section in sections]
    except (KeyError, ValueError, IndexError) as error:
        raise BundleError(f"the label-trained part cannot be read: {error!r}") from error
    if not read or "average_output" in head:
        raise BundleError("the label-trained part holds no boosted trees: train the model again")
    roots = np.cumsum([0, *(len(nodes) for nodes in read)])[:-1].astype(np.int32)
    nodes = [node for tree in read for node in tree]
    root_of_each = np.repeat(roots, [len(tree) for tree in read])
    child = np.array([node.left for node in nodes], dtype=np.int32) + root_of_each
    feature = np.array([node.feature for node in nodes], dtype=np.int32)
    require_trees(feature, child, roots, width)
    ranked, column, key = _rank(nodes, child)
    value = np.array([node.value for node in nodes])
    rows = np.array([node.rows for node in nodes], dtype=np.float64)
    if not (np.isfinite(value).all() and (rows >= 1).all()):
        raise BundleError("the label-trained part has leaves without rows: train the model again")
    return Boosted(
        width,
        lay_out(column, key, child, value, rows, roots),
        ranked,
        _paths(feature, column, key, child, value, rows),
    )


def _facts(section: str) -> dict[str, str]:
    """The lines `name=value` up to the first empty line."""
    lines = section.split("\n\n", 1)[0].splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _read_tree(facts: dict[str, str]) -> list[_Node]:
    """The nodes of a tree from its root, level by level, siblings side by side."""
    if facts["num_cat"] != "0" or facts.get("is_linear", "0") != "0":
        raise BundleError("the label-trained part has trees of another kind: train again")
    leaves = int(facts["num_leaves"])
    values = [float(word) for word in facts["leaf_value"].split()]
    if leaves == 1:
        return [_Node(0, _ZERO, np.inf, 0, values[0], 1)]
    rows = [int(word) for word in facts["leaf_count"].split()]
    feature, kind, left, right = (
        [int(word) for word in facts[name].split()]
        for name in ("split_feature", "decision_type", "left_child", "right_child")
    )
    cut = [float(word) for word in facts["threshold"].split()]
    nodes: list[_Node] = []
    order = [0]  # inner nodes from 0 on, leaves as -1, -2, ...
    for number in order:  # grows while it is walked
        if number < 0:
            leaf = -1 - number
            nodes.append(_Node(0, _ZERO, np.inf, len(nodes), values[leaf], rows[leaf]))
            continue
        if len(order) > 2 * leaves:
            raise BundleError("the label-trained part has a tree without end: train again")
        missing = _missing(kind[number])
        nodes.append(_Node(feature[number], missing, cut[number], len(order), 0.0, 1))
        order += [left[number], right[number]]
    return nodes


def _missing(decision_type: int) -> int:
    """What NaN is at a node, in the words of `tree_kernels.ranks`."""
    seen = decision_type >> 2
    if decision_type & _CATEGORICAL or seen not in (0, _SEEN_NAN):
        raise BundleError("the label-trained part has decisions of another kind: train again")
    if seen == 0:
        return _ZERO
    return _LEFT if decision_type & _DEFAULT_LEFT else _RIGHT


def _rank(nodes: list[_Node], child: Integers) -> tuple[_Ranked, Integers, Integers]:
    """Each feature's thresholds in order, and for every node its column there and its key.

    A feature has a column for each of the ways that its nodes treat NaN.
    """
    column = np.zeros(len(nodes), dtype=np.int32)
    key = np.full(len(nodes), tree_kernels.NEVER, dtype=np.int32)
    inner = np.flatnonzero(child != np.arange(len(nodes)))
    wanted = sorted({(nodes[place].feature, nodes[place].missing) for place in inner})
    cuts: list[Floats] = []
    for number, (feature, missing) in enumerate(wanted):
        here = [p for p in inner if (nodes[p].feature, nodes[p].missing) == (feature, missing)]
        found, order = np.unique([nodes[place].cut for place in here], return_inverse=True)
        cuts.append(found)
        column[here], key[here] = number, order
    ranked = _Ranked(
        columns=np.array([feature for feature, _ in wanted], dtype=np.int32),
        missing=np.array([missing for _, missing in wanted], dtype=np.int32),
        cuts=np.concatenate([np.zeros(0), *cuts]),
        ends=np.cumsum([len(found) for found in cuts]).astype(np.int32),
    )
    return ranked, column, key


def _paths(
    feature: Integers,
    column: Integers,
    key: Integers,
    child: Integers,
    value: Floats,
    rows: Floats,
) -> _Paths:
    """Number the features on each path from the root on, and fill the leaves' tables."""
    slot = np.zeros(len(child), dtype=np.int32)
    leaf = np.zeros(len(child), dtype=np.int32)
    first = [0]
    features: list[int] = []
    shares: list[float] = []
    values: list[float] = []
    arrived = rows.copy()
    for node in range(len(child) - 1, -1, -1):
        if child[node] != node:
            arrived[node] = arrived[child[node]] + arrived[child[node] + 1]
    path: list[dict[int, float]] = [{} for _ in child]  # feature: share of rows that it lets pass
    for node, left in enumerate(child.tolist()):
        along = path[node]
        if left == node:
            leaf[node] = len(values)
            features += along.keys()
            shares += along.values()
            first.append(len(features))
            values.append(value[node])
            continue
        about = int(feature[node])
        slot[node] = list(along).index(about) if about in along else len(along)
        for below in (left, left + 1):
            share = float(arrived[below] / arrived[node])
            path[below] = along | {about: along.get(about, 1.0) * share}
    counts = np.diff(first)
    if counts.max() > MOST_ON_PATH:
        raise BundleError(
            f"the label-trained part decides by more than {MOST_ON_PATH} features in a row: "
            "train with less depth"
        )
    ends = np.cumsum(1 << counts)
    starts = np.append(0, ends[:-1]).astype(np.int64)
    table = np.zeros(int(ends[-1]))
    begins = np.array(first, dtype=np.int32)
    zeros = np.array(shares, dtype=np.float64)
    tree_kernels.fill_off_path(zeros, begins, np.array(values), starts, table)
    return _Paths(
        column,
        key,
        child,
        slot,
        leaf,
        begins,
        np.array(features, dtype=np.int32),
        1.0 / zeros - 1.0,
        starts,
        table,
    )
