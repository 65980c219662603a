"""What the API takes about queues. Rules are stored as they are taken here."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from fraudwatch.casework.bodies import Key, example
from fraudwatch.casework.bodies_cases import Reason
from fraudwatch.domain.decision import Outcome
from fraudwatch.domain.queues import FAIR_HOURS, Match, Queue
from fraudwatch.domain.working_time import ALWAYS, WorkingHours

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

Word = Annotated[Key, Field(max_length=40)]
Words = Annotated[list[Word], Field(max_length=200)]
Amount = Annotated[Decimal, Field(ge=0, max_digits=16, decimal_places=4)]
Minutes = Annotated[int, Field(ge=1, le=60 * 24 * 90)]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]
Most = Annotated[int, Field(ge=1, le=10_000)]
Spans = Annotated[list[tuple[Clock, Clock]], Field(max_length=10)]

_MATCH = {"outcome": "high_risk", "amount_from": "5000", "segments": ["business"]}
_HOURS = {
    "zone": "Europe/Paris",
    "monday": [["09:00", "12:30"], ["13:30", "18:00"]],
    "tuesday": [["09:00", "18:00"]],
    "holidays": ["2026-12-25"],
}
QUEUE = {
    "name": "business",
    "title": "Business accounts, large amounts",
    "match": _MATCH,
    "skills": ["business"],
    "most_open": 2,
    "fair_hours": 24,
    "due_high_risk": 120,
    "due_review": 960,
    "warn_minutes": 30,
    "hours": _HOURS,
}


class MatchIn(BaseModel):
    """What a queue takes: every part that is given must fit. Lists: any of these."""

    model_config = example(**_MATCH)
    outcome: Literal["review", "high_risk"] | None = None
    amount_from: Annotated[
        Amount | None, Field(description="Of the case: the sum of its payments.")
    ] = None
    amount_below: Amount | None = None
    categories: Words = Field(
        default_factory=list, description="Merchant categories of any of its payments."
    )
    segments: Words = Field(
        default_factory=list, description="The attribute `segment` of any of its payments."
    )
    languages: Words = Field(
        default_factory=list, description="The attribute `language` of any of its payments."
    )

    def match(self) -> Match:
        """As the rules take it."""
        return Match(
            Outcome[self.outcome.upper()] if self.outcome else None,
            self.amount_from,
            self.amount_below,
            frozenset(self.categories),
            frozenset(self.segments),
            frozenset(self.languages),
        )


class HoursIn(BaseModel):
    """When people work, in local time; a day that is left out is free."""

    model_config = example(**_HOURS)
    zone: Word
    monday: Spans = Field(default_factory=list)
    tuesday: Spans = Field(default_factory=list)
    wednesday: Spans = Field(default_factory=list)
    thursday: Spans = Field(default_factory=list)
    friday: Spans = Field(default_factory=list)
    saturday: Spans = Field(default_factory=list)
    sunday: Spans = Field(default_factory=list)
    holidays: Annotated[list[date], Field(max_length=1000)] = Field(default_factory=list)

    def hours(self) -> WorkingHours:
        """As the rules take it. Raises `Invalid`."""
        week = tuple(
            tuple((_minutes(begin), _minutes(end)) for begin, end in getattr(self, day))
            for day in DAYS
        )
        return WorkingHours(self.zone, week, frozenset(self.holidays))


class QueueIn(BaseModel):
    """A queue. Times are minutes of work in its hours, around the clock without any."""

    model_config = example(**QUEUE)
    name: Word
    title: Annotated[Key, Field(max_length=100)]
    match: MatchIn = MatchIn()
    skills: Words = Field(default_factory=list, description="A person needs all of them.")
    most_open: Most | None = Field(None, description="Cases of it that one person may hold.")
    fair_hours: float = Field(
        FAIR_HOURS,
        ge=1,
        le=2400,
        allow_inf_nan=False,
        description="No case goes before one of its urgency that opened so much before it.",
    )
    due_review: Minutes = 24 * 60
    due_high_risk: Minutes = 4 * 60
    warn_minutes: int = Field(30, ge=0, le=60 * 24 * 30, description="Before it is due.")
    handling_minutes: int = Field(
        10, ge=1, le=1440, description="What a case takes, for forecasts until enough are decided."
    )
    hours: HoursIn | None = None

    def queue(self) -> Queue:
        """As the rules take it. Raises `Invalid`."""
        return Queue(
            self.name,
            self.title,
            self.match.match(),
            frozenset(self.skills),
            self.most_open,
            self.fair_hours,
            self.due_review,
            self.due_high_risk,
            self.warn_minutes,
            self.handling_minutes,
            self.hours.hours() if self.hours else ALWAYS,
        )


class QueueRulesIn(BaseModel):
    """All queues, in the order in which they are asked; the last one is `rest` and takes all."""

    model_config = example(
        queues=[QUEUE, {"name": "rest", "title": "All other cases"}],
        most_open=5,
        comment="Business accounts have a team of their own from June on.",
    )
    queues: Annotated[list[QueueIn], Field(min_length=1, max_length=50)]
    most_open: Most | None = Field(None, description="Cases that one person may hold in all.")
    comment: Reason


class NextIn(BaseModel):
    """From one queue, or from any of the caller's."""

    model_config = example(queue="business")
    queue: Word | None = None


class MembersIn(BaseModel):
    """Who belongs to a queue, as a whole. Nobody: the queue is for everybody."""

    model_config = example(members={"ada": "worker", "sia": "lead"})
    members: Annotated[dict[Key, Literal["worker", "lead"]], Field(max_length=1000)]


class WorkerIn(BaseModel):
    """What a person can do and how much they hold; absence is in `AwayIn`."""

    model_config = example(skills=["business", "french"], most_open=3, own_accounts=["acc-1"])
    skills: Words = Field(default_factory=list)
    most_open: Most | None = None
    own_accounts: Annotated[list[Key], Field(max_length=100)] | None = Field(
        None, description="Accounts of theirs, whose cases are not for them. Null: as they are."
    )


class AwayIn(BaseModel):
    """Out of office; both null: back at work."""

    model_config = example(away_from="2026-07-01T00:00:00Z", away_until="2026-07-15T00:00:00Z")
    away_from: AwareDatetime | None = None
    away_until: AwareDatetime | None = None


class OwnAccountIn(BaseModel):
    model_config = example(account_id="acc-000000000111")
    account_id: Key


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
