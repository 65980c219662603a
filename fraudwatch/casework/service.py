"""What people do to cases: claim, renew, release, note, resolve, reopen.

Each function locks the case row first, checks, changes and flushes; the caller commits once. The
lock order is case, then everything that belongs to it, then the audit chain. Errors: `NotFound`,
`NotAllowed`, `Invalid`, and `Conflict` whose `current` is the state as it is now.

A version names what a person has seen: alerts, notes and moves raise it, renewing a lease does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, labels, outbox
from fraudwatch.casework.intake import DUE
from fraudwatch.casework.models import Alert, Case, CaseEvent, OutcomeRow, User
from fraudwatch.domain.access import Actor, Permission
from fraudwatch.domain.case import (
    OPEN,
    REASON_CODES,
    Action,
    CaseStatus,
    Move,
    Resolution,
    action_of,
    after,
    label_of,
)
from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.errors import Conflict, Invalid, NotAllowed, NotFound


def claim(
    session: Session,
    case_id: int,
    actor: Actor,
    *,
    now: datetime,
    lease: timedelta,
    version: int | None = None,
) -> Case:
    """Make the case the actor's until `now + lease`. An ended lease of someone else is taken over.

    Claiming what one already holds renews it.
    """
    _require(actor, Permission.CASES_WORK)
    case = lock(session, case_id)
    _check_version(session, case, version)
    if _holds(case, actor, now):
        case.lease_until = now + lease
        session.flush()
        return case
    return take(session, case, actor, now=now, lease=lease)


def take(session: Session, case: Case, actor: Actor, *, now: datetime, lease: timedelta) -> Case:
    """Claim a case whose row the caller has locked."""
    _require_person(actor)
    if case.status == CaseStatus.CLAIMED and case.lease_until is not None:
        if case.lease_until > now:
            raise Conflict("someone else holds this case", state(session, case))
        _move(case, Move.EXPIRE, now)
        _event(session, case, "expired", None, now, {"claimed_by": case.claimed_by})
        case.claimed_by = case.lease_until = None
    if case.status == CaseStatus.RESOLVED:
        raise Conflict("the case is resolved", state(session, case))
    _move(case, Move.CLAIM, now)
    case.claimed_by, case.lease_until = actor.user_id, now + lease
    case.version += 1
    _event(session, case, "claimed", actor, now, {})
    _audit(session, case, actor, now, "case.claim", {})
    return case


def renew(session: Session, case_id: int, actor: Actor, *, now: datetime, lease: timedelta) -> Case:
    """Hold the case until `now + lease`. Only while the lease still runs."""
    _require(actor, Permission.CASES_WORK)
    case = lock(session, case_id)
    _check_lease(session, case, actor, now)
    case.lease_until = now + lease
    session.flush()
    return case


def release(
    session: Session,
    case_id: int,
    actor: Actor,
    *,
    now: datetime,
    version: int | None = None,
) -> Case:
    """Give the case back undecided. Ending someone else's claim needs `CASES_REASSIGN`."""
    _require(actor, Permission.CASES_WORK)
    case = lock(session, case_id)
    _check_version(session, case, version)
    if case.status != CaseStatus.CLAIMED:
        raise Conflict("nobody holds this case", state(session, case))
    if case.claimed_by != actor.user_id and not actor.may(Permission.CASES_REASSIGN):
        raise NotAllowed("ending someone else's claim needs cases:reassign")
    _move(case, Move.RELEASE, now)
    held_by = case.claimed_by
    case.claimed_by = case.lease_until = None
    case.version += 1
    _event(session, case, "released", actor, now, {"claimed_by": held_by})
    _audit(session, case, actor, now, "case.release", {"claimed_by": held_by})
    return case


def note(
    session: Session,
    case_id: int,
    actor: Actor,
    *,
    text: str,
    now: datetime,
    version: int | None = None,
) -> Case:
    """Add a note. Open to everybody who works on cases, whoever holds this one."""
    _require(actor, Permission.CASES_WORK)
    if not text.strip():
        raise Invalid("a note needs text")
    case = lock(session, case_id)
    _check_version(session, case, version)
    case.version += 1
    case.updated_at = now
    _event(session, case, "noted", actor, now, {"text": text})
    # The text may hold personal data: the audit log says that, not what, was noted.
    _audit(session, case, actor, now, "case.note", {"length": len(text)})
    return case


def resolve(
    session: Session,
    case_id: int,
    actor: Actor,
    *,
    resolution: Resolution,
    reason_codes: Sequence[str],
    note: str,
    version: int,
    now: datetime,
    topic: str,
) -> Case:
    """Decide the case: labels, outcomes for the payment system (`topic`), event and audit row.

    Only a person who holds the running lease decides, and only on the version they have seen.
    """
    _require(actor, Permission.CASES_WORK)
    _require_person(actor)
    _check_reasons(resolution, reason_codes, note)
    case = lock(session, case_id)
    _check_lease(session, case, actor, now)
    _check_version(session, case, version)
    _move(case, Move.RESOLVE, now)
    case.claimed_by = case.lease_until = None
    case.resolution, case.reason_codes = resolution, list(reason_codes)
    case.resolved_by, case.resolver_kind, case.resolved_at = actor.user_id, "person", now
    case.version += 1
    alerts = session.scalars(select(Alert).where(Alert.case_id == case.id).order_by(Alert.id)).all()
    fraud = label_of(resolution)
    if fraud is not None:
        labels.from_resolution(session, alerts, fraud=fraud, user_id=actor.user_id, now=now)
    _tell(session, case, alerts, resolution, reason_codes, actor, now, topic)
    decision = {"resolution": resolution.value, "reason_codes": list(reason_codes)}
    _event(session, case, "resolved", actor, now, {**decision, "text": note})
    transactions = [alert.transaction_id for alert in alerts]
    _audit(session, case, actor, now, "case.resolve", {**decision, "transactions": transactions})
    return case


def reopen(
    session: Session, case_id: int, actor: Actor, *, reason: str, version: int, now: datetime
) -> Case:
    """Take a decision back into work. Labels and events stay; a new decision appends newer ones."""
    _require(actor, Permission.CASES_REOPEN)
    _require_person(actor)
    if not reason.strip():
        raise Invalid("reopening needs a reason")
    case = lock(session, case_id)
    _check_version(session, case, version)
    if case.status != CaseStatus.RESOLVED:
        raise Conflict("only a resolved case can be reopened", state(session, case))
    if _other_open(session, case):
        raise Conflict("the account has another open case: work on that one", state(session, case))
    before: dict[str, object] = {
        "resolution": case.resolution,
        "reason_codes": case.reason_codes,
    }
    _move(case, Move.REOPEN, now)
    case.due_at = now + DUE[Outcome(case.outcome)]
    case.resolution = case.reason_codes = None
    case.resolved_by = case.resolver_kind = case.resolved_at = None
    case.version += 1
    try:
        session.flush()
    except IntegrityError as error:
        # The stream opened a case of this account between the look above and the write.
        raise Conflict("the account has another open case: work on that one") from error
    _event(session, case, "reopened", actor, now, {**before, "text": reason})
    _audit(session, case, actor, now, "case.reopen", before)
    return case


def lock(session: Session, case_id: int) -> Case:
    """The case, its row locked until the end of the transaction."""
    case = session.scalar(
        select(Case)
        .where(Case.id == case_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if case is None:
        raise NotFound(f"there is no case {case_id}")
    return case


def state(session: Session, case: Case) -> dict[str, object]:
    """What a caller whose view is stale needs to know."""
    with session.no_autoflush:
        holder = session.scalar(select(User.name).where(User.id == case.claimed_by))
    return {
        "id": case.id,
        "status": case.status,
        "version": case.version,
        "claimed_by": holder,
        "lease_until": case.lease_until,
        "resolution": case.resolution,
    }


def _holds(case: Case, actor: Actor, now: datetime) -> bool:
    running = case.lease_until is not None and case.lease_until > now
    return running and case.claimed_by == actor.user_id


def _check_lease(session: Session, case: Case, actor: Actor, now: datetime) -> None:
    if not _holds(case, actor, now):
        raise Conflict("you do not hold this case: claim it first", state(session, case))


def _check_version(session: Session, case: Case, version: int | None) -> None:
    if version is not None and version != case.version:
        raise Conflict(
            f"the case has changed: you saw version {version}, it is at {case.version}",
            state(session, case),
        )


def _check_reasons(resolution: Resolution, codes: Sequence[str], note: str) -> None:
    if not codes:
        raise Invalid("a resolution needs at least one reason code")
    if len(set(codes)) != len(codes):
        raise Invalid("each reason code at most once")
    for code in codes:
        known = REASON_CODES.get(code)
        if known is None:
            raise Invalid(f"there is no reason code {code!r}: see /v1/reason-codes")
        if known.resolution is not resolution:
            raise Invalid(f"{code} is a reason for {known.resolution}, not for {resolution}")
        if known.note_required and not note.strip():
            raise Invalid(f"{code} needs a note that says what was found")


def _tell(
    session: Session,
    case: Case,
    alerts: Sequence[Alert],
    resolution: Resolution,
    reason_codes: Sequence[str],
    actor: Actor,
    now: datetime,
    topic: str,
) -> None:
    """Release or decline each transaction.

    A blind-spot draw was cleared when it came in: it needs no release, unless a person had
    declined it before.
    """
    action = action_of(resolution)
    declined = set(
        session.scalars(
            select(OutcomeRow.transaction_id).where(
                OutcomeRow.case_id == case.id, OutcomeRow.action == Action.DECLINE
            )
        )
    )
    for alert in alerts:
        cleared = alert.rule == Rule.BLIND_SPOT and alert.transaction_id not in declined
        if cleared and action is Action.RELEASE:
            continue
        session.add(
            OutcomeRow(
                case_id=case.id,
                transaction_id=alert.transaction_id,
                action=action,
                reason_codes=list(reason_codes),
                decided_by=actor.user_id,
                decider_kind="person",
                decided_at=now,
            )
        )
        outbox.write(
            session,
            topic=topic,
            key=case.account_id,
            message_id=f"outcome:{case.id}:{case.version}:{alert.transaction_id}",
            payload={
                "transaction_id": alert.transaction_id,
                "account_id": case.account_id,
                "case_id": case.id,
                "action": action.value,
                "resolution": resolution.value,
                "reason_codes": list(reason_codes),
                "decided_at": now,
            },
            now=now,
        )


def _other_open(session: Session, case: Case) -> bool:
    found = session.scalar(
        select(Case.id).where(
            Case.account_id == case.account_id, Case.status.in_(OPEN), Case.id != case.id
        )
    )
    return found is not None


def _require(actor: Actor, permission: Permission) -> None:
    if not actor.may(permission):
        raise NotAllowed(f"this needs {permission}")


def _require_person(actor: Actor) -> None:
    if not actor.person:
        raise NotAllowed("only people decide cases")


def _move(case: Case, move: Move, now: datetime) -> None:
    case.status = after(CaseStatus(case.status), move)
    case.updated_at = now


def _event(
    session: Session,
    case: Case,
    kind: str,
    actor: Actor | None,
    now: datetime,
    data: dict[str, object],
) -> None:
    session.add(
        CaseEvent(
            case_id=case.id,
            kind=kind,
            actor_id=actor.user_id if actor else None,
            at=now,
            data=data,
        )
    )


def _audit(
    session: Session,
    case: Case,
    actor: Actor,
    now: datetime,
    action: str,
    data: dict[str, object],
) -> None:
    session.flush()
    audit.append(session, at=now, actor=actor, action=action, subject=f"case:{case.id}", data=data)
