"""The board: what is open, how old, what is due, what was decided, and who the next shift needs.

Everything is counted anew, in a fixed number of queries. Throughput counts what people found
(`case_decisions`): a second look is work as a first one is. Minutes that a case takes are the
median from its claim to the finding, over what was decided lately; the queue's own figure stands in
until there is enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    DateTime,
    Text,
    and_,
    cast,
    column,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from fraudwatch.casework import queue_rules, workers
from fraudwatch.casework.models import Case, CaseDecision, CaseEvent, QueueWorker, User
from fraudwatch.casework.queue import waiting
from fraudwatch.casework.schemas_board import (
    BoardOut,
    BoardPerson,
    BoardQueue,
    ForecastOut,
    Shift,
)
from fraudwatch.domain.case import HELD, OPEN, CaseStatus
from fraudwatch.domain.queues import Queue, QueueRules, Worker, works_in
from fraudwatch.domain.staffing import forecast
from fraudwatch.errors import Invalid

WEEKS = 8  # that a forecast looks back
LONGEST = timedelta(hours=24)
_ENOUGH = 20  # decisions, for a median to be told
_LATELY = timedelta(days=28)
_MOST_LATELY = 1_000
_DAY, _WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class _Work:
    """What people found: by (user, queue), of one day and of seven."""

    day: dict[tuple[int, str], int]
    week: dict[tuple[int, str], int]


def board(
    session: Session, now: datetime, *, since: datetime | None = None, hours: int = 8
) -> BoardOut:
    """The board, with a forecast for the shift of so many hours from `since` (the next full hour).

    Nine queries. Raises `Invalid`.
    """
    start = since or now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    end = start + timedelta(hours=hours)
    if not timedelta(0) < end - start <= LONGEST:
        raise Invalid("a shift lasts from one to 24 hours")
    if not now - _DAY <= start <= now + 4 * _WEEK:
        raise Invalid("a shift begins within the next four weeks")
    rules = queue_rules.rules(session)
    people = session.execute(
        select(User.id, User.name, QueueWorker)
        .outerjoin(QueueWorker, QueueWorker.user_id == User.id)
        .where(User.kind == "person", User.role.in_(("analyst", "senior")), ~User.disabled)
        .order_by(User.name)
    ).all()
    members = workers.members(session)
    known = {
        row.id: workers.known(row.QueueWorker) if row.QueueWorker else Worker(row.id)
        for row in people
    }
    counts = _counts(session, now)
    held = _held(session, now)
    work = _work(session, now)
    minutes = _minutes(session, now)
    past = _arrivals(session, rules, start, end)
    return BoardOut(
        at=now,
        shift=Shift(since=start, until=end),
        queues=[
            BoardQueue(
                name=queue.name,
                title=queue.title,
                **_shown(counts.get(queue.name), now),
                decided_day=sum(n for (_, name), n in work.day.items() if name == queue.name),
                decided_week=sum(n for (_, name), n in work.week.items() if name == queue.name),
                people=sum(
                    _on_duty(queue, worker, members, start, end) for worker in known.values()
                ),
                forecast=_forecast(
                    queue,
                    past[queue.name],
                    counts[queue.name].waiting if queue.name in counts else 0,
                    minutes.get(queue.name),
                    hours,
                ),
            )
            for queue in rules.queues
        ],
        people=[
            BoardPerson(
                name=row.name,
                away=known[row.id].away(now),
                holds=_of(held, row.id),
                decided_day=_of(work.day, row.id),
                decided_week=_of(work.week, row.id),
            )
            for row in people
        ],
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    open: int
    waiting: int
    held: int
    aside: int
    escalated: int
    late: int
    due_soon: int
    oldest_at: datetime | None
    mean_opened: float | None  # seconds since 1970, of those that wait


def _counts(session: Session, now: datetime) -> dict[str, _Counts]:
    waits = waiting(now)
    count = func.count()
    rows = session.execute(
        select(
            Case.queue,
            count,
            count.filter(waits),
            count.filter(Case.status.in_(HELD), Case.lease_until > now),
            count.filter(Case.status == CaseStatus.WAITING, Case.wake_at > now),
            count.filter(Case.status == CaseStatus.ESCALATED),
            count.filter(Case.due_at <= now),
            count.filter(Case.due_at > now, Case.due_at <= now + timedelta(hours=1)),
            func.min(Case.opened_at).filter(waits),
            func.avg(func.extract("epoch", Case.opened_at)).filter(waits),
        )
        .where(Case.status.in_(OPEN))
        .group_by(Case.queue)
    )
    return {row[0]: _Counts(*row[1:]) for row in rows}


def _shown(found: _Counts | None, now: datetime) -> dict[str, Any]:
    found = found or _Counts(0, 0, 0, 0, 0, 0, 0, None, None)
    mean = None if found.mean_opened is None else now.timestamp() - float(found.mean_opened)
    return {
        "open": found.open,
        "waiting": found.waiting,
        "held": found.held,
        "aside": found.aside,
        "escalated": found.escalated,
        "late": found.late,
        "due_soon": found.due_soon,
        "oldest_at": found.oldest_at,
        "mean_age_minutes": None if mean is None else round(mean / 60),
    }


def _held(session: Session, now: datetime) -> dict[tuple[int, str], int]:
    """Running claims by person and queue."""
    rows = session.execute(
        select(Case.claimed_by, Case.queue, func.count())
        .where(Case.claimed_by.is_not(None), Case.lease_until > now)
        .group_by(Case.claimed_by, Case.queue)
    )
    return {(row[0] or 0, row[1]): row[2] for row in rows}


def _work(session: Session, now: datetime) -> _Work:
    count = func.count()
    rows = session.execute(
        select(
            CaseDecision.decided_by,
            Case.queue,
            count,
            count.filter(CaseDecision.decided_at > now - _DAY),
        )
        .join(Case, Case.id == CaseDecision.case_id)
        .where(CaseDecision.decided_at > now - _WEEK, CaseDecision.decided_at <= now)
        .group_by(CaseDecision.decided_by, Case.queue)
    ).all()
    return _Work(
        day={(row[0], row[1]): row[3] for row in rows if row[3]},
        week={(row[0], row[1]): row[2] for row in rows},
    )


def _minutes(session: Session, now: datetime) -> dict[str, float]:
    """The median minutes that a case of a queue takes, where enough were decided lately."""
    lately = (
        select(CaseDecision.case_id, CaseDecision.decided_by, CaseDecision.decided_at)
        .where(CaseDecision.decided_at > now - _LATELY, CaseDecision.decided_at <= now)
        .order_by(CaseDecision.decided_at.desc())
        .limit(_MOST_LATELY)
        .subquery()
    )
    taken = (
        select(func.max(CaseEvent.at))
        .where(
            CaseEvent.case_id == lately.c.case_id,
            CaseEvent.actor_id == lately.c.decided_by,
            CaseEvent.kind.in_(("claimed", "taken_over")),
            CaseEvent.at <= lately.c.decided_at,
        )
        .scalar_subquery()
    )
    took = func.extract("epoch", lately.c.decided_at - taken) / 60
    rows = session.execute(
        select(Case.queue, func.count(took), func.percentile_cont(0.5).within_group(took))
        .join(lately, lately.c.case_id == Case.id)
        .group_by(Case.queue)
    )
    return {row[0]: float(row[2]) for row in rows if row[1] >= _ENOUGH}


def _arrivals(
    session: Session, rules: QueueRules, start: datetime, end: datetime
) -> dict[str, list[int]]:
    """By queue: how many cases opened in the same hours of the same weekday, in each week before,
    as far back as there are cases at all. Hours are local ones of the queue."""
    first = session.scalar(select(func.min(Case.opened_at)))
    windows: list[tuple[str, datetime, datetime]] = []
    for queue in rules.queues:
        zone = ZoneInfo(queue.hours.zone)
        local = start.astimezone(zone)
        for week in range(1, WEEKS + 1):
            # Whole weeks back by the calendar: the hour stays when clocks have changed meanwhile.
            since = local - week * _WEEK
            since = since.replace(tzinfo=None).replace(tzinfo=zone)
            if first is not None and since >= first:
                windows.append((queue.name, since, since + (end - start)))
    found: dict[str, list[int]] = defaultdict(list)
    for name, count in _window_counts(session, windows):
        found[name].append(count)
    return found


def _window_counts(
    session: Session, windows: Sequence[tuple[str, datetime, datetime]]
) -> list[tuple[str, int]]:
    moment = DateTime(timezone=True)
    given = (
        func.unnest(
            cast([name for name, _, _ in windows], ARRAY(Text)),
            cast([since for _, since, _ in windows], ARRAY(moment)),
            cast([until for _, _, until in windows], ARRAY(moment)),
        )
        .table_valued(column("name", Text), column("since", moment), column("until", moment))
        .render_derived()
    )
    opened = and_(
        Case.queue == given.c.name,
        Case.opened_at >= given.c.since,
        Case.opened_at < given.c.until,
    )
    count = select(func.count()).where(opened).correlate(given).scalar_subquery()
    return [(row[0], row[1]) for row in session.execute(select(given.c.name, count))]


def _on_duty(
    queue: Queue,
    worker: Worker,
    members: dict[str, list[tuple[User, str]]],
    since: datetime,
    until: datetime,
) -> bool:
    """Whether the queue's work is for the person, who is there when the shift begins or ends."""
    mine = frozenset(
        name for name, found in members.items() if any(u.id == worker.user_id for u, _ in found)
    )
    person = Worker(worker.user_id, worker.skills, mine)
    there = not worker.away(since) or not worker.away(until)
    return there and works_in(queue, person, frozenset(members))


def _forecast(
    queue: Queue, arrivals: Sequence[int], waits: int, minutes: float | None, hours: int
) -> ForecastOut:
    found = forecast(
        arrivals,
        waiting=waits,
        handling_minutes=minutes or queue.handling_minutes,
        due_minutes=min(queue.due_high_risk, queue.due_review),
        hours=hours,
    )
    return ForecastOut(
        weeks=found.weeks,
        expected=found.expected,
        low=found.low,
        high=found.high,
        handling_minutes=round(minutes, 1) if minutes else queue.handling_minutes,
        handling_measured=bool(minutes),
        people_now=found.people_now,
        people=found.people,
        people_low=found.people_low,
        people_high=found.people_high,
    )


def _of(found: dict[tuple[int, str], int], user_id: int) -> dict[str, int]:
    return {name: count for (user, name), count in sorted(found.items()) if user == user_id}
