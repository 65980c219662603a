"""What people read of queues: which there are, what waits in them, who works in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from fraudwatch.casework import queue_rules, workers
from fraudwatch.casework.bodies_queues import QueueIn
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import Case, QueueMember, QueueRulesRow, QueueWorker, User
from fraudwatch.casework.queue import waiting
from fraudwatch.casework.schemas_queues import MembersOut, QueueOut, QueueRulesOut, WorkerOut
from fraudwatch.domain.case import OPEN
from fraudwatch.domain.queues import works_in


def queues(session: Session, lens: Lens, now: datetime) -> list[QueueOut]:
    """All queues in the order of the rules, with what is in them. Five queries."""
    rules = queue_rules.rules(session)
    worker, with_members = workers.worker(session, lens.actor.user_id, now)
    waits = waiting(now)
    rows = session.execute(
        select(
            Case.queue,
            func.count().label("open"),
            func.count().filter(waits).label("waiting"),
            func.count().filter(Case.due_at < now).label("late"),
            func.min(Case.opened_at).filter(waits).label("oldest_at"),
        )
        .where(Case.status.in_(OPEN))
        .group_by(Case.queue)
    )
    found = {row.queue: row for row in rows}
    return [
        QueueOut(
            name=queue.name,
            title=queue.title,
            mine=works_in(queue, worker, with_members),
            skills=sorted(queue.skills),
            open=found[queue.name].open if queue.name in found else 0,
            waiting=found[queue.name].waiting if queue.name in found else 0,
            late=found[queue.name].late if queue.name in found else 0,
            oldest_at=found[queue.name].oldest_at if queue.name in found else None,
        )
        for queue in rules.queues
    ]


def rules_out(session: Session, rows: Sequence[QueueRulesRow]) -> list[QueueRulesOut]:
    """Versions with the names of who set them."""
    ids = {row.set_by for row in rows} - {None}
    names = {
        row.id: row.name
        for row in session.execute(select(User.id, User.name).where(User.id.in_(ids)))
    }
    return [
        QueueRulesOut(
            id=row.id,
            queues=[QueueIn.model_validate(queue) for queue in row.queues],
            most_open=row.most_open,
            comment=row.comment,
            set_by=names.get(row.set_by) if row.set_by else None,
            set_at=row.set_at,
        )
        for row in rows
    ]


def members_out(session: Session, name: str) -> MembersOut:
    """Who belongs to the queue. Raises `NotFound`."""
    queue_rules.named(queue_rules.rules(session), name)
    found = workers.members(session).get(name, [])
    return MembersOut(queue=name, members={user.name: role for user, role in found})


def workers_out(
    session: Session, lens: Lens, now: datetime, user_id: int | None = None
) -> list[WorkerOut]:
    """Everybody who could work on cases, or one of them."""
    query = (
        select(User, QueueWorker)
        .outerjoin(QueueWorker, QueueWorker.user_id == User.id)
        .order_by(User.name)
    )
    if user_id is None:
        works = User.role.in_(("analyst", "senior"))
        query = query.where(and_(User.kind == "person", works, ~User.disabled))
    else:
        query = query.where(User.id == user_id)
    roles: dict[int, dict[str, str]] = {}
    for member in session.scalars(select(QueueMember).order_by(QueueMember.queue)):
        roles.setdefault(member.user_id, {})[member.queue] = member.role
    return [
        _worker(user, row, roles.get(user.id, {}), lens, now)
        for user, row in session.execute(query)
    ]


def _worker(
    user: User, row: QueueWorker | None, queues: dict[str, str], lens: Lens, now: datetime
) -> WorkerOut:
    if row is None:
        return WorkerOut(
            user_id=user.id, name=user.name, skills=[], queues=queues, own_accounts=[], away=False
        )
    return WorkerOut(
        user_id=user.id,
        name=user.name,
        skills=row.skills,
        queues=queues,
        most_open=row.most_open,
        own_accounts=[lens.id(account) for account in row.own_accounts],
        away_from=row.away_from,
        away_until=row.away_until,
        away=workers.known(row).away(now),
    )
