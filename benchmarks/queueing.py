"""A model of an installation: batches that pass worker, database and broker, one after another.

A worker takes what waits in its share of the stream, at most `BATCH_ROWS`, computes, waits for its
database connection to write and commit, waits for the broker to take the decisions, and begins
anew. So it is in one of three stages at any moment; each stage needs processor time (`Cost`) from
the cores that it runs on, which all who are there share evenly. Nothing is drawn at random: the
same input gives the same answer. What it leaves out: reading ahead while a batch is computed (it
makes workers faster), locks inside of the database, and other users of the machine, for whom fewer
cores are given.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from scipy.optimize import nnls

BATCH_ROWS = 2000
STAGES = ("worker", "database", "broker")
_NOTHING = 1e-6  # of a row: less is rounding
_SHORTEST = 1e-9  # seconds; so that rounding cannot stop the clock
_SAMPLES = 8  # rows of a batch whose waiting is looked at
_NEXT = {"worker": "database", "database": "broker"}


@dataclass(frozen=True)
class Cost:
    """Processor time of one stage, in microseconds: of each row, and of each batch."""

    row_us: float
    batch_us: float

    def seconds(self, rows: float) -> float:
        return (self.row_us * rows + self.batch_us) / 1e6

    def each(self, rows: float) -> float:
        """Microseconds of one row in batches of so many."""
        return self.row_us + self.batch_us / rows


def fitted(measured: Sequence[tuple[float, float, float]]) -> tuple[float, Cost]:
    """What explains measurements best, none of it below 0: the cores that a stage takes even if
    nothing comes, and its cost.

    Each measurement is (rows a second, rows in a batch, microseconds a row with all of that in it);
    three or more, of different batches and rates. A rate without end stands for a full topic, where
    nobody is idle. All count alike, however large.
    """
    shares = [[1e6 / (rate * us), 1 / us, 1 / (rows * us)] for rate, rows, us in measured]
    (idle, row, batch), _ = nnls(np.array(shares), np.ones(len(measured)))
    return float(idle), Cost(float(row), float(batch))


@dataclass(frozen=True)
class Site:
    """Workers, and the cores of each stage; `together`: all stages share these cores instead."""

    workers: int
    together: float = 0.0
    worker_cores: float = 0.0
    database_cores: float = 0.0
    broker_cores: float = 0.0

    def pool(self, stage: str) -> tuple[str, float]:
        """Name and number of the cores that a stage runs on."""
        if self.together:
            return "together", self.together
        return stage, float(getattr(self, f"{stage}_cores"))


@dataclass(frozen=True)
class Flow:
    """What came out: when the last row was done, the longest waits, and what waited over time.

    `waits` are (seconds at which it was due, seconds until its decision, rows it stands for).
    """

    rows: float
    seconds: float
    waits: tuple[tuple[float, float, float], ...]
    lags: tuple[tuple[float, float], ...]
    busy: Mapping[str, float]  # seconds of processor of each stage

    @property
    def per_second(self) -> float:
        return self.rows / self.seconds

    def wait(self, share: float, begin: float = 0.0, end: float = math.inf) -> float:
        """Seconds that this share of the rows due in that time did not exceed."""
        chosen = sorted((wait, rows) for due, wait, rows in self.waits if begin <= due < end)
        left = share * sum(rows for _, rows in chosen)
        for wait, rows in chosen:
            left -= rows
            if left <= 1e-9:
                return wait
        raise ValueError("no row was due in that time")

    def made_up(self, after: float, usual: float) -> float:
        """Seconds after that moment until no more than usual waits; infinite if never."""
        return min(
            (at - after for at, lag in self.lags if at >= after and lag <= usual), default=math.inf
        )


class Arrivals:
    """How many rows are due by a moment, and when a row is due."""

    def __init__(self, rates: Sequence[tuple[float, float]], waiting: float) -> None:
        self._ends = [0.0, *accumulate(seconds for seconds, _ in rates)]
        self._sums = [waiting, *accumulate((s * r for s, r in rates), initial=waiting)][1:]
        self._rates = [rate for _, rate in rates]
        self.total = self._sums[-1]

    def by(self, at: float) -> float:
        """Rows due by then."""
        number = min(bisect_right(self._ends, at) - 1, len(self._rates))
        if number == len(self._rates):
            return self.total
        return self._sums[number] + (at - self._ends[number]) * self._rates[number]

    def due(self, row: float) -> float:
        """When that row is due; infinite beyond the last one."""
        if row <= self._sums[0]:
            return 0.0
        for number, rate in enumerate(self._rates):
            if row <= self._sums[number + 1] + _NOTHING and rate:
                return self._ends[number] + (row - self._sums[number]) / rate
        return math.inf


@dataclass
class _Worker:
    """One worker: its stage, the processor seconds left in it, and its batch."""

    share: float
    stage: str = ""
    left: float = 0.0
    taken: float = 0.0
    rows: float = 0.0
    since: float = 0.0


def simulate(
    site: Site,
    costs: Mapping[str, Cost],
    rates: Sequence[tuple[float, float]] = (),
    *,
    waiting: float = 0.0,
    shares: Sequence[float] = (),
) -> Flow:
    """Let rows come, `rates` being (seconds, rows a second) in turn, after so many that wait.

    `shares` says which part of the rows each worker gets; evenly if not given. Runs until all are
    done.
    """
    arrivals = Arrivals(rates, waiting)
    each = shares or [1 / site.workers] * site.workers
    workers = [_Worker(share) for share in each]
    waits: list[tuple[float, float, float]] = []
    lags: list[tuple[float, float]] = [(0.0, waiting)]
    busy = dict.fromkeys(STAGES, 0.0)
    at = done = 0.0
    while any(w.stage or w.share * arrivals.total - w.taken > _NOTHING for w in workers):
        for worker in workers:
            if not worker.stage:
                _take(worker, arrivals, at, costs)
        speeds = _speeds(site, workers)
        step = min(
            worker.left / speeds[worker.stage]
            if worker.stage
            else max(_SHORTEST, _next_due(worker, arrivals) - at)
            for worker in workers
        )
        at += step
        for worker in workers:
            if not worker.stage:
                continue
            spent = step * speeds[worker.stage]
            busy[worker.stage] += spent
            worker.left -= spent
            if worker.left > 1e-12:
                continue
            worker.stage = _NEXT.get(worker.stage, "")
            if worker.stage:
                worker.left = costs[worker.stage].seconds(worker.rows)
            else:
                done += worker.rows
                waits += _waits(worker, arrivals, at)
                lags.append((at, arrivals.by(at) - done))
    return Flow(done, at, tuple(waits), tuple(lags), busy)


def _next_due(worker: _Worker, arrivals: Arrivals) -> float:
    """When a batch can begin: with the next whole row, or with what is left of the last one."""
    last = worker.share * arrivals.total
    if last - worker.taken <= _NOTHING:
        return math.inf
    return arrivals.due(min(worker.taken + 1, last) / worker.share)


def _take(worker: _Worker, arrivals: Arrivals, at: float, costs: Mapping[str, Cost]) -> None:
    """The next batch, if a row waits, or the last part of one."""
    here = worker.share * arrivals.by(at) - worker.taken
    last = worker.share * arrivals.total - worker.taken
    if last <= _NOTHING or here < min(1.0, last) - _NOTHING:
        return
    worker.rows = min(here, BATCH_ROWS)
    worker.since = worker.taken
    worker.taken += worker.rows
    worker.stage, worker.left = "worker", costs["worker"].seconds(worker.rows)


def _speeds(site: Site, workers: Sequence[_Worker]) -> dict[str, float]:
    """Of a core, what each one in a stage gets."""
    there: dict[str, int] = {}
    for worker in workers:
        if worker.stage:
            name, _ = site.pool(worker.stage)
            there[name] = there.get(name, 0) + 1
    found = {}
    for stage in STAGES:
        name, cores = site.pool(stage)
        found[stage] = min(1.0, cores / there[name]) if name in there else 1.0
    return found


def _waits(worker: _Worker, arrivals: Arrivals, at: float) -> list[tuple[float, float, float]]:
    """Some rows of the batch that is done, spread over it."""
    found = []
    for number in range(_SAMPLES):
        row = worker.since + worker.rows * (number + 0.5) / _SAMPLES
        due = arrivals.due(row / worker.share)
        found.append((due, at - due, worker.rows / _SAMPLES))
    return found
