"""Cases that belong together: linked, or made one.

A merged case keeps its events and forwards the alerts of its account to the case it went into, for
as long as that one is open. Only that one is decided.
"""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from fraudwatch.casework import workers
from fraudwatch.casework.case_rows import (
    Act,
    check_lease,
    check_version,
    is_open,
    let_go,
    lock_all,
    log,
    move,
    require,
    require_text,
    settle,
    state,
    tell,
)
from fraudwatch.casework.models import Alert, Case, CaseLink
from fraudwatch.domain.access import Permission
from fraudwatch.domain.case import Escalation, Move
from fraudwatch.errors import Conflict, Invalid


def link(session: Session, case_id: int, act: Act, *, other_id: int, reason: str) -> Case:
    """Say that two cases belong together. Each stays as it is; both show the link."""
    require_text(reason, "linking")
    case, other = _both(session, case_id, act, other_id)
    made = session.scalar(
        upsert(CaseLink)
        .values(
            low=min(case_id, other_id),
            high=max(case_id, other_id),
            reason=reason,
            linked_by=act.actor.user_id,
            linked_at=act.now,
        )
        .on_conflict_do_nothing()
        .returning(CaseLink.id)
    )
    if made is None:
        raise Conflict(f"case {other_id} is linked already", state(session, case))
    for one, another in ((case, other), (other, case)):
        one.version += 1
        one.updated_at = act.now
        tell(session, one, act, "linked", {"other_case": another.id, "text": reason})
    log(session, case, act, "link", {"other_case": other_id})
    return case


def merge(
    session: Session, case_id: int, act: Act, *, other_id: int, other_version: int, reason: str
) -> Case:
    """Take another open case into the one that the actor holds: its alerts, rank and due time.

    Nobody else may hold the other one, and it must not await a second look.
    """
    require_text(reason, "merging")
    case, other = _both(session, case_id, act, other_id)
    check_version(session, other, other_version)
    check_lease(session, case, act.actor, act.now)
    workers.check_not_own(session, other, act.actor)
    if case.escalation == Escalation.DISAGREEMENT or other.escalation == Escalation.DISAGREEMENT:
        raise Conflict("two people differ about one of the cases: it is decided by itself")
    settle(session, other, act.now)
    if not is_open(other):
        raise Conflict(f"case {other_id} is {other.status}", state(session, other))
    move(session, other, Move.MERGE, act)
    let_go(other)
    other.wake_at = other.escalation = None
    other.merged_into, other.merged_by, other.merger_kind = case.id, act.actor.user_id, "person"
    other.forwards = True
    _take_in(case, other)
    session.flush()
    session.execute(update(Alert).where(Alert.case_id == other.id).values(case_id=case.id))
    session.execute(update(Case).where(Case.merged_into == other.id).values(merged_into=case.id))
    case.version += 1
    case.updated_at = act.now
    newest = select(func.max(Alert.id)).where(Alert.case_id == case.id)
    case.seen_alert_id, case.new_alerts = session.scalar(newest), 0
    tell(session, case, act, "merged_from", {"other_case": other.id, "text": reason})
    tell(session, other, act, "merged", {"other_case": case.id, "text": reason})
    log(session, other, act, "merge", {"other_case": case.id})
    return case


def _both(session: Session, case_id: int, act: Act, other_id: int) -> tuple[Case, Case]:
    """Both cases, locked; the first on the act's version."""
    require(act.actor, Permission.CASES_WORK)
    if case_id == other_id:
        raise Invalid("name another case")
    case, other = lock_all(session, [case_id, other_id])
    check_version(session, case, act.version)
    return case, other


def _take_in(case: Case, other: Case) -> None:
    case.outcome = max(case.outcome, other.outcome)
    risks = [risk for risk in (case.risk, other.risk) if risk is not None]
    case.risk = max(risks, default=None)
    case.amount += other.amount
    case.alert_count += other.alert_count
    case.priority = max(case.priority, other.priority)
    case.urgency = max(case.urgency, other.urgency)
    case.due_at = min(case.due_at, other.due_at)
    case.barred = sorted(({*case.barred} | {*other.barred}) - {case.claimed_by})
