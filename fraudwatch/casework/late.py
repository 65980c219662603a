"""Holds that nobody has looked at within the promised time: a warning before, then an alarm and a
step up, no decision."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework.case_rows import by_machine
from fraudwatch.casework.models import Case, CaseEvent
from fraudwatch.domain.case import CaseStatus, Escalation, Move, Urgency

_UNSEEN = (CaseStatus.NEW, CaseStatus.REOPENED)


def warn_soon(session: Session, now: datetime, *, limit: int = 500) -> list[int]:
    """Tell, once, of cases that are due soon and that nobody has looked at; returns their ids.

    The moment of the warning is that of the case's queue. Locked cases are left for the next time.
    """
    found = session.scalars(
        select(Case)
        .where(Case.warn_at <= now)
        .order_by(Case.warn_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    warned = []
    for case in found:
        case.warn_at = None
        if case.status in _UNSEEN and case.first_look_at is None and case.due_at > now:
            warned.append(case.id)
            session.add(
                CaseEvent(
                    case_id=case.id,
                    kind="due_soon",
                    actor_id=None,
                    at=now,
                    data={"due_at": case.due_at.isoformat()},
                )
            )
    session.flush()
    return warned


def escalate_late(session: Session, now: datetime, *, limit: int = 500) -> list[int]:
    """Escalate cases whose promise has passed unseen, the oldest promise first; returns their ids.

    Cases that someone takes at this moment are skipped. Anyone may take what is escalated here.
    """
    found = session.scalars(
        select(Case)
        .where(Case.status.in_(_UNSEEN), Case.first_look_at.is_(None), Case.due_at <= now)
        .order_by(Case.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    for case in found:
        case.escalation = case.escalation or Escalation.LATE
        case.urgency = max(case.urgency, Urgency.ESCALATED)
        case.version += 1
        by_machine(
            session, case, Move.ESCALATE_LATE, "late", now, {"due_at": case.due_at.isoformat()}
        )
    session.flush()
    return [case.id for case in found]
