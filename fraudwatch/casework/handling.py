"""What a person does with a case short of deciding it: note, put aside, escalate."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from fraudwatch.casework import hearers
from fraudwatch.casework.case_rows import (
    Act,
    begin,
    let_go,
    log,
    move,
    require_text,
    tell,
)
from fraudwatch.casework.models import Case
from fraudwatch.domain.case import Escalation, Move, Urgency
from fraudwatch.errors import Invalid

LONGEST_WAIT = timedelta(days=30)


def note(session: Session, case_id: int, act: Act, *, text: str) -> Case:
    """Add a note. Open to everybody who works on cases, whoever holds this one."""
    if not text.strip():
        raise Invalid("a note needs text")
    case = begin(session, case_id, act)
    case.version += 1
    case.updated_at = act.now
    tell(session, case, act, "noted", {"text": text})
    hearers.mention(session, case, act, text)
    # The text may hold personal data: the audit log says that, not what, was noted.
    log(session, case, act, "note", {"length": len(text)})
    return case


def wait(session: Session, case_id: int, act: Act, *, until: datetime, reason: str) -> Case:
    """Put the case aside. It comes back at that time, or when an alert joins; anyone may take it
    before. Its due time stays."""
    require_text(reason, "putting a case aside")
    if not act.now < until <= act.now + LONGEST_WAIT:
        raise Invalid(f"a case waits until a time within the next {LONGEST_WAIT.days} days")
    case = begin(session, case_id, act)
    move(session, case, Move.WAIT, act)
    let_go(case)
    case.wake_at = until
    tell(session, case, act, "put_aside", {"until": until.isoformat(), "text": reason})
    log(session, case, act, "wait", {"until": until})
    return case


def escalate(session: Session, case_id: int, act: Act, *, reason: str) -> Case:
    """Hand the case to someone with `CASES_ESCALATED`."""
    require_text(reason, "escalating")
    case = begin(session, case_id, act)
    if case.escalation != Escalation.DISAGREEMENT:
        case.escalation = Escalation.PERSON
    move(session, case, Move.ESCALATE, act)
    let_go(case)
    case.urgency = max(case.urgency, Urgency.ESCALATED)
    tell(session, case, act, "escalated", {"text": reason})
    log(session, case, act, "escalate", {})
    return case
