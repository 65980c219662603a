"""Compiled row kernels: every row is computed by itself, in one fixed order of operations.

A matrix product through BLAS gives other last bits for a row alone than for the same row in a
batch. These loops do not, so a score can be recomputed years later from the ledger, in any batch.
No fast-math, no reduction across rows, `nogil` so that a stream's heartbeats go on meanwhile.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]
Words = NDArray[np.uint32]

BLOCK = 256  # rows taken through one tree together
LANES = 16  # rows that one instruction may compare: a block is filled up to a multiple of it
FEW = 5  # rows for which getting many lanes ready takes longer than walking from the root
EXITS = 32  # of a tree whose nodes are compared at once: the bits of a word
NEVER = 0x7FFFFFFF  # key that no row's is greater than
PLACES = 0x077CB531  # de Bruijn: times a power of two, its top five bits tell which one


@njit(cache=True, nogil=True)
def below(sorted_values: Any, value: float) -> int:
    """How many of the ascending values are < `value`."""
    low, high = 0, sorted_values.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if sorted_values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def up_to(sorted_values: Any, value: float) -> int:
    """How many of the ascending values are <= `value`."""
    low, high = 0, sorted_values.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if sorted_values[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def tail_logs(reference: Floats, scores: Floats) -> Floats:
    """-log((#reference >= score + 1) / (n + 1)) for each score; `reference` ascending."""
    n = reference.shape[0]
    out = np.empty(scores.shape[0])
    for i in range(scores.shape[0]):
        out[i] = -math.log((n - below(reference, scores[i]) + 1) / (n + 1))
    return out


@njit(cache=True, nogil=True)
def prepare(
    X: Floats, columns: Integers, fill: Floats, centre: Floats, scale: Floats, clip: float
) -> Floats:
    """Selected columns with NaN filled, standardised and held within +-`clip`."""
    out = np.empty((X.shape[0], columns.shape[0]))
    for i in range(X.shape[0]):
        for k in range(columns.shape[0]):
            value = X[i, columns[k]]
            if math.isnan(value):
                value = fill[k]
            out[i, k] = min(max((value - centre[k]) / scale[k], -clip), clip)
    return out


@njit(cache=True, nogil=True)
def ordered_singles(X: Floats) -> Integers:
    """Each value rounded to float32, as a whole number: greater for a greater value."""
    out = np.empty(X.shape, np.int32)
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            bits = np.float32(np.float32(X[i, j]) + np.float32(0.0)).view(np.int32)  # no -0.0
            out[i, j] = bits if bits >= 0 else bits ^ np.int32(NEVER)
    return out


@njit(cache=True, nogil=True)
def node_levels(child: Integers) -> Integers:
    """Edges between each node and its root; children come after their parents."""
    levels = np.zeros(child.shape[0], np.int32)
    for node in range(child.shape[0]):
        if child[node] != node:
            levels[child[node]] = levels[child[node] + 1] = levels[node] + 1
    return levels


@njit(cache=True, nogil=True)
def choose_exits(
    feature: Integers,
    key: Integers,
    child: Integers,
    weight: Floats,
    roots: Integers,
    limits: Integers,
    columns: Integers,
    kept: Words,
    exits: Integers,
) -> None:
    """Open the heaviest node until a tree has `EXITS` exits, and describe what was opened.

    Fills `limits` (key), `columns` and `kept` of the opened nodes and `exits`. A leaf weighs what
    `weight` says, any other node what its leaves weigh.
    """
    total = weight.copy()
    for node in range(child.shape[0] - 1, -1, -1):
        if child[node] != node:
            total[node] = total[child[node]] + total[child[node] + 1]
    first = np.zeros(child.shape[0], np.int64)
    last = np.zeros(child.shape[0], np.int64)
    opened = np.empty(EXITS, np.int64)
    border = np.empty(EXITS, np.int64)  # exits from left to right
    for tree in range(roots.shape[0]):
        border[0] = roots[tree]
        count = 1
        while count < EXITS:
            best = -1
            for i in range(count):
                node = border[i]
                if child[node] != node and (best < 0 or total[node] > total[border[best]]):
                    best = i
            if best < 0:
                break
            for i in range(count, best + 1, -1):
                border[i] = border[i - 1]
            opened[count - 1] = border[best]
            border[best] = child[opened[count - 1]]
            border[best + 1] = border[best] + 1
            count += 1
        for i in range(count):
            first[border[i]] = last[border[i]] = i
            exits[tree, (np.uint32(PLACES * (1 << i)) >> 27)] = border[i]
        for i in range(count - 2, -1, -1):
            node = opened[i]
            left = child[node]
            first[node], last[node] = first[left], last[left + 1]
            lost = ((1 << (last[left] - first[left] + 1)) - 1) << first[left]
            limits[tree, i], columns[tree, i] = key[node], feature[node]
            kept[tree, i] = ~np.uint32(lost)


@njit(cache=True, nogil=True)
def _keep(alive: int, key: int, limit: int, kept: int) -> Any:
    return alive & kept if key > limit else alive


@njit(cache=True, nogil=True)
def _compare_at_once(
    block: Integers, lanes: int, limits: Integers, columns: Integers, kept: Words, alive: Words
) -> None:
    """Take from each lane's exits those that the tree's `EXITS` comparisons rule out.

    Eight comparisons a round, each on many lanes by one instruction; the exits stay in registers.
    """
    for i in range(lanes):
        alive[i] = np.uint32(0xFFFFFFFF)
    for k in range(0, EXITS, 8):
        limit0, kept0, x0 = limits[k], kept[k], block[np.uint32(columns[k])]
        limit1, kept1, x1 = limits[k + 1], kept[k + 1], block[np.uint32(columns[k + 1])]
        limit2, kept2, x2 = limits[k + 2], kept[k + 2], block[np.uint32(columns[k + 2])]
        limit3, kept3, x3 = limits[k + 3], kept[k + 3], block[np.uint32(columns[k + 3])]
        limit4, kept4, x4 = limits[k + 4], kept[k + 4], block[np.uint32(columns[k + 4])]
        limit5, kept5, x5 = limits[k + 5], kept[k + 5], block[np.uint32(columns[k + 5])]
        limit6, kept6, x6 = limits[k + 6], kept[k + 6], block[np.uint32(columns[k + 6])]
        limit7, kept7, x7 = limits[k + 7], kept[k + 7], block[np.uint32(columns[k + 7])]
        for i in range(lanes):
            left = _keep(alive[i], x0[i], limit0, kept0)
            left = _keep(left, x1[i], limit1, kept1)
            left = _keep(left, x2[i], limit2, kept2)
            left = _keep(left, x3[i], limit3, kept3)
            left = _keep(left, x4[i], limit4, kept4)
            left = _keep(left, x5[i], limit5, kept5)
            left = _keep(left, x6[i], limit6, kept6)
            alive[i] = _keep(left, x7[i], limit7, kept7)


@njit(cache=True, nogil=True)
def tree_sums(
    keys: Integers,
    limits: Integers,
    columns: Integers,
    kept: Words,
    exits: Integers,
    nodes: NDArray[np.int64],
    values: Floats,
    roots: Integers,
) -> Floats:
    """Sum over trees, in their order, of the value of the leaf that each row reaches.

    A bit for each exit from left to right; a comparison that sends a row to the right takes away
    the exits to its left; the lowest bit left over is the row's exit. Rows not at a leaf then walk
    on. A node is one number: its key (32 bits), column (16) and left child, counted from the root
    (16); a leaf has the key `NEVER` and is its own child.

    Indices are unsigned, which spares the question whether they count from the end.
    """
    n, width = keys.shape
    out = np.zeros(n)
    block = np.zeros((width, BLOCK), np.int32)
    alive = np.empty(BLOCK, np.uint32)
    node = np.empty(BLOCK, np.int64)
    under_way = np.empty(BLOCK, np.uint32)
    leaf = np.int64(NEVER) << 32
    for start in range(0, n, BLOCK):
        size = np.uint32(min(BLOCK, n - start))
        lanes = (np.int64(size) + LANES - 1) // LANES * LANES
        for i in range(size):
            for j in range(width):
                block[j, i] = keys[start + i, j]
        for tree in range(np.uint32(roots.shape[0])):
            root = np.uint32(roots[tree])
            count = np.uint32(0)
            if size < FEW:
                for i in range(size):
                    node[i] = nodes[root]
                    under_way[i] = i
                count = size
            else:
                _compare_at_once(block, lanes, limits[tree], columns[tree], kept[tree], alive)
                for i in range(size):
                    lowest = np.uint32(alive[i] & (~alive[i] + np.uint32(1)))
                    place = np.uint32(lowest * np.uint32(PLACES)) >> np.uint32(27)
                    node[i] = nodes[np.uint32(exits[tree, place])]
                    under_way[count] = i
                    count += np.uint32(node[i] < leaf)
            while count:
                left = np.uint32(0)
                for k in range(count):
                    i = under_way[k]
                    column = np.uint32((node[i] >> 16) & 0xFFFF)
                    right = np.uint32(block[column, i] > (node[i] >> 32))
                    node[i] = nodes[np.uint32(root + np.uint32(node[i] & 0xFFFF) + right)]
                    under_way[left] = i
                    left += np.uint32(node[i] < leaf)
                count = left
            for i in range(size):
                out[start + i] += values[np.uint32(root + np.uint32(node[i] & 0xFFFF))]
    return out


@njit(cache=True, nogil=True)
def forest_scores(depths: Floats, denominator: float, offset: float) -> Floats:
    """2 ** (-depth / denominator) + offset, one row at a time."""
    out = np.empty(depths.shape[0])
    for i in range(depths.shape[0]):
        out[i] = math.pow(2.0, -depths[i] / denominator) + offset
    return out


@njit(cache=True, nogil=True)
def component_distances(
    X: Floats, centre: Floats, scale: Floats, components: Floats, shares: Floats
) -> Floats:
    """Sum over components of distance(standardised row, component) / share.

    `components` is (columns, components): the inner loop runs over components, whose sums are
    independent, so the compiler may use wide registers without changing the order of any sum.
    """
    count = components.shape[1]
    out = np.empty(X.shape[0])
    squares = np.empty(count)
    for i in range(X.shape[0]):
        squares[:] = 0.0
        for j in range(X.shape[1]):
            value = (X[i, j] - centre[j]) / scale[j]
            for k in range(count):
                gap = value - components[j, k]
                squares[k] += gap * gap
        total = 0.0
        for k in range(count):
            total += math.sqrt(squares[k]) / shares[k]
        out[i] = total
    return out


@njit(cache=True, nogil=True)
def projections(
    X: Floats, columns: Integers, weights: Floats, limits: Floats, surprise: Floats
) -> Floats:
    """Mean over random cuts of the surprise of the bin that the projected row falls into.

    `columns` and `weights` are (cuts, non-zero terms), `limits` (cuts, bins - 1) ascending,
    `surprise` (cuts, bins).
    """
    cuts, terms = columns.shape
    inner = limits.shape[1]
    out = np.empty(X.shape[0])
    for i in range(X.shape[0]):
        total = 0.0
        for c in range(cuts):
            value = 0.0
            for t in range(terms):
                value += X[i, columns[c, t]] * weights[c, t]
            place = 0
            for b in range(inner):
                place += limits[c, b] < value
            total += surprise[c, place]
        out[i] = total
    return out


@njit(cache=True, nogil=True)
def histograms(X: Floats, edges: Floats, heights: Floats, rarest: Floats, slack: float) -> Floats:
    """Minus the sum of log2 heights of the bins; just outside the range counts as the edge bin.

    `edges` (columns, bins + 1), `heights` (columns, bins), `slack` in bin widths.
    """
    bins = heights.shape[1]
    out = np.empty(X.shape[0])
    for i in range(X.shape[0]):
        total = 0.0
        for j in range(X.shape[1]):
            value = X[i, j]
            place = below(edges[j], value)
            if place == 0:
                near = edges[j, 0] - value <= (edges[j, 1] - edges[j, 0]) * slack
                total += heights[j, 0] if near else rarest[j]
            elif place == bins + 1:
                near = value - edges[j, bins] <= (edges[j, bins] - edges[j, bins - 1]) * slack
                total += heights[j, bins - 1] if near else rarest[j]
            else:
                total += heights[j, place - 1]
        out[i] = -total
    return out


@njit(cache=True, nogil=True)
def _skew_sign(value: float, n: int, mean: float, second: float, third: float) -> int:
    """Sign of the skewness of n training values once `value` has joined them.

    `second` and `third` are sums of powers of the deviations; the update is Chan's (1979).
    Zero where the variance is lost in rounding, as scipy (which PyOD uses) has it.
    """
    gap = value - mean
    m2 = second + gap * gap * n / (n + 1)
    m3 = third + gap**3 * n * (n - 1) / (n + 1) ** 2 - 3 * gap * second / (n + 1)
    joined = mean + gap / (n + 1)
    if m2 / (n + 1) <= (1e-15 * joined) ** 2:
        return 0
    return int(m3 > 0) - int(m3 < 0)


@njit(cache=True, nogil=True)
def column_tails(
    X: Floats, values: Floats, mean: Floats, second: Floats, third: Floats, copula: bool
) -> Floats:
    """ECOD (`copula` false) or COPOD score of each row as if it were sent to PyOD alone.

    `values` (columns, training rows) ascending.
    """
    n = values.shape[1]
    out = np.empty(X.shape[0])
    for i in range(X.shape[0]):
        total = 0.0
        for j in range(X.shape[1]):
            value = X[i, j]
            left = -math.log((up_to(values[j], value) + 1) / (n + 1))
            right = -math.log((n - below(values[j], value) + 1) / (n + 1))
            sign = _skew_sign(value, n, mean[j], second[j], third[j])
            if sign > 0:
                skewed = right
            elif sign < 0:
                skewed = left
            else:
                skewed = left + right
            total += max(skewed, (left + right) / 2 if copula else max(left, right))
        out[i] = total
    return out


@njit(cache=True, nogil=True)
def clusters(X: Floats, centres: Floats, large: Any) -> Floats:
    """Distance to the nearest centre, or from a small cluster to the nearest large one."""
    out = np.empty(X.shape[0])
    for i in range(X.shape[0]):
        nearest, nearest_large, in_large = np.inf, np.inf, False
        for c in range(centres.shape[0]):
            square = 0.0
            for j in range(X.shape[1]):
                gap = X[i, j] - centres[c, j]
                square += gap * gap
            if square < nearest:
                nearest, in_large = square, large[c]
            if large[c] and square < nearest_large:
                nearest_large = square
        out[i] = math.sqrt(nearest if in_large else nearest_large)
    return out


@njit(cache=True, nogil=True)
def neighbours(X: Floats, rows: Floats, k: int) -> Floats:
    """Distance to the k-th nearest of the training rows."""
    out = np.empty(X.shape[0])
    best = np.empty(k)
    for i in range(X.shape[0]):
        best[:] = np.inf
        for r in range(rows.shape[0]):
            square = 0.0
            for j in range(X.shape[1]):
                gap = X[i, j] - rows[r, j]
                square += gap * gap
                if square >= best[k - 1]:
                    break
            if square < best[k - 1]:
                place = k - 1
                while place > 0 and best[place - 1] > square:
                    best[place] = best[place - 1]
                    place -= 1
                best[place] = square
        out[i] = math.sqrt(best[k - 1])
    return out


@njit(cache=True, nogil=True)
def surprises(X: Floats, knots: Floats, shares: Floats) -> Floats:
    """Two-sided tail log-probability of each value against its column's quantile knots; NaN: 0.

    `knots` (columns, knots) ascending; `shares` (knots) are the probabilities they stand at.
    """
    count = shares.shape[0]
    out = np.zeros(X.shape)
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            value = X[i, j]
            if math.isnan(value):
                continue
            above = up_to(knots[j], value)
            left = shares[above - 1] if above > 0 else shares[0]
            under = below(knots[j], value)
            right = 1.0 - shares[under] if under < count else 1.0 - shares[count - 1]
            out[i, j] = -math.log(max(min(left, right), shares[0]))
    return out
