"""How many people a shift needs: simple, and open about what it takes for granted.

Arrivals are taken to be like those of the same hours of the same weekday in the weeks before. The
interval is that of one more such week: a normal one with the variance between weeks, and at least
that of a Poisson process. Work is arrivals and what waits already, times the minutes that a case
takes; a person is busy with cases for a stated share of the shift. Beyond that people must be free
often enough that a new case is looked at in time: Erlang's formula C (A. K. Erlang, 1917), for
arrivals at random, handling times that vary at random, one line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BUSY = 0.8  # share of a shift that goes into cases: the rest is breaks, talks, learning
LEVEL = 0.8  # of the interval
_NORMAL = 1.2816  # the normal distribution has 0.8 within so many standard deviations
_IN_TIME = 0.9  # share of new cases that is looked at within the promised time
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Forecast:
    """`expected` cases come, in `LEVEL` of such weeks from `low` to `high`; people for each.

    `weeks` says how many weeks it stands on. None of them: all but `people_now` is None, and
    `people_now` is for what waits already.
    """

    weeks: int
    expected: float | None
    low: float | None
    high: float | None
    people_now: int
    people: int | None
    people_low: int | None
    people_high: int | None


def forecast(
    arrivals: Sequence[int],
    *,
    waiting: int,
    handling_minutes: float,
    due_minutes: float,
    hours: float,
) -> Forecast:
    """The people that a shift of so many hours needs.

    `arrivals` are counts of the same hours in earlier weeks; `waiting` cases are there already;
    `due_minutes` is the promised time of the cases that are promised the soonest look.
    """

    def needed(count: float) -> int:
        load = (count + waiting) * handling_minutes / (60.0 * hours * BUSY)
        in_time = people_in_time(count / hours, handling_minutes, due_minutes)
        return max(math.ceil(load - 1e-9), in_time)

    now = needed(0.0)
    if not arrivals:
        return Forecast(0, None, None, None, now, None, None, None)
    weeks = len(arrivals)
    mean = sum(arrivals) / weeks
    between = sum((count - mean) ** 2 for count in arrivals) / (weeks - 1) if weeks > 1 else mean
    spread = _NORMAL * math.sqrt(max(mean, between) * (1.0 + 1.0 / weeks))
    low, high = max(0.0, mean - spread), mean + spread
    return Forecast(weeks, mean, low, high, now, needed(mean), needed(low), needed(high))


def wait_share(people: int, per_hour: float, handling_minutes: float, minutes: float) -> float:
    """The share of new cases that waits for longer than so many minutes (Erlang C); 1 where people
    cannot keep up."""
    load = per_hour * handling_minutes / 60.0
    if load <= 0:
        return 0.0
    if people <= load:
        return 1.0
    # Erlang B by its recursion, which stays in range for any load.
    blocked = 1.0
    for count in range(1, people + 1):
        blocked = load * blocked / (count + load * blocked)
    waits = blocked / (1.0 - load / people * (1.0 - blocked))
    return waits * math.exp(-(people - load) * minutes / handling_minutes)


def people_in_time(per_hour: float, handling_minutes: float, minutes: float) -> int:
    """The fewest people with whom nine of ten new cases are looked at within so many minutes."""
    if per_hour <= 0:
        return 0
    for people in range(math.floor(per_hour * handling_minutes / 60.0) + 1, _MOST):
        if wait_share(people, per_hour, handling_minutes, minutes) <= 1.0 - _IN_TIME:
            return people
    return _MOST
