"""The staffing forecast is a stated sum: more work never needs fewer people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.domain.staffing import forecast, people_in_time, wait_share

counts = st.lists(st.integers(0, 500), min_size=1, max_size=8)
minutes = st.floats(1, 120)


def test_erlang_c_gives_the_values_of_its_tables() -> None:
    """Two erlangs and three people: four of nine wait; one and two: a third."""
    assert wait_share(3, 2.0, 60.0, 0.0) == pytest.approx(4 / 9)
    assert wait_share(2, 1.0, 60.0, 0.0) == pytest.approx(1 / 3)
    assert wait_share(2, 2.0, 60.0, 0.0) == 1.0
    assert wait_share(3, 2.0, 60.0, 60.0) == pytest.approx(4 / 9 * 0.36788, rel=1e-4)
    assert wait_share(500, 480.0, 60.0, 0.0) < 0.5


@given(st.floats(0.1, 200), minutes, st.floats(0, 500))
def test_enough_people_look_in_time_and_one_fewer_do_not(
    per_hour: float, handling: float, due: float
) -> None:
    people = people_in_time(per_hour, handling, due)
    assert wait_share(people, per_hour, handling, due) <= 0.1
    assert wait_share(people - 1, per_hour, handling, due) > 0.1


@given(counts, st.integers(0, 300), minutes, st.floats(1, 24))
def test_the_interval_holds_the_expectation_and_people_grow_with_it(
    arrivals: list[int], waiting: int, handling: float, hours: float
) -> None:
    found = forecast(
        arrivals, waiting=waiting, handling_minutes=handling, due_minutes=60, hours=hours
    )
    assert found.expected is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.expected <= found.high
    assert found.people is not None
    assert found.people_low is not None
    assert found.people_high is not None
    assert found.people_now <= found.people_low <= found.people <= found.people_high
    assert found.people * hours * 60 * 0.8 >= (found.expected + waiting) * handling - 1e-3


def test_weeks_that_differ_widen_the_interval() -> None:
    def width(arrivals: list[int]) -> float:
        found = forecast(arrivals, waiting=0, handling_minutes=10, due_minutes=60, hours=8)
        assert found.high is not None
        assert found.low is not None
        return found.high - found.low

    assert width([40, 60, 20, 80]) > width([50, 50, 50, 50]) > width([50] * 8)


def test_without_history_only_what_waits_is_told() -> None:
    found = forecast([], waiting=30, handling_minutes=10, due_minutes=60, hours=8)
    assert (found.weeks, found.expected, found.people) == (0, None, None)
    assert found.people_now == 1
