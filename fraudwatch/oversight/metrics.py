"""How good scores are: pure functions of truth and score, with intervals over days.

Days are the unit of resampling: transactions of one day share weather, fraudsters and models, so
they are not independent, and an interval over single rows would promise too much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Scored transactions, highest score first, that can be weighted by day.

    `fraud` and `place` are parallel; `place` numbers the day of each row, 0 to `days` - 1;
    `ends` are the last rows of each run of equal scores, so that ties count as ties and the order
    of the input never matters.
    """

    fraud: Flags
    place: Integers
    ends: Integers
    days: int

    def figures(self, weight: Floats | None = None) -> tuple[float, float]:
        """Area under the ROC curve and average precision; NaN where a class is missing.

        `weight`: how often each day counts, once by default. AUC is the chance that a fraud
        scores above an ordinary row, ties counting half; average precision is the sum over
        thresholds of (gain in recall) x precision (Manning, Raghavan, Schuetze 2008, chapter 8).
        """
        each = np.ones(len(self.fraud)) if weight is None else weight[self.place]
        frauds = np.cumsum(np.where(self.fraud, each, 0.0))[self.ends]
        others = np.cumsum(np.where(self.fraud, 0.0, each))[self.ends]
        if not len(self.ends) or not frauds[-1] or not others[-1]:
            return float("nan"), float("nan")
        gained = np.diff(frauds, prepend=0.0)
        above = frauds - gained / 2
        auc = float(np.diff(others, prepend=0.0) @ above) / (frauds[-1] * others[-1])
        alerts = frauds + others
        precision = np.divide(frauds, alerts, out=np.zeros_like(alerts), where=alerts > 0)
        return float(auc), float(gained @ precision / frauds[-1])


def rank(fraud: Flags, score: Floats, day: Integers) -> Ranking:
    """Order transactions by score. `score` may be inf but not NaN; `day` is any numbering."""
    order = np.argsort(-score, kind="stable")
    falling = score[order]
    ends = np.flatnonzero(np.r_[falling[1:] != falling[:-1], len(falling) > 0])
    days, place = np.unique(day, return_inverse=True)
    return Ranking(fraud[order], place[order].astype(np.int64), ends, len(days))


def auc(fraud: Flags, score: Floats) -> float:
    """Area under the ROC curve; NaN where a class is missing."""
    return rank(fraud, score, np.zeros(len(score), dtype=np.int64)).figures()[0]


def average_precision(fraud: Flags, score: Floats) -> float:
    """Average precision; NaN where a class is missing."""
    return rank(fraud, score, np.zeros(len(score), dtype=np.int64)).figures()[1]


@dataclass(frozen=True, slots=True, eq=False)
class CardDays:
    """What looking at the `k` most suspicious accounts of each day finds; one entry a day.

    `precision`: share of the k that are compromised that day; `ceiling`: the best possible;
    `caught` of `frauds`: fraud transactions on those accounts, and all of the day.
    """

    day: Integers
    precision: Floats
    ceiling: Floats
    caught: Integers
    frauds: Integers


def card_days(
    fraud: Flags, score: Floats, account: NDArray[np.uint64], day: Integers, k: int
) -> CardDays:
    """Card precision at k, day by day (Fraud Detection Handbook, chapter 4).

    An account's score is the highest of its transactions that day. An account found compromised
    is known from then on and out on later days. With fewer than k accounts, k still divides.
    """
    days = np.unique(day)
    by_day = [np.flatnonzero(day == one) for one in days]
    precision, caught, frauds = _looking(by_day, fraud, score, account, k)
    ceiling, _, _ = _looking(by_day, fraud, fraud.astype(np.float64), account, k)
    return CardDays(days, precision, ceiling, caught, frauds)


def _looking(
    by_day: Sequence[Integers], fraud: Flags, score: Floats, account: NDArray[np.uint64], k: int
) -> tuple[Floats, Integers, Integers]:
    known = np.zeros(0, dtype=np.uint64)
    precision = np.zeros(len(by_day))
    caught = np.zeros(len(by_day), dtype=np.int64)
    frauds = np.zeros(len(by_day), dtype=np.int64)
    for place, rows in enumerate(by_day):
        rows = rows[~np.isin(account[rows], known)]
        found = rows[alerts(score[rows], account[rows], k) & fraud[rows]]
        compromised = np.unique(account[found])
        known = np.union1d(known, compromised)
        precision[place] = len(compromised) / k
        caught[place], frauds[place] = len(found), fraud[rows].sum()
    return precision, caught, frauds


def alerts(score: Floats, account: NDArray[np.uint64], k: int) -> Flags:
    """All transactions of the k accounts with the highest scores.

    Equal scores go by account, so that the order of the input never matters.
    """
    order = np.lexsort((account, -score))
    accounts, first = np.unique(account[order], return_index=True)
    return np.isin(account, accounts[np.argsort(first)[:k]])


def interval(
    days: Sequence[int],
    figure: Callable[[Sequence[Floats]], float],
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Bootstrap interval over days (percentile method; Efron, Tibshirani 1993, chapter 13).

    `days`: how many days each part has. `figure` gets, for each part, how often each of its days
    was drawn (as many draws as days, with replacement) and returns the figure; draws in which it
    is NaN are left out.
    """
    rng = np.random.default_rng(seed)
    found = [
        figure([rng.multinomial(n, np.full(n, 1 / n)).astype(np.float64) for n in days])
        for _ in range(draws)
    ]
    kept = [value for value in found if not np.isnan(value)]
    if not kept:
        return float("nan"), float("nan")
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True, slots=True, eq=False)
class Alarms:
    """Ordinary transactions and those of them at or above a risk threshold; one entry a day."""

    ordinary: Integers
    alarms: Integers

    def share(self, weight: Floats | None = None) -> float:
        """Share of ordinary transactions with an alarm; NaN where there is none."""
        each = np.ones(len(self.ordinary)) if weight is None else weight
        total = float(each @ self.ordinary)
        return float(each @ self.alarms) / total if total else float("nan")


def false_alarms(fraud: Flags, risk: Floats, day: Integers, threshold: float) -> Alarms:
    """What the promise of risk is checked by: P(risk >= threshold) <= 1 - threshold on ordinary
    traffic. `risk` may be NaN: not scored, which goes to people as well."""
    days, place = np.unique(day, return_inverse=True)
    alarm = ~fraud & ~(risk < threshold)
    return Alarms(
        np.bincount(place[~fraud], minlength=len(days)).astype(np.int64),
        np.bincount(place[alarm], minlength=len(days)).astype(np.int64),
    )


def or_none(value: float) -> float | None:
    """A figure for JSON, which has no NaN: None where there is none."""
    return None if np.isnan(value) else float(value)
