"""Holds that nobody has looked at within the promised time: an alarm and a step up, no decision."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework.case_rows import by_machine
from fraudwatch.casework.models import Case
from fraudwatch.domain.case import CaseStatus, Escalation, Move, Urgency

_UNSEEN = (CaseStatus.NEW, CaseStatus.REOPENED)


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
