"""What may be learnt from history: which rows train, which calibrate, which do neither. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraudwatch.history import DAY, FRAUD, LEGITIMATE, UNKNOWN, History

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Plan:
    """How history is divided.

    `calibration_share` of the transactions of the last `calibration_days`, or of so many more days
    that they are `least_calibration`, calibrate and train nothing. `most_matured`: at most so many
    matured transactions without label are learnt as ordinary, weighted to stand for all of them.
    """

    calibration_share: float = 0.2
    calibration_days: float = 7.0
    least_calibration: int = 1000
    most_matured: int = 50_000


DEFAULT_PLAN = Plan()


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """Row numbers of a history by use. `weight` goes with `labelled`, as does `fraud`."""

    unsupervised: NDArray[np.int64]
    calibration: NDArray[np.int64]
    labelled: NDArray[np.int64]
    fraud: Flags
    weight: NDArray[np.float64]


def training_set(history: History, plan: Plan = DEFAULT_PLAN) -> TrainingSet:
    """Which rows train the detectors, which the label part, and which calibrate.

    Calibration must be like the traffic to come, or the promise of risk (1 % of ordinary traffic
    at 0.99 and above) breaks. So its rows are drawn by a hash of the transaction id, blind to
    scores and labels: with alerts left out, the highest ordinary scores would be missing and
    alerts would come too often. Drawn rows train nothing, labelled or not, for a model knows its
    own training rows too well. Only known frauds are taken out of the draw (they are not ordinary
    traffic) and may train. Undecided and open rows stay in: a fraud among them makes risk
    smaller, never larger than promised.

    Detectors learn from what is not known or suspected to be fraud: rows labelled fraud, rows
    flagged and not cleared by a person, and rows in open cases are left out.

    The label part learns from decided rows. A row without label says nothing about fraud while
    its truth may still come; once matured it counts as ordinary.
    """
    known_fraud, known_legitimate = history.fraud == FRAUD, history.fraud == LEGITIMATE
    drawn = _drawn(history, plan)
    suspected = history.flagged & ~known_legitimate
    ordinary = ~known_fraud & ~suspected & ~history.open & ~drawn
    decided = (known_fraud | (known_legitimate & ~drawn)) & ~history.open
    labelled = np.flatnonzero(decided)
    matured = np.flatnonzero(ordinary & (history.fraud == UNKNOWN) & history.matured)
    kept = _thinned(history, matured, plan.most_matured)
    weight_of_kept = np.full(len(kept), len(matured) / max(1, len(kept)))
    return TrainingSet(
        unsupervised=np.flatnonzero(ordinary),
        calibration=np.flatnonzero(drawn & ~known_fraud),
        labelled=np.concatenate([labelled, kept]),
        fraud=known_fraud[np.concatenate([labelled, kept])],
        weight=np.concatenate([np.ones(len(labelled)), weight_of_kept]),
    )


def _drawn(history: History, plan: Plan) -> Flags:
    if not len(history):
        return np.zeros(0, dtype=np.bool_)
    small = history.transaction / 2.0**64 < plan.calibration_share
    since = history.time_us.max() - int(plan.calibration_days * DAY)
    newest = np.sort(history.time_us[small])[-plan.least_calibration :]
    if len(newest):
        since = min(since, newest[0] - 1)
    return np.asarray(small & (history.time_us > since), dtype=np.bool_)


def _thinned(history: History, rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of the rows: those with the smallest hashes, so the same ones every time."""
    if len(rows) <= most:
        return rows
    return np.sort(rows[np.argpartition(history.transaction[rows], most)[:most]])
