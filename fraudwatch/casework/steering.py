"""What the worker obeys at this moment: the active policy, the models and the profiles."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from fraudwatch.casework.models import ModelRow, PolicyRow, ProfileVersion
from fraudwatch.policy.rules import Policy

_CHAMPION, _CHALLENGER = aliased(ModelRow), aliased(ModelRow)
# Put together once, for workers read it twice a second between batches.
_READ = (
    select(
        select(func.max(ProfileVersion.version)).scalar_subquery(),
        *(column for m in (_CHAMPION, _CHALLENGER) for column in (m.id, m.name, m.sha256)),
        PolicyRow.id.label("policy_id"),
        PolicyRow.review_from,
        PolicyRow.high_risk_from,
        PolicyRow.no_history_amount,
        PolicyRow.no_history_count,
        PolicyRow.blind_spot_rate,
        PolicyRow.late_days,
    )
    .select_from(PolicyRow)
    .outerjoin(_CHAMPION, _CHAMPION.status == "champion")
    .outerjoin(_CHALLENGER, _CHALLENGER.status == "challenger")
    .where(PolicyRow.status == "active")
)


@dataclass(frozen=True, slots=True)
class Registered:
    """A model as registered: where its bundle is and what the bundle's hash must be."""

    model_id: int
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Steering:
    """One consistent reading of all that steers decisions. No policy: everything to review."""

    policy: Policy
    champion: Registered | None
    challenger: Registered | None
    profile_version: str


def policy_of(row: PolicyRow) -> Policy:
    """The rules' view of a stored policy."""
    return Policy(
        row.id,
        row.review_from,
        row.high_risk_from,
        row.no_history_amount,
        row.no_history_count,
        row.blind_spot_rate,
        row.late_days,
    )


def read(session: Session) -> Steering:
    """Read it anew. The migrations ship a policy, so one is always active."""
    row = session.execute(_READ).one()
    champion = Registered(row[1], row[2], row[3]) if row[1] is not None else None
    challenger = Registered(row[4], row[5], row[6]) if row[4] is not None else None
    policy = Policy(
        row.policy_id,
        row.review_from,
        row.high_risk_from,
        row.no_history_amount,
        row.no_history_count,
        row.blind_spot_rate,
        row.late_days,
    )
    return Steering(policy, champion, challenger, row[0] or "")
