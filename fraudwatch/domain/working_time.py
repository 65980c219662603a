"""Working hours: when a promised time ends that counts only while people are at work.

Hours are told in local wall time of a named zone and counted as time that really passes: a night in
which clocks go back has an hour more. Minutes are whole or not; datetimes are aware, answers UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from fraudwatch.errors import Invalid

DAY = 1440  # minutes
_FARTHEST = 3660  # days that a promise looks ahead
Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """When people work.

    `week` has seven entries, Monday first, each with spans in minutes after midnight, in order,
    apart from each other: `((540, 1020),)` is 9 to 17 o'clock, `(0, 1440)` the whole day. No work
    is done on `holidays`. Raises `Invalid`.
    """

    zone: str
    week: tuple[tuple[tuple[int, int], ...], ...]
    holidays: frozenset[date] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as error:
            raise Invalid(f"there is no time zone {self.zone!r}") from error
        if len(self.week) != 7 or not any(self.week):
            raise Invalid("working hours need seven days, at least one of them with hours")
        for spans in self.week:
            flat = [minute for span in spans for minute in span]
            if flat != sorted(set(flat)) or not all(0 <= minute <= DAY for minute in flat):
                raise Invalid("the hours of a day must be in order and apart, from 00:00 to 24:00")


ALWAYS = WorkingHours("UTC", (((0, DAY),),) * 7)
"""Around the clock."""


def add(hours: WorkingHours, start: datetime, minutes: float) -> datetime:
    """When so many minutes of work have passed since `start`; `minutes` is above 0.

    Raises `Invalid` where no work is done for ten years.
    """
    left = timedelta(minutes=minutes)
    for begin, end in _spans_after(hours, start):
        if end - begin >= left:
            return begin + left
        left -= end - begin
    raise Invalid("no work is done for years: look at the holidays")


def between(hours: WorkingHours, start: datetime, end: datetime) -> float:
    """Minutes of work from `start` to `end`; 0 where `end` is not after it."""
    total = timedelta(0)
    for begin, until in _spans_after(hours, start):
        if begin >= end:
            break
        total += min(until, end) - begin
    return total / timedelta(minutes=1)


def _spans_after(hours: WorkingHours, start: datetime) -> Iterator[Span]:
    """Spans of work from `start` on, in order and apart, in UTC."""
    zone = ZoneInfo(hours.zone)
    first = start.astimezone(zone).date() - timedelta(days=1)
    reached = start.astimezone(UTC)
    for days in range(_FARTHEST):
        day = first + timedelta(days=days)
        if day in hours.holidays:
            continue
        for minutes in hours.week[day.weekday()]:
            begin, end = (_moment(zone, day, minute) for minute in minutes)
            # Where clocks go forward two spans may touch the same hour, or one have none.
            begin = max(begin, reached)
            if begin < end:
                reached = end
                yield begin, end


def _moment(zone: ZoneInfo, day: date, minute: int) -> datetime:
    days, minute = divmod(minute, DAY)
    at = time(minute // 60, minute % 60)
    return datetime.combine(day + timedelta(days=days), at, zone).astimezone(UTC)
