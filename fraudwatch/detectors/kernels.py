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


@njit(cache=True, nogil=True)
def heaviest_themes(
    weights: Floats, theme_of: Integers, themes: int, top: int
) -> tuple[Floats, Integers]:
    """The `top` themes of each row by the sum of their columns' weights, heaviest first.

    Gives the sums and each theme's heaviest column, both (n, top); of equals the first counts, and
    a sum of 0 ends the row.
    """
    n = weights.shape[0]
    sums = np.zeros((n, top))
    columns = np.zeros((n, top), np.int32)
    together = np.empty(themes)
    for i in range(n):
        together[:] = 0.0
        for j in range(weights.shape[1]):
            together[theme_of[j]] += weights[i, j]
        for place in range(min(top, themes)):
            best = 0
            for about in range(1, themes):
                if together[about] > together[best]:
                    best = about
            if not together[best] > 0:
                break
            sums[i, place] = together[best]
            together[best] = 0.0
            heaviest = -1.0
            for j in range(weights.shape[1]):
                if theme_of[j] == best and weights[i, j] > heaviest:
                    heaviest, columns[i, place] = weights[i, j], j
    return sums, columns
