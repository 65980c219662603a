"""The `loop` protocol: days of scoring, people, labels and learning, replayed on recorded
transactions. docs/evaluation.md says what it assumes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudwatch.detectors.training import DEFAULT, Progress, TrainingConfig
from fraudwatch.errors import ConfigurationError, Invalid
from fraudwatch.evaluation import THRESHOLD, Recorded, Scored, day_date, day_number, result, score
from fraudwatch.features.formulas import merchant_features
from fraudwatch.features.profiles import (
    EMPTY_PROFILES,
    LABEL_DELAY_DAYS,
    LONGEST_DAYS,
    MerchantProfiles,
    build_profiles,
    day_table,
)
from fraudwatch.features.state import AccountState
from fraudwatch.history import FRAUD, LEGITIMATE, UNKNOWN, History
from fraudwatch.learning import train
from fraudwatch.oversight import metrics
from fraudwatch.training_set import DEFAULT_PLAN, Plan

PARTS = ((1, 7), (8, 30), (31, 60))
REACH = LONGEST_DAYS + LABEL_DELAY_DAYS  # days that profiles look back
# A model for one day is refitted every morning: on fewer rows than one that serves for weeks.
DAILY = replace(DEFAULT, most_training_rows=20_000)

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """What the service is worth, with people in it.

    Each day the `budget` accounts with the highest risk are looked at, and `audits` cleared
    transactions drawn at random. `chargeback_days`: how long every other fraud takes to become
    known, None: it never does. `analyst_error`: how often a person's label is wrong. `block_days`:
    how long an account is out in which people found fraud. `history_days` before `start` train the
    first model, and as many days every later one.
    """

    start: date = date(2018, 5, 31)
    days: int = 60
    history_days: int = 30
    budget: int = 100
    audits: int = 50
    chargeback_days: int | None = 7
    analyst_error: float = 0.0
    block_days: int = 14
    threshold: float = THRESHOLD
    seed: int = 1
    config: TrainingConfig = DAILY
    plan: Plan = DEFAULT_PLAN

    def __post_init__(self) -> None:
        if min(self.days, self.history_days, self.budget) < 1:
            raise Invalid("days, history days and the budget must be 1 or more")
        if min(self.audits, self.block_days, self.chargeback_days or 0) < 0:
            raise Invalid("audits, block days and chargeback days must be 0 or more")
        if not 0 <= self.analyst_error <= 1 or not 0 < self.threshold < 1:
            raise Invalid("the analysts' error must be 0 to 1, the threshold between 0 and 1")


@dataclass(frozen=True, slots=True, eq=False)
class LiveDay:
    """One day of service: what was scored, which rows people looked at, labels given so far."""

    scored: Scored
    alerted: Flags
    labels: int


class Service:
    """The service as a recorded world would have met it, day by day. Not thread-safe.

    Rows are those of the recorded file up to the last live day. A row's label is what is known at
    the present day: never more.
    """

    def __init__(self, recorded: Recorded, options: LoopOptions) -> None:
        self.options = options
        self.first = day_number(options.start)
        rows = np.flatnonzero(recorded.day < self.first + options.days)
        if not len(rows) or recorded.day[rows[-1]] != self.first + options.days - 1:
            raise ConfigurationError(
                f"{recorded.source}: no transactions up to {day_date(self.first + options.days)}: "
                "choose --start and --days to fit"
            )
        self.columns = recorded.columns.take(rows)
        self.transaction = recorded.transaction[rows]
        self.truth, self.day = recorded.fraud[rows], recorded.day[rows]
        self.spec = recorded.spec
        self.features = AccountState(recorded.spec).extend(self.columns, EMPTY_PROFILES).values
        self.label = np.full(len(rows), UNKNOWN, dtype=np.int8)
        self.flagged = np.zeros(len(rows), dtype=np.bool_)
        self.sampled = np.zeros(len(rows), dtype=np.bool_)
        self.seen = self.day < self.first
        self.given = 0
        _, self._account = np.unique(self.columns.account, return_inverse=True)
        self._out_until = np.zeros(int(self._account.max()) + 1, dtype=np.int64)
        self._tables = {
            int(day): day_table(self.columns.take(np.flatnonzero(self.day == day)))
            for day in np.unique(self.day)
        }
        self._rng = np.random.default_rng(options.seed)
        self._decided: tuple[Integers, NDArray[np.int8]] | None = None

    def morning(self, day: int) -> None:
        """What was decided yesterday and what was charged back by now become known; the day's
        merchant profiles are made of that."""
        if self._decided is not None:
            rows, labels = self._decided
            self._learn(rows, labels)
            self._decided = None
            confirmed = self._account[rows[labels == FRAUD]]
            self._out_until[confirmed] = day + self.options.block_days
        delay = self.options.chargeback_days
        if delay is not None:
            # Known `delay` days after it happened, so by midnight for all of the day before that.
            late = self.truth & (self.day < day - delay) & (self.label != FRAUD)
            self._learn(np.flatnonzero(late), np.int8(FRAUD))
        profiles = self._profiles(day)
        rows = np.flatnonzero(self.day == day)
        own = merchant_features(self.columns.take(rows), profiles)
        for place, name in enumerate(self.spec.names):
            if name in own:
                self.features[rows, place] = own[name]

    def _learn(self, rows: Integers, labels: Any) -> None:
        self.label[rows] = labels
        self.given += int((self.seen[rows] & (self.day[rows] >= self.first)).sum())

    def _profiles(self, day: int) -> MerchantProfiles:
        known = np.flatnonzero((self.label == FRAUD) & (self.day < day))
        tables = [table for past, table in self._tables.items() if day - REACH <= past < day]
        frauds = day_table(self.columns.take(known), np.ones(len(known), dtype=np.int64))
        nothing = np.zeros(len(frauds), dtype=np.int64)
        only_frauds = replace(frauds, count=nothing, amount_e4=nothing)
        return build_profiles(day_date(day), [*tables, only_frauds])

    def history(self, day: int) -> History:
        """What the learning code gets on the morning of a day.

        Nothing that was decided about transactions before the first live day: the service starts
        without labels. (Merchant profiles know chargebacks of that time.)
        """
        rows = np.flatnonzero(
            (self.day >= day - self.options.history_days) & (self.day < day) & self.seen
        )
        live = self.day[rows] >= self.first
        delay = self.options.chargeback_days
        old = self.day[rows] < day - delay if delay is not None else np.zeros_like(live)
        return History(
            spec=self.spec,
            features=self.features[rows],
            time_us=self.columns.time_us[rows],
            account=self.columns.account[rows],
            transaction=self.transaction[rows],
            fraud=np.where(live, self.label[rows], UNKNOWN).astype(np.int8),
            flagged=self.flagged[rows],
            sampled=self.sampled[rows],
            open=np.zeros(len(rows), dtype=np.bool_),
            matured=live & old,
        )

    def live(self, day: int) -> LiveDay:
        """Score a day with a model trained that morning; people look at what it shows them."""
        options = self.options
        model = train(
            self.history(day), seed=options.seed + day, plan=options.plan, config=options.config
        )
        rows = np.flatnonzero((self.day == day) & (self._out_until[self._account] <= day))
        self.seen[rows] = True
        account = self.columns.account[rows]
        rank, risk = score(model, self.features[rows])
        alerted = metrics.alerts(rank, account, options.budget)
        cleared = rows[~alerted]
        audited = self._rng.choice(cleared, size=min(options.audits, len(cleared)), replace=False)
        self.flagged[rows[alerted]] = True
        self.sampled[audited] = True
        looked_at = np.concatenate([rows[alerted], audited])
        wrong = self._rng.random(len(looked_at)) < options.analyst_error
        found = self.truth[looked_at] != wrong
        self._decided = looked_at, np.where(found, FRAUD, LEGITIMATE).astype(np.int8)
        day_of = np.full(len(rows), day, dtype=np.int64)
        return LiveDay(Scored(self.truth[rows], rank, risk, account, day_of), alerted, self.given)


def evaluate_loop(
    recorded: Recorded, options: LoopOptions, progress: Progress | None = None
) -> dict[str, Any]:
    """Run the days; see docs/evaluation.md for the result."""
    tell: Callable[[str, float], None] = progress or (lambda _stage, _share: None)
    began = time.perf_counter()
    tell("computing features", 0.0)
    service = Service(recorded, options)
    days = []
    for day in range(service.first - options.history_days, service.first):
        service.morning(day)
    for number in range(options.days):
        tell(f"day {number + 1} of {options.days}", number / options.days)
        day = service.first + number
        service.morning(day)
        days.append(service.live(day))
    spans = [days[first - 1 : last] for first, last in PARTS if len(days) >= first]
    return result(
        {
            "protocol": "loop",
            "labels": "analysts"
            if options.chargeback_days is None
            else f"analysts, chargebacks after {options.chargeback_days} days",
        },
        recorded,
        [_joined(span) for span in spans],
        headline=[len(spans) - 1],
        k=options.budget,
        threshold=options.threshold,
        seed=options.seed,
        seconds=time.perf_counter() - began,
        more=[{"labels": span[-1].labels, "caught": _caught(span)} for span in spans],
    )


def _joined(span: list[LiveDay]) -> Scored:
    scored = [day.scored for day in span]
    return Scored(
        *(
            np.concatenate([getattr(day, name) for day in scored])
            for name in ("fraud", "rank", "risk", "account", "day")
        )
    )


def _caught(span: list[LiveDay]) -> float:
    """Share of the fraud transactions of unblocked accounts that were in the alerts."""
    frauds = sum(int(day.scored.fraud.sum()) for day in span)
    caught = sum(int((day.scored.fraud & day.alerted).sum()) for day in span)
    return caught / frauds if frauds else float("nan")
