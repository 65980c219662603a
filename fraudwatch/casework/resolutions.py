"""Deciding a case, once by one person or, where the rules want it, by two or three; reopening it.

Nothing is told to the payment system, and no label is given, before the case is resolved: while a
second person must look, the first decision is a row of `case_decisions` and nothing else. Two who
differ escalate the case to a third, whose decision stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import exists, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from fraudwatch.casework import second_looks, telling
from fraudwatch.casework.case_rows import (
    Act,
    begin,
    check_lease,
    let_go,
    lock_all,
    log,
    move,
    require_person,
    require_text,
    state,
    tell,
)
from fraudwatch.casework.intake import DUE
from fraudwatch.casework.models import Alert, Case, CaseDecision
from fraudwatch.domain import finding as findings
from fraudwatch.domain.access import Permission
from fraudwatch.domain.case import OPEN, CaseStatus, Escalation, Move, Urgency
from fraudwatch.domain.decision import Outcome
from fraudwatch.domain.finding import Finding
from fraudwatch.domain.reason_codes import CATALOGUE
from fraudwatch.errors import Conflict


def decide(
    session: Session, case_id: int, act: Act, finding: Finding, *, key: bytes, topic: str
) -> Case:
    """Write down what the holder found; resolve the case if nobody else must look.

    `key` is the secret of the draw for second looks, `topic` where the payment system listens.
    Only a person who holds the running lease decides, and only on the version they have seen.
    """
    require_person(act.actor)
    _lock_merged(session, case_id)
    case = begin(session, case_id, act)
    check_lease(session, case, act.actor, act.now)
    alerts = session.scalars(select(Alert).where(Alert.case_id == case.id).order_by(Alert.id)).all()
    ids = [alert.transaction_id for alert in alerts]
    findings.check(finding, ids)
    before = second_looks.decisions(session, case)
    held_to = second_looks.rules(session)
    why = None if before else second_looks.why_second(case, finding, held_to, key)
    row = CaseDecision(
        case_id=case.id,
        round=case.round,
        look=len(before) + 1,
        decided_by=act.actor.user_id,
        decider_kind="person",
        decided_at=act.now,
        version=case.version,
        resolution=finding.resolution,
        reason_codes=list(finding.reason_codes),
        catalogue=CATALOGUE,
        note=finding.note,
        differing=second_looks.differing_data(finding),
        rules_id=held_to.id,
        second_why=why,
    )
    session.add(row)
    session.flush()  # first: the database asks for it when the case becomes resolved
    with session.no_autoflush:
        if why is not None:
            _ask_second(session, case, act, row)
        elif len(before) == 1 and not second_looks.finding_of(before[0]).agrees(finding, ids):
            _disagree(session, case, act, row)
        else:
            made = Move.AGREE if case.status == CaseStatus.SECOND_LOOK else Move.RESOLVE
            move(session, case, made, act)
            _close(session, case, alerts, finding, act, row, topic)
    return case


def reopen(session: Session, case_id: int, act: Act, *, reason: str) -> Case:
    """Take a decision back into work. Labels and events stay; a new decision appends newer ones."""
    require_text(reason, "reopening")
    case = begin(session, case_id, act, Permission.CASES_REOPEN)
    if case.status != CaseStatus.RESOLVED:
        raise Conflict("only a resolved case can be reopened", state(session, case))
    before: dict[str, object] = {
        "resolution": case.resolution,
        "reason_codes": case.reason_codes,
    }
    if other_open(session, case) is not None:
        raise Conflict("the account has another open case: work on that one", state(session, case))
    move(session, case, Move.REOPEN, act)
    begin_round(session, case, act.now)
    tell(session, case, act, "reopened", {**before, "text": reason})
    log(session, case, act, "reopen", before)
    return case


def uphold(session: Session, case_id: int, act: Act, *, reason: str) -> Case:
    """Leave a decision as it is although later truth contradicted it."""
    require_text(reason, "upholding a decision")
    case = begin(session, case_id, act, Permission.CASES_REOPEN)
    require_person(act.actor)
    if case.raised_at is None:
        raise Conflict("nothing contradicts this decision", state(session, case))
    before: dict[str, object] = {"raised_why": case.raised_why}
    case.raised_at = case.raised_why = None
    case.version += 1
    case.updated_at = act.now
    tell(session, case, act, "upheld", {**before, "text": reason})
    log(session, case, act, "uphold", before)
    return case


def other_open(session: Session, case: Case) -> int | None:
    """Another case that takes the alerts of this case's account."""
    return session.scalar(
        select(Case.id).where(
            Case.account_id == case.account_id,
            Case.status.in_(OPEN) | Case.forwards,
            Case.id != case.id,
        )
    )


def begin_round(session: Session, case: Case, now: datetime) -> None:
    """Make a case that was just reopened ready for a decision of its own. Raises `Conflict`."""
    case.round += 1
    case.due_at = now + DUE[Outcome(case.outcome)]
    case.first_look_at = None
    case.resolution = case.reason_codes = case.catalogue = None
    case.resolved_by = case.resolver_kind = case.resolved_at = None
    case.raised_at = case.raised_why = None
    try:
        session.flush()
        session.execute(update(Alert).where(Alert.case_id == case.id).values(resolution=None))
        _take_alerts_again(session, case)
    except IntegrityError as error:
        # The stream opened a case of this account between the look above and the write.
        raise Conflict("the account has another open case: work on that one") from error


def _ask_second(session: Session, case: Case, act: Act, row: CaseDecision) -> None:
    move(session, case, Move.ASK_SECOND, act)
    let_go(case)
    case.barred = sorted({*case.barred, act.actor.user_id})
    # Neither what was found nor why another must look: the second person reads this.
    tell(session, case, act, "decided", {"look": row.look})
    log(session, case, act, "decide", _logged(row))


def _disagree(session: Session, case: Case, act: Act, row: CaseDecision) -> None:
    case.escalation = Escalation.DISAGREEMENT
    move(session, case, Move.DISAGREE, act)
    let_go(case)
    case.barred = sorted({*case.barred, act.actor.user_id})
    case.urgency = max(case.urgency, Urgency.ESCALATED)
    tell(session, case, act, "disagreed", {"look": row.look})
    log(session, case, act, "disagree", _logged(row))


def _close(
    session: Session,
    case: Case,
    alerts: Sequence[Alert],
    finding: Finding,
    act: Act,
    row: CaseDecision,
    topic: str,
) -> None:
    let_go(case)
    case.resolution, case.reason_codes = finding.resolution, list(finding.reason_codes)
    case.catalogue = row.catalogue
    case.resolved_by, case.resolver_kind, case.resolved_at = act.actor.user_id, "person", act.now
    case.escalation, case.urgency, case.barred = None, Urgency.NORMAL, []
    telling.tell_all(session, case, alerts, finding, act, topic)
    session.execute(
        update(Case).where(Case.merged_into == case.id, Case.forwards).values(forwards=False)
    )
    told = {
        "look": row.look,
        "resolution": row.resolution,
        "reason_codes": row.reason_codes,
        "differing": row.differing,
        "catalogue": row.catalogue,
    }
    tell(session, case, act, "resolved", {**told, "text": row.note})
    transactions = [alert.transaction_id for alert in alerts]
    log(session, case, act, "resolve", {**_logged(row), "transactions": transactions})


def _logged(row: CaseDecision) -> dict[str, object]:
    return {
        "look": row.look,
        "resolution": row.resolution,
        "reason_codes": row.reason_codes,
        "differing": row.differing,
        "second_why": row.second_why,
    }


def _lock_merged(session: Session, case_id: int) -> None:
    """Cases that went into this one first: intake comes from them to this one."""
    lock_all(
        session,
        sorted(session.scalars(select(Case.id).where(Case.merged_into == case_id, Case.forwards))),
    )


def _take_alerts_again(session: Session, case: Case) -> None:
    """Cases that went into this one lead their accounts' alerts here again, where they can."""
    other = aliased(Case)
    session.execute(
        update(Case)
        .where(
            Case.merged_into == case.id,
            ~exists().where(
                other.account_id == Case.account_id,
                other.id != Case.id,
                other.status.in_(OPEN)
                | other.forwards
                | ((other.merged_into == case.id) & (other.id > Case.id)),
            ),
        )
        .values(forwards=True)
        .execution_options(synchronize_session=False)
    )
