"""Customers' objections to holds and declines: before all other work, and to a different person.

Nobody who has decided on the payment takes the case again. A decision that is objected to stays in
force until another person has decided: the machine only brings the case back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, holds, second_looks
from fraudwatch.casework.case_rows import by_machine, held, let_go, lock_all, require
from fraudwatch.casework.ledger_tables import near
from fraudwatch.casework.models import Alert, Case, CaseEvent, Dispute, LedgerRow
from fraudwatch.casework.resolutions import begin_round, other_open
from fraudwatch.domain.access import Actor, Permission
from fraudwatch.domain.case import Action, CaseStatus, Move, Urgency, action_of
from fraudwatch.domain.customer_texts import Standing
from fraudwatch.domain.reason_codes import Resolution
from fraudwatch.errors import Conflict, NotFound

MOST = 3  # objections to one payment
_ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class Answer:
    """All that a customer-facing service learns."""

    state: Standing
    promised_at: datetime | None


def open_dispute(
    session: Session, actor: Actor, *, token: str, statement: str, key: bytes, now: datetime
) -> Answer:
    """Object to the hold that the token names; again while one is open changes nothing.

    A payment that is released already needs no objection: the answer says so. Raises `NotFound`
    for a token that is not ours and `Conflict` after `MOST` objections.
    """
    require(actor, Permission.DISPUTES_WRITE)
    alert, case = _lock(session, holds.read(token, key))
    earlier = _disputes(session, alert)
    if earlier and earlier[0].answered_at is None:
        return _standing(case, earlier[0])
    if alert.resolution and action_of(Resolution(alert.resolution)) is Action.RELEASE:
        return Answer(Standing.RELEASED, None)
    if len(earlier) >= MOST:
        raise Conflict("this payment was objected to as often as can be")
    promised = now + timedelta(hours=second_looks.rules(session).dispute_hours)
    dispute = Dispute(
        alert_id=alert.id,
        statement=statement,
        opened_by=actor.user_id,
        opened_at=now,
        promised_at=promised,
    )
    session.add(dispute)
    deciders = second_looks.deciders(session, case)
    if case.status == CaseStatus.RESOLVED:
        case = _bring_back(session, case, alert, now)
    _hurry(session, case, deciders, promised, now)
    session.add(
        CaseEvent(
            case_id=case.id,
            kind="disputed",
            actor_id=actor.user_id,
            at=now,
            data={"transaction_id": alert.transaction_id, "text": statement},
        )
    )
    session.flush()
    audit.append(
        session,
        at=now,
        actor=actor,
        action="case.dispute",
        subject=f"case:{case.id}",
        data={"transaction_id": alert.transaction_id},
    )
    return _standing(case, dispute)


def standing(session: Session, actor: Actor, *, token: str, key: bytes) -> Answer:
    """How the newest objection stands. Raises `NotFound` where there is none."""
    require(actor, Permission.DISPUTES_WRITE)
    alert = session.get(Alert, holds.read(token, key))
    found = [] if alert is None else _disputes(session, alert)
    if alert is None or not found:
        raise NotFound("there is no objection to this hold")
    return _standing(session.get_one(Case, alert.case_id), found[0])


def _lock(session: Session, alert_id: int) -> tuple[Alert, Case]:
    """The alert and its case, locked; a merge may move the alert before the lock is there."""
    while True:
        alert = session.get(Alert, alert_id, populate_existing=True)
        if alert is None:
            raise NotFound("there is no such hold")
        (case,) = lock_all(session, [alert.case_id])
        session.refresh(alert)
        if alert.case_id == case.id:
            return alert, case


def _disputes(session: Session, alert: Alert) -> list[Dispute]:
    """Newest first."""
    query = select(Dispute).where(Dispute.alert_id == alert.id).order_by(Dispute.id.desc())
    return list(session.scalars(query))


def _standing(case: Case, dispute: Dispute) -> Answer:
    if dispute.action is not None:
        released = dispute.action == Action.RELEASE
        return Answer(Standing.RELEASED if released else Standing.DECLINED, dispute.promised_at)
    # Held now, or taken by someone at any time since the objection.
    seen = case.claimed_by is not None or (
        case.first_look_at is not None and case.first_look_at >= dispute.opened_at
    )
    return Answer(Standing.IN_REVIEW if seen else Standing.RECEIVED, dispute.promised_at)


def _bring_back(session: Session, case: Case, alert: Alert, now: datetime) -> Case:
    """Reopen the case; or, where the account has another open one, move the payment there."""
    other_id = other_open(session, case)
    if other_id is None:
        by_machine(
            session, case, Move.DISPUTE, "brought_back", now, {"resolution": case.resolution}
        )
        begin_round(session, case, now)
        return case
    (other,) = lock_all(session, [other_id])
    if other.merged_into is not None:
        (other,) = lock_all(session, [other.merged_into])
    amount = session.scalars(
        select(LedgerRow.amount).where(near({alert.transaction_id: alert.event_time}, _ZERO))
    ).one_or_none()
    for one, sign in ((case, -1), (other, 1)):
        one.alert_count += sign
        one.amount += sign * (amount or 0)
    other.outcome = max(other.outcome, alert.outcome)
    alert.case_id, alert.resolution = other.id, None
    for one, another, kind in ((case, other, "payment_left"), (other, case, "payment_came")):
        data = {"transaction_id": alert.transaction_id, "other_case": another.id}
        session.add(CaseEvent(case_id=one.id, kind=kind, actor_id=None, at=now, data=data))
    case.version += 1
    return other


def _hurry(
    session: Session, case: Case, deciders: list[int], promised: datetime, now: datetime
) -> None:
    """Before others, by the promised time, and not to anyone who has decided on it."""
    case.urgency = Urgency.DISPUTED
    case.due_at = min(case.due_at, promised)
    case.version += 1
    case.updated_at = now
    if case.status == CaseStatus.WAITING:
        case.wake_at = None
        by_machine(session, case, Move.WAKE, "woken", now, {})
    if case.claimed_by in deciders:
        holder = case.claimed_by
        by_machine(session, case, Move.EXPIRE, "expired", now, {"claimed_by": holder})
        let_go(case)
    case.barred = sorted({*case.barred, *deciders})
    if not held(case, now) and case.status != CaseStatus.SECOND_LOOK:
        case.first_look_at = None  # the customer waits for somebody to look from now on
