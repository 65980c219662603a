"""How alike two alerts are, and how strongly a value that two accounts share links them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

WEIGHTS = {"device_id": 1.0, "counterparty_id": 0.9, "ip": 0.6, "merchant_id": 0.3}
"""How much a value says that only two accounts share: homes share addresses, towns merchants."""


@dataclass(frozen=True, slots=True)
class Trait:
    """What an alert is compared by: the features of its reasons, and all its feature values."""

    themes: frozenset[str]
    features: Vector | None = None  # None: not known, or of another version


def likeness(one: Trait, others: Sequence[Trait]) -> Vector:
    """How alike `one` is to each of the others: float64[n] in [0, 1].

    The mean of two numbers: the share of reason features that both have among those that either has
    (Jaccard), and nearness 1 / (1 + d). d is the root mean square of the differences of feature
    values, each in spreads (median absolute deviation) of the alerts compared. Values that are not
    finite are left out. Where features cannot be compared nearness is 0.
    """
    shared = np.array([_jaccard(one.themes, other.themes) for other in others], dtype=np.float64)
    near = np.zeros(len(others))
    comparable = [
        at
        for at, other in enumerate(others)
        if one.features is not None
        and other.features is not None
        and len(other.features) == len(one.features) > 0
    ]
    if one.features is not None and comparable:
        values = np.array([others[at].features for at in comparable])
        near[comparable] = _nearness(one.features, values)
    return (shared + near) / 2


def strength(kind: str, accounts: int) -> float:
    """How strongly a value links two of the accounts that share it, in [0, 1]: the kind's weight
    over the base-2 logarithm of their number, so that what many share says little."""
    return WEIGHTS[kind] / math.log2(max(2, accounts))


def together(strengths: Sequence[float]) -> float:
    """Several links between the same two accounts as one: 1 - the product of what each leaves."""
    return 1 - math.prod(1 - part for part in strengths)


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    either = one | other
    return len(one & other) / len(either) if either else 0.0


def _nearness(one: Vector, others: Vector) -> Vector:
    every = np.vstack([one, others])
    known = np.where(np.isfinite(every), every, np.nan)
    known = known[:, ~np.isnan(known[0])]
    known = known[:, ~np.isnan(known[1:]).all(axis=0)]
    if known.shape[1] == 0:
        return np.zeros(len(others))
    middle = np.nanmedian(known, axis=0)
    spread = np.nanmedian(np.abs(known - middle), axis=0)
    # A feature that hardly varies counts as one step where it differs at all.
    largest = np.nanmax(np.abs(known - middle), axis=0)
    spread = np.where(spread > 0, spread, np.where(largest > 0, largest, 1.0))
    apart = np.clip((known[1:] - known[0]) / spread, -10, 10)
    there = ~np.isnan(apart)
    total = np.where(there, apart, 0.0) ** 2
    count = there.sum(axis=1)
    distance = np.sqrt(total.sum(axis=1) / np.maximum(count, 1))
    near: Vector = np.where(count > 0, 1 / (1 + distance), 0.0)
    return near
