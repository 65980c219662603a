"""When a second person must look at a decision, and by which version of the rules.

The second person sees the case, not what the first one found: an answer that is known is agreed
with too easily. The share is drawn by the case and its round, with the key of this installation:
the same case draws the same however often it is decided, and nobody can foresee it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit
from fraudwatch.casework.case_rows import require
from fraudwatch.casework.models import Case, CaseDecision, CaseworkRules
from fraudwatch.domain.access import Actor, Permission
from fraudwatch.domain.finding import Differing, Finding
from fraudwatch.domain.reason_codes import REASON_CODES, Resolution
from fraudwatch.errors import Invalid
from fraudwatch.policy.rules import draw


@dataclass(frozen=True, slots=True)
class NewRules:
    """What a risk officer sets; `second_amount` None: no amount asks for a second person."""

    second_amount: Decimal | None
    second_codes: tuple[str, ...]
    second_share: float
    dispute_hours: int
    comment: str


def rules(session: Session) -> CaseworkRules:
    """The rules that hold now: the newest. The migrations ship the first."""
    return session.scalars(select(CaseworkRules).order_by(CaseworkRules.id.desc()).limit(1)).one()


def all_rules(session: Session) -> Sequence[CaseworkRules]:
    """All versions, newest first."""
    return session.scalars(select(CaseworkRules).order_by(CaseworkRules.id.desc())).all()


def set_rules(session: Session, actor: Actor, new: NewRules, *, now: datetime) -> CaseworkRules:
    """Add a version; it holds from the next decision on. Raises `Invalid`, `NotAllowed`."""
    require(actor, Permission.POLICIES_ACTIVATE)
    unknown = sorted(set(new.second_codes) - REASON_CODES.keys())
    if unknown:
        raise Invalid(f"there is no reason code {unknown[0]!r}: see /v1/reason-codes")
    if not 0 <= new.second_share <= 1:
        raise Invalid("second_share is a share: 0 to 1")
    row = CaseworkRules(
        second_amount=new.second_amount,
        second_codes=sorted(set(new.second_codes)),
        second_share=new.second_share,
        dispute_hours=new.dispute_hours,
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
        action="rules.set",
        subject=f"casework-rules:{row.id}",
        data={
            "second_amount": row.second_amount,
            "second_codes": row.second_codes,
            "second_share": row.second_share,
            "dispute_hours": row.dispute_hours,
            "comment": row.comment,
        },
    )
    return row


def why_second(case: Case, finding: Finding, held_to: CaseworkRules, key: bytes) -> str | None:
    """Why another person must look before this decision counts; None: they need not."""
    if held_to.second_amount is not None and case.amount >= held_to.second_amount:
        return "amount"
    codes = {*finding.reason_codes, *(c for part in finding.differing for c in part.reason_codes)}
    if codes & set(held_to.second_codes):
        return "reason"
    if draw(key, f"second:{case.id}:{case.round}") < held_to.second_share:
        return "share"
    return None


def decisions(session: Session, case: Case) -> list[CaseDecision]:
    """What people found in this round, in order."""
    return list(
        session.scalars(
            select(CaseDecision)
            .where(CaseDecision.case_id == case.id, CaseDecision.round == case.round)
            .order_by(CaseDecision.look)
        )
    )


def deciders(session: Session, case: Case) -> list[int]:
    """Users who ever decided on this case."""
    found = select(CaseDecision.decided_by).where(CaseDecision.case_id == case.id).distinct()
    return sorted(session.scalars(found))


def finding_of(row: CaseDecision) -> Finding:
    """A decision as what it found."""
    return Finding(
        Resolution(row.resolution),
        tuple(row.reason_codes),
        row.note,
        tuple(
            Differing(
                part["transaction_id"], Resolution(part["resolution"]), tuple(part["reason_codes"])
            )
            for part in row.differing
        ),
    )


def differing_data(finding: Finding) -> list[dict[str, object]]:
    """The differing transactions, for a row or an event."""
    return [
        {
            "transaction_id": part.transaction_id,
            "resolution": part.resolution.value,
            "reason_codes": list(part.reason_codes),
        }
        for part in finding.differing
    ]
