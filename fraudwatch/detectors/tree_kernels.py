"""Compiled kernels for trees: what each row reaches, and what each column contributes to it.

As in `kernels.py`, every row is computed by itself in one fixed order of operations. Rows come as
whole numbers (`ordered_singles`, `ranks`), so that the same kernels serve trees that compare
float32 values and trees that compare float64 values with missing ones.
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
FEW_ROWS = 32  # read while they are near: all of their columns fit the first cache
FEW = 5  # rows for which getting many lanes ready takes longer than walking from the root
EXITS = 32  # of a tree whose nodes are compared at once: the bits of a word
NEVER = 0x7FFFFFFF  # key that no row's is greater than
ZERO = float(np.float32(1e-35))  # what is nearer to 0 is 0 to LightGBM
PLACES = 0x077CB531  # de Bruijn: times a power of two, its top five bits tell which one


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
def ranks(
    X: Floats, columns: Integers, missing: Integers, cuts: Floats, ends: Integers
) -> Integers:
    """(n, m): how many of the m-th row of cuts are below the value of column `columns[m]`.

    `cuts` holds the rows of cuts one after the other, each ascending, `ends` where each ends; none
    is empty. `missing` says what NaN is: 0 the number 0, 1 below every cut, 2 above every cut.
    """
    n = X.shape[0]
    out = np.empty((n, columns.shape[0]), np.int32)
    for start in range(0, n, FEW_ROWS):
        end = min(start + FEW_ROWS, n)
        first = 0
        for m in range(columns.shape[0]):
            for i in range(start, end):
                value = X[i, columns[m]]
                if math.isnan(value):
                    if missing[m]:  # a cut may be infinite itself
                        out[i, m] = 0 if missing[m] == 1 else ends[m] - first
                        continue
                    value = 0.0
                elif abs(value) <= ZERO:
                    value = 0.0
                low, size = np.uint32(first), np.uint32(ends[m] - first)
                while size > 1:  # halves without a branch on the value: nobody could foretell it
                    half = np.uint32(size >> np.uint32(1))
                    low += half * np.uint32(cuts[np.uint32(low + half - np.uint32(1))] < value)
                    size -= half
                out[i, m] = np.int64(low) - first + (cuts[low] < value)
            first = ends[m]
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
    opened: Integers,
    limits: Integers,
    columns: Integers,
    kept: Words,
    exits: Integers,
) -> None:
    """Open the heaviest node until a tree has `EXITS` exits, and describe what was opened.

    Fills `opened` (how many), `limits` (key), `columns` and `kept` of those nodes, and `exits`.
    A leaf weighs what `weight` says, any other node what its leaves weigh.
    """
    total = weight.copy()
    for node in range(child.shape[0] - 1, -1, -1):
        if child[node] != node:
            total[node] = total[child[node]] + total[child[node] + 1]
    first = np.zeros(child.shape[0], np.int64)
    last = np.zeros(child.shape[0], np.int64)
    order = np.empty(EXITS, np.int64)  # nodes as they were opened
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
            order[count - 1] = border[best]
            border[best] = child[order[count - 1]]
            border[best + 1] = border[best] + 1
            count += 1
        for i in range(count):
            first[border[i]] = last[border[i]] = i
            exits[tree, (np.uint32(PLACES * (1 << i)) >> 27)] = border[i]
        opened[tree] = count - 1
        for i in range(count - 2, -1, -1):
            node = order[i]
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
    block: Integers,
    lanes: int,
    opened: int,
    limits: Integers,
    columns: Integers,
    kept: Words,
    alive: Words,
) -> None:
    """Take from each lane's exits those that the first `opened` comparisons rule out.

    Eight comparisons a round, each on many lanes by one instruction; the exits stay in registers.
    """
    for i in range(lanes):
        alive[i] = np.uint32(0xFFFFFFFF)
    for k in range(0, opened, 8):
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
    opened: Integers,
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
    block = np.zeros((max(width, 1), BLOCK), np.int32)
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
                _compare_at_once(
                    block,
                    lanes,
                    opened[tree],
                    limits[tree],
                    columns[tree],
                    kept[tree],
                    alive,
                )
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
def fill_off_path(
    shares: Floats, first: Integers, values: Floats, starts: NDArray[np.int64], table: Floats
) -> None:
    """What a leaf's value counts for, for every set of features that lead a row off its path.

    The features on the path to leaf l have the numbers first[l] to first[l + 1]; of the training
    rows that come to where a feature decides, the share `shares` stays on the path. For a set `off`
    of these features (a bit each) and the set O of the others,

        table[starts[l] + off] = value * prod(share of off) * sum_s s! (m - s - 1)! / m! * e_s

    where e_s sums, over all s features taken out of O, the product of the shares of the rest of O.
    """
    for leaf in range(values.shape[0]):
        begin, count = first[leaf], first[leaf + 1] - first[leaf]
        sums = np.empty(count + 1)
        for off in range(1, 1 << count):
            factor, size = values[leaf], 0
            sums[0] = 1.0
            for j in range(count):
                share = shares[begin + j]
                if off >> j & 1:
                    factor *= share
                    continue
                size += 1
                sums[size] = sums[size - 1]
                for s in range(size - 1, 0, -1):
                    sums[s] = sums[s] * share + sums[s - 1]
                sums[0] *= share
            total = 0.0
            for s in range(size + 1):
                ways = math.gamma(s + 1) * math.gamma(count - s) / math.gamma(count + 1)
                total += ways * sums[s]
            table[starts[leaf] + off] = factor * total


@njit(cache=True, nogil=True)
def contributions(
    keys: Integers,
    column: Integers,
    key: Integers,
    child: Integers,
    slot: Integers,
    leaf: Integers,
    first: Integers,
    features: Integers,
    gains: Floats,
    starts: NDArray[np.int64],
    table: Floats,
    width: int,
) -> Floats:
    """(n, width): what each feature adds to the sum over trees, by TreeSHAP.

    A leaf counts, for a feature on its path, the difference between the feature leading there and
    not, over all orders of the features becoming known (see `fill_off_path`). `slot` is the number
    of an inner node's feature on the paths through it, `leaf` the number of a leaf, `gains` are
    1 / share - 1: a feature that stays on the path turns its share into 1.
    """
    out = np.zeros((keys.shape[0], width))
    off = np.zeros(child.shape[0], np.int32)
    for i in range(keys.shape[0]):
        for node in range(child.shape[0]):
            left, found = child[node], off[node]
            if left != node:
                bit = np.int32(1 << slot[node])
                right = keys[i, column[node]] > key[node]
                off[left] = found | (bit if right else np.int32(0))
                off[left + 1] = found | (np.int32(0) if right else bit)
                continue
            number = leaf[node]
            for j in range(first[number], first[number + 1]):
                bit = np.int32(1 << (j - first[number]))
                counted = table[starts[number] + (found | bit)]
                out[i, features[j]] += -counted if found & bit else gains[j] * counted
    return out
