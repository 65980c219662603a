"""Versions of the policy: read, propose, activate. Workers take the active one at their next batch.

The proposer may also activate: both are on the row and in the audit log.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit
from fraudwatch.casework.models import PolicyRow, User
from fraudwatch.casework.schemas import PolicyOut
from fraudwatch.casework.steering import policy_of
from fraudwatch.domain.access import Actor, Permission
from fraudwatch.errors import Conflict, NotAllowed, NotFound
from fraudwatch.policy.rules import Policy

# Any fixed number: policies are activated one after the other.
_ACTIVATION_LOCK = 7_264_914


def list_policies(session: Session) -> list[PolicyRow]:
    """All versions, newest first."""
    return list(session.scalars(select(PolicyRow).order_by(PolicyRow.id.desc())))


def active(session: Session) -> Policy:
    """The policy that decides now. One always does: the migrations ship the first."""
    return policy_of(session.scalars(select(PolicyRow).where(PolicyRow.status == "active")).one())


def propose(
    session: Session,
    actor: Actor,
    *,
    review_from: float,
    high_risk_from: float,
    no_history_amount: Decimal,
    no_history_count: int,
    blind_spot_rate: float,
    late_days: int,
    comment: str,
    now: datetime,
) -> PolicyRow:
    """Add a version that decides nothing yet. Raises `Invalid` where the limits make no sense."""
    _require(actor, Permission.POLICIES_PROPOSE)
    row = PolicyRow(
        status="proposed",
        review_from=review_from,
        high_risk_from=high_risk_from,
        no_history_amount=no_history_amount,
        no_history_count=no_history_count,
        blind_spot_rate=blind_spot_rate,
        late_days=late_days,
        comment=comment,
        proposed_by=actor.user_id,
        proposed_at=now,
    )
    policy_of(row)
    session.add(row)
    session.flush()
    _audit(session, row, actor, "policy.propose", now)
    return row


def activate(session: Session, policy_id: int, actor: Actor, *, now: datetime) -> PolicyRow:
    """Let a proposed version decide and retire the one before it.

    A retired version does not come back: propose its values again, so that the time in which a
    version decided stays one interval.
    """
    _require(actor, Permission.POLICIES_ACTIVATE)
    session.execute(select(func.pg_advisory_xact_lock(_ACTIVATION_LOCK)))
    row = session.get(PolicyRow, policy_id, populate_existing=True, with_for_update=True)
    if row is None:
        raise NotFound(f"there is no policy {policy_id}")
    if row.status != "proposed":
        raise Conflict(f"the policy is {row.status} already", {"status": row.status})
    before = session.scalars(
        select(PolicyRow).where(PolicyRow.status == "active").with_for_update()
    ).one()
    before.status = "retired"
    session.flush()
    row.status, row.activated_by, row.activated_at = "active", actor.user_id, now
    session.flush()
    _audit(session, row, actor, "policy.activate", now, {"before": before.id})
    return row


def shown(session: Session, rows: Sequence[PolicyRow]) -> list[PolicyOut]:
    """The versions with the names of the people who proposed and activated them."""
    ids = {row.proposed_by for row in rows} | {row.activated_by for row in rows}
    names: dict[int | None, str] = {
        row.id: row.name
        for row in session.execute(select(User.id, User.name).where(User.id.in_(ids - {None})))
    }
    return [
        PolicyOut(
            id=row.id,
            status=row.status,
            review_from=row.review_from,
            high_risk_from=row.high_risk_from,
            no_history_amount=row.no_history_amount,
            no_history_count=row.no_history_count,
            blind_spot_rate=row.blind_spot_rate,
            late_days=row.late_days,
            comment=row.comment,
            proposed_by=names.get(row.proposed_by),
            proposed_at=row.proposed_at,
            activated_by=names.get(row.activated_by),
            activated_at=row.activated_at,
        )
        for row in rows
    ]


def _require(actor: Actor, permission: Permission) -> None:
    if not (actor.person and actor.may(permission)):
        raise NotAllowed(f"this needs a person with {permission}")


def _audit(
    session: Session,
    row: PolicyRow,
    actor: Actor,
    action: str,
    now: datetime,
    more: dict[str, object] | None = None,
) -> None:
    values = {
        "review_from": row.review_from,
        "high_risk_from": row.high_risk_from,
        "no_history_amount": row.no_history_amount,
        "no_history_count": row.no_history_count,
        "blind_spot_rate": row.blind_spot_rate,
        "late_days": row.late_days,
        "comment": row.comment,
    }
    audit.append(
        session,
        at=now,
        actor=actor,
        action=action,
        subject=f"policy:{row.id}",
        data={**values, **(more or {})},
    )
