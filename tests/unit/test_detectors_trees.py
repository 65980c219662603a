"""Trees laid out for speed give the sums that walking from the root gives, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudwatch.detectors import tree_kernels
from fraudwatch.detectors.arrays import Floats, Integers
from fraudwatch.detectors.trees import lay_out, require_trees
from fraudwatch.errors import BundleError

COLUMNS = 5


@dataclass
class Tables:
    """Trees as plain tables."""

    feature: Integers
    key: Integers
    child: Integers
    value: Floats
    roots: Integers

    def walked(self, keys: Integers) -> Floats:
        """What the kernel must give: one row after the other from the root to its leaf."""
        sums = np.zeros(len(keys))
        for place, row in enumerate(keys):
            for root in self.roots:
                node = root
                while self.child[node] != node:
                    node = self.child[node] + (row[self.feature[node]] > self.key[node])
                sums[place] += self.value[node]
        return sums


def grown(seed: int, trees: int, leaves: int, lopsided: float) -> Tables:
    """Random trees of up to `leaves` leaves; `lopsided` 1 splits the newest leaf every time."""
    rng = np.random.default_rng(seed)
    child: list[int] = []
    roots = []
    for _ in range(trees):
        root = len(child)
        roots.append(root)
        child.append(root)
        ends = [root]
        for _ in range(int(rng.integers(leaves))):
            place = len(ends) - 1 if rng.random() < lopsided else int(rng.integers(len(ends)))
            node = ends.pop(place)
            child[node] = len(child)
            ends += [len(child), len(child) + 1]
            child += [len(child), len(child) + 1]
    nodes = len(child)
    inner = np.array(child) != np.arange(nodes)
    return Tables(
        feature=np.where(inner, rng.integers(COLUMNS, size=nodes), 0).astype(np.int32),
        key=np.where(inner, rng.integers(-9, 10, size=nodes), tree_kernels.NEVER).astype(np.int32),
        child=np.array(child, dtype=np.int32),
        value=np.where(inner, 0.0, rng.normal(size=nodes)),
        roots=np.array(roots, dtype=np.int32),
    )


@settings(deadline=None)  # the first call compiles
@given(
    seed=st.integers(0, 2**32),
    trees=st.integers(1, 6),
    leaves=st.sampled_from([1, 2, 31, 32, 33, 90]),
    lopsided=st.sampled_from([0.0, 0.7, 1.0]),
    rows=st.sampled_from([1, 4, 5, 15, 16, 17, 255, 256, 257, 530]),
)
def test_sums_are_those_of_walking(
    seed: int, trees: int, leaves: int, lopsided: float, rows: int
) -> None:
    """Whatever the shape of the trees, the number of rows and the guess of where rows end."""
    tables = grown(seed, trees, leaves, lopsided)
    rng = np.random.default_rng(seed + 1)
    keys = rng.integers(-10, 11, size=(rows, COLUMNS)).astype(np.int32)
    keys[rng.random(keys.shape) < 0.05] = tree_kernels.NEVER
    keys[rng.random(keys.shape) < 0.05] = np.iinfo(np.int32).min
    weight = rng.exponential(size=len(tables.child)) ** 4
    laid = lay_out(tables.feature, tables.key, tables.child, tables.value, weight, tables.roots)
    wanted = tables.walked(keys[:40])
    assert (laid.sums(keys)[:40] == wanted).all()
    assert (laid.sums(keys[:1]) == wanted[:1]).all()
    assert (laid.sums(keys) == np.concatenate([laid.sums(k) for k in np.split(keys, rows)])).all()


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2))
def test_order_of_keys_is_that_of_the_numbers(pair: list[float]) -> None:
    """Both zeros are one number; infinities are the ends."""
    (first, second) = tree_kernels.ordered_singles(np.array([pair]))[0]
    assert (first > second) == (pair[0] > pair[1])
    assert (first == second) == (pair[0] == pair[1])


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("child", 0, -1),
        ("child", 1, 0),  # a circle
        ("child", 0, 6),  # the next tree's
        ("child", 3, 4),  # its right child would be the next tree's
        ("child", 8, 10),
        ("feature", 0, COLUMNS),
        ("feature", 0, -1),
        ("roots", 0, 1),
        ("roots", 1, 0),
        ("roots", 1, 11),
    ],
)
def test_walks_that_could_leave_a_tree_are_refused(name: str, place: int, value: int) -> None:
    """Compiled kernels check no bounds: a bundle could make them read foreign memory."""
    tables = {
        "feature": np.zeros(10, dtype=np.int32),
        "child": np.array([1, 3, 2, 3, 4, 6, 8, 7, 8, 9], dtype=np.int32),
        "roots": np.array([0, 5], dtype=np.int32),
    }
    require_trees(tables["feature"], tables["child"], tables["roots"], COLUMNS)
    tables[name][place] = value
    with pytest.raises(BundleError):
        require_trees(tables["feature"], tables["child"], tables["roots"], COLUMNS)


def test_tree_too_large_for_the_layout_is_refused() -> None:
    nodes = (1 << 16) + 1
    chain = np.arange(nodes, dtype=np.int32)
    chain[:-2:2] += 1
    with pytest.raises(BundleError, match="65536"):
        require_trees(np.zeros(nodes), chain, np.array([0]), COLUMNS)
