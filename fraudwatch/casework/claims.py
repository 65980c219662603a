"""Holding a case: leases with heartbeat, giving back, taking over.

A lease that has ended counts as ended everywhere at once; whoever takes the case next writes it
down. Whoever has decided on a case in this round, or on a disputed one before, cannot take it.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session

from fraudwatch.casework import workers
from fraudwatch.casework.case_rows import (
    Act,
    SamePerson,
    begin,
    check_lease,
    escalation,
    held,
    holds,
    let_go,
    lock,
    log,
    move,
    require,
    require_person,
    require_text,
    settle,
    show_all,
    state,
    tell,
)
from fraudwatch.casework.models import Case
from fraudwatch.domain.access import Permission
from fraudwatch.domain.case import CaseStatus, Escalation, Move, claim_move
from fraudwatch.errors import Conflict


def claim(session: Session, case_id: int, act: Act, *, lease: timedelta) -> Case:
    """Make the case the actor's until `now + lease`. An ended lease of someone else is taken over.

    Claiming what one already holds renews it.
    """
    case = begin(session, case_id, act)
    if holds(case, act.actor, act.now):
        case.lease_until = act.now + lease
        session.flush()
        return case
    return take(session, case, act, lease=lease)


def take(session: Session, case: Case, act: Act, *, lease: timedelta) -> Case:
    """Claim a case whose row the caller has locked."""
    require_person(act.actor)
    if held(case, act.now):
        raise Conflict("someone else holds this case", state(session, case))
    settle(session, case, act.now)
    if case.status == CaseStatus.RESOLVED:
        raise Conflict("the case is resolved", state(session, case))
    if case.status == CaseStatus.MERGED:
        raise Conflict(f"the case went into case {case.merged_into}", state(session, case))
    _check_barred(session, case, act)
    if case.status != CaseStatus.SECOND_LOOK and case.escalation not in (None, Escalation.LATE):
        require(act.actor, Permission.CASES_ESCALATED)  # wherever it stands now
    move(session, case, claim_move(CaseStatus(case.status), escalation(case)), act)
    _give(session, case, act, lease)
    tell(session, case, act, "claimed", {})
    log(session, case, act, "claim", {})
    return case


def take_over(session: Session, case_id: int, act: Act, *, reason: str, lease: timedelta) -> Case:
    """End someone else's running lease and hold the case instead."""
    require_text(reason, "taking over")
    case = begin(session, case_id, act, Permission.CASES_REASSIGN)
    if not held(case, act.now) or holds(case, act.actor, act.now):
        raise Conflict("nobody else holds this case: claim it", state(session, case))
    _check_barred(session, case, act)
    before: dict[str, object] = {"claimed_by": case.claimed_by}
    move(session, case, Move.TAKE_OVER, act)
    _give(session, case, act, lease)
    tell(session, case, act, "taken_over", {**before, "text": reason})
    log(session, case, act, "take_over", before)
    return case


def renew(session: Session, case_id: int, act: Act, *, lease: timedelta) -> Case:
    """Hold the case until `now + lease`, as long as the lease still runs.

    It stands on no version: the running lease is what it needs. Otherwise an alert that joins would
    take the case from whoever works on it.
    """
    require(act.actor, Permission.CASES_WORK)
    case = lock(session, case_id)
    check_lease(session, case, act.actor, act.now)
    case.lease_until = act.now + lease
    session.flush()
    return case


def release(session: Session, case_id: int, act: Act) -> Case:
    """Give the case back undecided. Ending someone else's claim needs `CASES_REASSIGN`."""
    case = begin(session, case_id, act)
    if not held(case, act.now):
        raise Conflict("nobody holds this case", state(session, case))
    before: dict[str, object] = {"claimed_by": case.claimed_by}
    move(session, case, Move.RELEASE, act)
    let_go(case)
    tell(session, case, act, "released", before)
    log(session, case, act, "release", before)
    return case


def see(session: Session, case_id: int, act: Act) -> Case:
    """The holder has seen the alerts that joined since they took the case."""
    case = begin(session, case_id, act)
    check_lease(session, case, act.actor, act.now)
    seen = case.new_alerts
    show_all(session, case)
    if seen:
        tell(session, case, act, "seen", {"alerts": seen})
    session.flush()
    return case


def _check_barred(session: Session, case: Case, act: Act) -> None:
    workers.check_not_own(session, case, act.actor)
    if act.actor.user_id in case.barred:
        raise SamePerson("you have decided on this case: another person must look at it now")


def _give(session: Session, case: Case, act: Act, lease: timedelta) -> None:
    case.claimed_by, case.lease_until = act.actor.user_id, act.now + lease
    case.first_look_at = case.first_look_at or act.now
    case.wake_at = None
    show_all(session, case)
