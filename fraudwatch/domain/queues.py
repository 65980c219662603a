"""Queues: which one a case waits in, who gets work from it, and what comes first.

Rules are a list, and the first that takes a case has it. The last one takes everything, so that
every case is in exactly one queue.

What comes first is told by a rank that does not depend on the time it is looked at::

    rank = weight - hours(opened) / fair_hours        weight in [0, 1], see `weight`

A case gains 1 in `fair_hours`, as much as the weightiest case has over the lightest. So within one
urgency no case goes before one that opened `fair_hours` or more before it: whatever comes in, a
case is overtaken only for so long. Ranks of queues with different `fair_hours` are compared at one
moment (`standing`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from fraudwatch.domain.decision import Outcome
from fraudwatch.domain.working_time import ALWAYS, WorkingHours, add
from fraudwatch.errors import Invalid

REST = "rest"
"""The queue that takes what no other one takes."""
FAIR_HOURS = 72.0
WIDEST = 600.0
"""Points of `domain.case.priority` within one outcome that count as the greatest loss: 20 bits of
surprise in an amount of a thousand million."""
NAME = r"^[a-z][a-z0-9-]{0,39}$"


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What rules look at; the sets have what any of the case's transactions says."""

    outcome: Outcome
    amount: Decimal
    categories: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Match:
    """What a queue takes: cases that fit every part that is given. An empty set is "any"."""

    outcome: Outcome | None = None
    amount_from: Decimal | None = None
    amount_below: Decimal | None = None
    categories: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()

    def takes(self, facts: CaseFacts) -> bool:
        """Whether the case fits."""
        return (
            self.outcome in (None, facts.outcome)
            and (self.amount_from is None or facts.amount >= self.amount_from)
            and (self.amount_below is None or facts.amount < self.amount_below)
            and _any_of(self.categories, facts.categories)
            and _any_of(self.segments, facts.segments)
            and _any_of(self.languages, facts.languages)
        )

    @property
    def looks_at_transactions(self) -> bool:
        """Whether the case's own row does not tell it all."""
        return bool(self.categories or self.segments or self.languages)


@dataclass(frozen=True, slots=True)
class Queue:
    """Work of one kind: what is in it, who may do it, and what is promised.

    `due` is in minutes of work, by outcome, until somebody has looked; `warn_minutes` before that
    a warning is given. `most_open` is how many cases of it one person may hold.
    """

    name: str
    title: str
    match: Match = field(default_factory=Match)
    skills: frozenset[str] = frozenset()
    most_open: int | None = None
    fair_hours: float = FAIR_HOURS
    due_review: int = 24 * 60
    due_high_risk: int = 4 * 60
    warn_minutes: int = 30
    handling_minutes: int = 10
    hours: WorkingHours = ALWAYS

    def due_minutes(self, outcome: Outcome) -> int:
        """Minutes of work until somebody must have looked."""
        return self.due_high_risk if outcome is Outcome.HIGH_RISK else self.due_review

    def promise(self, outcome: Outcome, since: datetime) -> tuple[datetime, datetime]:
        """By when somebody looks at a case that came then, and when to warn."""
        minutes = self.due_minutes(outcome)
        warn = minutes - self.warn_minutes
        due = add(self.hours, since, minutes)
        return due, add(self.hours, since, warn) if warn > 0 else since


@dataclass(frozen=True, slots=True)
class QueueRules:
    """One version of the rules; the order of the queues is that of matching. Raises `Invalid`."""

    version: int
    queues: tuple[Queue, ...]
    most_open: int | None = None  # that one person may hold, in all queues together

    def __post_init__(self) -> None:
        names = [queue.name for queue in self.queues]
        if not names or names[-1] != REST or self.queues[-1].match != Match():
            raise Invalid(f"the last queue must be {REST!r}, and take every case")
        if len(set(names)) != len(names):
            raise Invalid("each queue needs a name of its own")
        for name in names:
            if not re.fullmatch(NAME, name):
                raise Invalid(f"{name!r} is no name of a queue: small letters, digits and dashes")
        if self.queues[-1].skills:
            raise Invalid(f"{REST!r} asks for no skill, or its cases might be for nobody")

    def of(self, facts: CaseFacts) -> Queue:
        """The one queue of a case."""
        return next(queue for queue in self.queues if queue.match.takes(facts))

    def named(self, name: str) -> Queue | None:
        """The queue of that name."""
        return next((queue for queue in self.queues if queue.name == name), None)


@dataclass(frozen=True, slots=True)
class Worker:
    """Who asks for work: skills, absence, accounts of their own, limits, and what they hold.

    `member_of` names queues that they belong to, `held` counts running claims by queue.
    """

    user_id: int
    skills: frozenset[str] = frozenset()
    member_of: frozenset[str] = frozenset()
    own_accounts: frozenset[str] = frozenset()
    most_open: int | None = None
    away_from: datetime | None = None
    away_until: datetime | None = None
    held: dict[str, int] = field(default_factory=dict)

    def away(self, now: datetime) -> bool:
        """Whether they are out of office."""
        return self.away_from is not None and (
            self.away_from <= now and (self.away_until is None or now < self.away_until)
        )

    def full(self, rules: QueueRules) -> int | None:
        """The limit that they have reached in all queues together, if any."""
        limits = [limit for limit in (self.most_open, rules.most_open) if limit is not None]
        most = min(limits, default=None)
        return most if most is not None and sum(self.held.values()) >= most else None


def works_in(queue: Queue, worker: Worker, with_members: Collection[str]) -> bool:
    """Whether the queue's work is for this person: they have its skills and belong to it.

    A queue without any member is for everybody.
    """
    belongs = queue.name in worker.member_of or queue.name not in with_members
    return belongs and queue.skills <= worker.skills


def open_to(rules: QueueRules, worker: Worker, with_members: Collection[str]) -> list[Queue]:
    """The queues that the person gets work from now, in the order of the rules."""
    return [
        queue
        for queue in rules.queues
        if works_in(queue, worker, with_members)
        and (queue.most_open is None or worker.held.get(queue.name, 0) < queue.most_open)
    ]


def weight(priority: float) -> float:
    """How much is at stake, in [0, 1]: a priority (`domain.case.priority`) without its age.

    Half of it is the machine's outcome, half the stand-in for expected loss within that outcome.
    """
    within = priority - 10_000.0 * math.floor(priority / 10_000.0)
    return (0.5 if priority >= 20_000.0 else 0.0) + 0.5 * min(1.0, within / WIDEST)


def rank(priority: float, opened_at: datetime, fair_hours: float) -> float:
    """The place among cases of one queue and one urgency, higher first. The database computes the
    same (`cases.rank`, migration 0012)."""
    return weight(priority) - opened_at.timestamp() / 3600.0 / fair_hours


def standing(ranked: float, now: datetime, fair_hours: float) -> float:
    """A rank as it stands now, comparable across queues: weight plus age in `fair_hours`."""
    return ranked + now.timestamp() / 3600.0 / fair_hours


def longest_overtaking(queue: Queue) -> timedelta:
    """No case that opened so much later, or more, goes before an earlier one of its urgency."""
    return timedelta(hours=queue.fair_hours)


def _any_of(wanted: frozenset[str], found: frozenset[str]) -> bool:
    return not wanted or not wanted.isdisjoint(found)
