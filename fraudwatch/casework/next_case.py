"""The next case for a person: the one that stands first in their queues and is right for them.

Left out is what they must not take (they have decided on it, it is of an account of theirs, it was
escalated beyond them) and what others hold. Who is away, or holds as much as they may, gets none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    Text,
    and_,
    cast,
    column,
    func,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from fraudwatch.casework import claims, placing, queue_rules, workers
from fraudwatch.casework.case_rows import Act, require, require_person
from fraudwatch.casework.models import Case
from fraudwatch.casework.queue import waiting
from fraudwatch.domain.access import Actor, Permission
from fraudwatch.domain.case import OPEN, CaseStatus, Escalation
from fraudwatch.domain.queues import Queue, QueueRules, Worker, open_to, works_in
from fraudwatch.errors import Conflict

# More than people ask at the same moment: each skips what the others are about to take.
_CANDIDATES = 50


class Away(Conflict):
    """The person is out of office."""

    code = "out-of-office"


class Full(Conflict):
    """The person holds as many cases as they may."""

    code = "holds-enough"


def next_case(
    session: Session,
    actor: Actor,
    *,
    now: datetime,
    lease: timedelta,
    queue: str | None = None,
) -> Case | None:
    """Claim the case that stands first in the queue named, or in all of the actor's; None when none
    waits for them. Cases that someone is claiming at this moment are skipped, so that nobody waits
    and no case is given out twice.

    Raises `Away`, `Full`, `NotFound` for a queue that there is not, `Conflict` for one that is not
    theirs.
    """
    require(actor, Permission.CASES_WORK)
    require_person(actor)
    rules = queue_rules.rules(session)
    worker, with_members = workers.worker(session, actor.user_id, now)
    _check(worker, rules, now)
    chosen = _queues(rules, worker, with_members, queue)
    placing.place(session, rules, now)
    if not chosen:
        return None
    found = session.scalar(
        _first(chosen, _for(actor, worker, now), now)
        .with_for_update(skip_locked=True, of=Case)
        .execution_options(populate_existing=True)
    )
    return None if found is None else claims.take(session, found, Act(actor, now), lease=lease)


def _check(worker: Worker, rules: QueueRules, now: datetime) -> None:
    if worker.away(now):
        raise Away("you are out of office: end that first")
    most = worker.full(rules)
    if most is not None:
        raise Full(f"you hold {most} cases, as many as you may: decide one or give one back")


def _queues(
    rules: QueueRules, worker: Worker, with_members: frozenset[str], name: str | None
) -> list[Queue]:
    """Where to look. Raises `Full` for a single queue that the person holds enough of."""
    chosen = open_to(rules, worker, with_members)
    if name is None:
        return chosen
    wanted = queue_rules.named(rules, name)
    if not works_in(wanted, worker, with_members):
        raise Conflict(f"the queue {name!r} is not yours, or asks for a skill that you lack")
    if wanted not in chosen:
        raise Full(f"you hold {wanted.most_open} cases of {name!r}, as many as you may")
    return [wanted]


def _for(actor: Actor, worker: Worker, now: datetime) -> ColumnElement[bool]:
    """Cases that wait and that the actor may take."""
    parts = [
        Case.status.in_(OPEN),
        waiting(now),
        not_(Case.barred.contains([actor.user_id])),
    ]
    if worker.own_accounts:
        parts.append(Case.account_id.not_in(sorted(worker.own_accounts)))
    if not actor.may(Permission.CASES_ESCALATED):
        plain = or_(Case.escalation.is_(None), Case.escalation == Escalation.LATE)
        parts.append(or_(plain, Case.status == CaseStatus.SECOND_LOOK))
    return and_(*parts)


def _first(queues: Sequence[Queue], fits: ColumnElement[bool], now: datetime) -> Select[Case]:
    """The first of the first ones of each queue, which its index gives in order."""
    line = (
        func.unnest(
            cast([queue.name for queue in queues], ARRAY(Text)),
            cast([queue.fair_hours for queue in queues], ARRAY(Double)),
        )
        .table_valued(column("name", Text), column("fair_hours", Double))
        .render_derived()
    )
    ahead = (
        select(Case.id)
        .where(Case.queue == line.c.name, fits)
        .order_by(Case.urgency.desc(), Case.rank.desc(), Case.id)
        .limit(_CANDIDATES)
        .correlate(line)
        .lateral()
    )
    standing = Case.rank + now.timestamp() / 3600 / line.c.fair_hours
    return (
        select(Case)
        .select_from(line)
        .join(ahead, true())
        .join(Case, Case.id == ahead.c.id)
        .where(fits)  # once more, of the row as it is when it is locked
        .order_by(Case.urgency.desc(), standing.desc(), Case.id)
        .limit(1)
    )
