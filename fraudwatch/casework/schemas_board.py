"""What the API gives of the board."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from fraudwatch.casework.schemas import Answer, shown

ASSUMES = (
    "Cases come as in the same hours of the same weekday in up to eight weeks before; the interval"
    " holds four of five such weeks. What waits now is done in the shift too. A person spends 80 %"
    " of the shift on cases, and nine of ten new cases are looked at within the promised time"
    " (Erlang C: arrivals at random, one line). Minutes a case takes are the median of the last 28"
    " days, or the queue's own figure where fewer than 20 were decided."
)
FORECAST: dict[str, Any] = {
    "weeks": 8,
    "expected": 61.5,
    "low": 48.9,
    "high": 74.1,
    "handling_minutes": 7.5,
    "handling_measured": True,
    "people_now": 1,
    "people": 2,
    "people_low": 2,
    "people_high": 3,
}
QUEUE: dict[str, Any] = {
    "name": "business",
    "title": "Business accounts, large amounts",
    "open": 31,
    "waiting": 24,
    "held": 4,
    "aside": 3,
    "escalated": 1,
    "late": 1,
    "due_soon": 2,
    "oldest_at": "2026-03-02T08:11:00Z",
    "mean_age_minutes": 74,
    "decided_day": 58,
    "decided_week": 301,
    "people": 3,
    "forecast": FORECAST,
}
PERSON: dict[str, Any] = {
    "name": "ada",
    "away": False,
    "holds": {"business": 1},
    "decided_day": {"business": 14, "rest": 3},
    "decided_week": {"business": 70, "rest": 22},
}
SHIFT = {"since": "2026-03-02T13:00:00Z", "until": "2026-03-02T21:00:00Z"}


class ForecastOut(Answer):
    """How many cases will come in the shift, and how many people it needs."""

    model_config = shown(**FORECAST)
    weeks: int = Field(description="That it stands on; 0: nothing is known of such hours.")
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    handling_minutes: float
    handling_measured: bool = Field(description="False: the queue's own figure.")
    people_now: int = Field(description="For what waits already.")
    people: int | None = None
    people_low: int | None = None
    people_high: int | None = None


class BoardQueue(Answer):
    model_config = shown(**QUEUE)
    name: str
    title: str
    open: int
    waiting: int = Field(description="Held by nobody, and not put aside.")
    held: int
    aside: int = Field(description="Put aside.")
    escalated: int
    late: int = Field(description="Past the due time.")
    due_soon: int = Field(description="Due within an hour.")
    oldest_at: datetime | None = Field(None, description="Of those that wait.")
    mean_age_minutes: int | None = Field(None, description="Of those that wait.")
    decided_day: int = Field(description="Findings of people, in 24 hours.")
    decided_week: int
    people: int = Field(description="Whose work it is, and who are not away in the shift.")
    forecast: ForecastOut


class BoardPerson(Answer):
    """What one person holds and has found, by queue."""

    model_config = shown(**PERSON)
    name: str
    away: bool
    holds: dict[str, int]
    decided_day: dict[str, int]
    decided_week: dict[str, int]


class Shift(Answer):
    model_config = shown(**SHIFT)
    since: datetime
    until: datetime


class BoardOut(Answer):
    model_config = shown(
        at="2026-03-02T12:00:00Z", shift=SHIFT, queues=[QUEUE], people=[PERSON], assumes=ASSUMES
    )
    at: datetime
    shift: Shift
    queues: list[BoardQueue]
    people: list[BoardPerson]
    assumes: Annotated[str, Field(description="What the forecast takes for granted.")] = ASSUMES
