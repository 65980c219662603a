"""Promises count working hours alone: by zone, by holiday, through nights when clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fraudwatch.domain.working_time import ALWAYS, WorkingHours, add, between
from fraudwatch.errors import Invalid

OFFICE = WorkingHours("Europe/Paris", (((540, 750), (810, 1080)),) * 5 + ((),) * 2)


@st.composite
def days(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    cuts = draw(st.lists(st.integers(0, 1440), unique=True, max_size=6).map(sorted))
    return tuple(zip(cuts[::2], cuts[1::2], strict=False))


@st.composite
def hours(draw: st.DrawFn) -> WorkingHours:
    zone = draw(
        st.sampled_from(
            ["UTC", "Europe/Paris", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe"]
        )
    )
    week = tuple(draw(days()) for _ in range(7))
    assume(sum(end - begin for day in week for begin, end in day) >= 60)
    holidays = draw(st.frozensets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=10))
    return WorkingHours(zone, week, holidays)


START = datetime(2026, 1, 1, tzinfo=UTC)
moments = st.floats(0, 366).map(lambda day: START + timedelta(days=day))
minutes = st.floats(0.5, 5_000)


@given(hours(), moments, minutes)
def test_as_many_minutes_are_between_as_were_added(
    worked: WorkingHours, start: datetime, count: float
) -> None:
    end = add(worked, start, count)
    assert end > start
    assert between(worked, start, end) == pytest.approx(count, abs=1e-4)


@given(hours(), moments, minutes, minutes, st.floats(0, 10_000))
def test_more_work_or_a_later_start_never_ends_earlier(
    worked: WorkingHours, start: datetime, count: float, more: float, later: float
) -> None:
    end = add(worked, start, count)
    assert add(worked, start, count + more) > end
    assert add(worked, start + timedelta(minutes=later), count) >= end
    parts = add(worked, end, more)
    assert abs(parts - add(worked, start, count + more)) < timedelta(milliseconds=1)


@given(hours(), moments, minutes)
def test_a_promise_ends_within_working_hours(
    worked: WorkingHours, start: datetime, count: float
) -> None:
    end = add(worked, start, count) - timedelta(microseconds=1)
    day = end.astimezone(ZoneInfo(worked.zone)).date()
    assert day not in worked.holidays
    assert worked.week[day.weekday()]
    assert between(worked, end, end + timedelta(microseconds=1)) > 0


@given(moments, minutes)
def test_around_the_clock_is_plain_time(start: datetime, count: float) -> None:
    assert abs(add(ALWAYS, start, count) - start - timedelta(minutes=count)) < timedelta(
        microseconds=2
    )


def test_an_evening_before_a_holiday_ends_after_it() -> None:
    friday = datetime(2026, 4, 3, 17, 30, tzinfo=ZoneInfo("Europe/Paris"))
    easter = WorkingHours(OFFICE.zone, OFFICE.week, frozenset({date(2026, 4, 6)}))
    assert add(easter, friday, 60) == datetime(2026, 4, 7, 9, 30, tzinfo=ZoneInfo("Europe/Paris"))
    assert between(easter, friday, datetime(2026, 4, 7, 8, tzinfo=UTC)) == 90


def test_a_night_in_which_clocks_go_back_has_an_hour_more() -> None:
    night = WorkingHours("Europe/Paris", (((0, 360),),) * 7)
    midnight = datetime(2026, 10, 25, tzinfo=ZoneInfo("Europe/Paris"))
    assert between(night, midnight, midnight + timedelta(days=1)) == 7 * 60
    assert between(night, midnight - timedelta(days=1), midnight) == 6 * 60
    spring = datetime(2026, 3, 29, tzinfo=ZoneInfo("Europe/Paris"))
    assert between(night, spring, spring + timedelta(days=1)) == 5 * 60


@pytest.mark.parametrize(
    ("zone", "week"),
    [
        ("Nowhere/Here", ((((0, 1440)),),) * 7),
        ("../etc/passwd", (((0, 1440),),) * 7),
        ("UTC", ((),) * 7),
        ("UTC", (((0, 1440),),) * 6),
        ("UTC", (((60, 30),),) * 7),
        ("UTC", (((0, 60), (30, 90)),) * 7),
        ("UTC", (((0, 1441),),) * 7),
    ],
)
def test_hours_that_cannot_be_are_refused(
    zone: str, week: tuple[tuple[tuple[int, int], ...], ...]
) -> None:
    with pytest.raises(Invalid):
        WorkingHours(zone, week)


def test_holidays_without_end_are_refused_where_a_promise_is_asked_for() -> None:
    start = date(2026, 1, 1)
    never = frozenset(start + timedelta(days=day) for day in range(4_000))
    with pytest.raises(Invalid, match="years"):
        add(WorkingHours("UTC", ALWAYS.week, never), datetime(2026, 1, 2, tzinfo=UTC), 1)
