"""Versions of the rules of queues: read, set. The newest holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit
from fraudwatch.casework.bodies_queues import QueueIn, QueueRulesIn
from fraudwatch.casework.case_rows import require
from fraudwatch.casework.models import QueueRulesRow
from fraudwatch.domain.access import Actor, Permission
from fraudwatch.domain.decision import Outcome
from fraudwatch.domain.queues import Queue, QueueRules
from fraudwatch.errors import NotFound


def rules(session: Session) -> QueueRules:
    """The rules that hold now. The migrations ship the first."""
    newest = select(QueueRulesRow).order_by(QueueRulesRow.id.desc()).limit(1)
    return rules_of(session.scalars(newest).one())


def versions(session: Session) -> Sequence[QueueRulesRow]:
    """All versions, newest first."""
    return session.scalars(select(QueueRulesRow).order_by(QueueRulesRow.id.desc())).all()


def rules_of(row: QueueRulesRow) -> QueueRules:
    """A stored version as rules."""
    queues = tuple(QueueIn.model_validate(each).queue() for each in row.queues)
    return QueueRules(row.id, queues, row.most_open)


def set_rules(session: Session, actor: Actor, new: QueueRulesIn, *, now: datetime) -> QueueRulesRow:
    """Add a version. Open cases are placed anew, by and by. Raises `Invalid`, `NotAllowed`."""
    require(actor, Permission.QUEUES_MANAGE)
    checked = QueueRules(0, tuple(queue.queue() for queue in new.queues), new.most_open)
    for queue in checked.queues:
        for outcome in (Outcome.REVIEW, Outcome.HIGH_RISK):
            queue.promise(outcome, now)  # refuses holidays that leave no work
    row = QueueRulesRow(
        queues=[queue.model_dump(mode="json", exclude_defaults=True) for queue in new.queues],
        most_open=new.most_open,
        comment=new.comment,
        set_by=actor.user_id,
        set_at=now,
    )
    session.add(row)
    session.flush()
    audit.append(
        session,
        at=now,
        actor=actor,
        action="queue_rules.set",
        subject=f"queue-rules:{row.id}",
        data={"queues": row.queues, "most_open": row.most_open, "comment": row.comment},
    )
    return row


def named(held_to: QueueRules, name: str) -> Queue:
    """The queue of that name. Raises `NotFound`."""
    queue = held_to.named(name)
    if queue is None:
        raise NotFound(f"there is no queue {name!r}")
    return queue
