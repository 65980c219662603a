"""People in queues: who belongs to which, what they can do, when they are away, what is not theirs.

What a person says of their own accounts can be taken back only by whoever manages queues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, queue_rules
from fraudwatch.casework.bodies_queues import AwayIn, WorkerIn
from fraudwatch.casework.case_rows import require, require_person
from fraudwatch.casework.models import Case, QueueMember, QueueWorker, User
from fraudwatch.domain.access import Actor, Permission
from fraudwatch.domain.case import HELD
from fraudwatch.domain.queues import Worker
from fraudwatch.errors import Invalid, NotAllowed, NotFound


class NotLead(NotAllowed):
    """Only who leads the queue may do this, or who manages queues."""

    code = "not-lead"


class OwnAccount(NotAllowed):
    """The case is of an account that the person has declared as theirs."""

    code = "own-account"


def worker(session: Session, user_id: int, now: datetime) -> tuple[Worker, frozenset[str]]:
    """The person as rules see them, and the queues that have members at all. Three queries."""
    row = session.get(QueueWorker, user_id)
    members = session.execute(select(QueueMember.queue, QueueMember.user_id)).all()
    held = session.execute(
        select(Case.queue, func.count().label("claims"))
        .where(Case.claimed_by == user_id, Case.status.in_(HELD), Case.lease_until > now)
        .group_by(Case.queue)
    )
    mine = frozenset(queue for queue, member in members if member == user_id)
    counts = {row.queue: row.claims for row in held}
    found = Worker(user_id) if row is None else known(row)
    return replace(found, member_of=mine, held=counts), frozenset(queue for queue, _ in members)


def known(row: QueueWorker) -> Worker:
    """What is said of a person, without their queues and claims."""
    return Worker(
        row.user_id,
        skills=frozenset(row.skills),
        own_accounts=frozenset(row.own_accounts),
        most_open=row.most_open,
        away_from=row.away_from,
        away_until=row.away_until,
    )


def check_not_own(session: Session, case: Case, actor: Actor) -> None:
    """Raises `OwnAccount` where the case is of an account that the actor has declared."""
    own = select(QueueWorker.user_id).where(
        QueueWorker.user_id == actor.user_id, QueueWorker.own_accounts.contains([case.account_id])
    )
    if session.scalar(own) is not None:
        raise OwnAccount("this account is one of yours: somebody else must look at its case")


def members(session: Session) -> dict[str, list[tuple[User, str]]]:
    """People and their roles, by queue."""
    rows = session.execute(
        select(QueueMember, User)
        .join(User, User.id == QueueMember.user_id)
        .order_by(QueueMember.queue, User.name)
    )
    found: dict[str, list[tuple[User, str]]] = {}
    for member, user in rows:
        found.setdefault(member.queue, []).append((user, member.role))
    return found


def set_members(
    session: Session, actor: Actor, name: str, wanted: Mapping[str, str], *, now: datetime
) -> None:
    """Replace the members of a queue: name of a person to role. By whoever manages queues, or leads
    this one. Raises `NotFound`, `Invalid`, `NotAllowed`."""
    queue_rules.named(queue_rules.rules(session), name)
    require_lead(session, actor, name)
    people = _people(session, wanted)
    session.execute(delete(QueueMember).where(QueueMember.queue == name))
    session.add_all(
        QueueMember(queue=name, user_id=people[person].id, role=role)
        for person, role in wanted.items()
    )
    session.flush()
    audit.append(
        session,
        at=now,
        actor=actor,
        action="queue.members",
        subject=f"queue:{name}",
        data={"members": dict(sorted(wanted.items()))},
    )


def require_lead(session: Session, actor: Actor, name: str) -> None:
    """Raises `NotAllowed` for who neither manages queues nor leads this one."""
    if actor.may(Permission.QUEUES_MANAGE):
        return
    member = session.get(QueueMember, (name, actor.user_id))
    if member is None or member.role != "lead":
        raise NotLead(f"this needs {Permission.QUEUES_MANAGE}, or to lead the queue")


def set_worker(
    session: Session, actor: Actor, user_id: int, wanted: WorkerIn, *, now: datetime
) -> QueueWorker:
    """Say what a person can do, how much they hold and which accounts are theirs."""
    require(actor, Permission.QUEUES_MANAGE)
    row = _row(session, user_id)
    row.skills, row.most_open = sorted(set(wanted.skills)), wanted.most_open
    if wanted.own_accounts is not None:
        row.own_accounts = sorted(set(wanted.own_accounts))
    # How many, not which: the audit log holds no personal data.
    data = {
        "skills": row.skills,
        "most_open": row.most_open,
        "own_accounts": len(row.own_accounts),
    }
    _changed(session, actor, row, "queue_worker.set", now, data)
    return row


def set_away(
    session: Session, actor: Actor, user_id: int, wanted: AwayIn, *, now: datetime
) -> QueueWorker:
    """Out of office, or back. One's own, or with `QUEUES_MANAGE` anybody's."""
    if actor.user_id != user_id:
        require(actor, Permission.QUEUES_MANAGE)
    else:
        require_person(actor)
    if wanted.away_from is None and wanted.away_until is not None:
        raise Invalid("say from when")
    if wanted.away_from and wanted.away_until and wanted.away_until <= wanted.away_from:
        raise Invalid("an absence ends after it begins")
    row = _row(session, user_id)
    row.away_from, row.away_until = wanted.away_from, wanted.away_until
    _changed(session, actor, row, "queue_worker.away", now, wanted.model_dump())
    return row


def add_own_account(
    session: Session, actor: Actor, account_id: str, *, now: datetime
) -> QueueWorker:
    """Declare an account as one's own: its cases are not for the actor."""
    require(actor, Permission.CASES_WORK)
    require_person(actor)
    row = _row(session, actor.user_id)
    if len(row.own_accounts) >= 100:
        raise Invalid("a hundred accounts are declared already")
    row.own_accounts = sorted({*row.own_accounts, account_id})
    data = {"own_accounts": len(row.own_accounts)}
    _changed(session, actor, row, "queue_worker.own_account", now, data)
    return row


def _row(session: Session, user_id: int) -> QueueWorker:
    user = session.get(User, user_id, with_for_update=True)
    if user is None or user.kind != "person":
        raise NotFound(f"there is no person {user_id}")
    row = session.get(QueueWorker, user_id)
    if row is None:
        row = QueueWorker(user_id=user_id, skills=[], own_accounts=[])
        session.add(row)
    return row


def _people(session: Session, names: Mapping[str, str]) -> dict[str, User]:
    found = {
        user.name: user
        for user in session.scalars(
            select(User).where(User.name.in_(names), User.kind == "person", ~User.disabled)
        )
    }
    for name in names:
        if name not in found:
            raise Invalid(f"there is no person {name!r}")
    return found


def _changed(
    session: Session,
    actor: Actor,
    row: QueueWorker,
    action: str,
    now: datetime,
    data: Mapping[str, object],
) -> None:
    session.flush()
    audit.append(
        session, at=now, actor=actor, action=action, subject=f"user:{row.user_id}", data=data
    )
