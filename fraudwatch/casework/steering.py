"""What the worker obeys at this moment: the active policy, the models and the profiles."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fraudwatch.casework.models import ModelRow, PolicyRow, ProfileVersion
from fraudwatch.policy.rules import Policy


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
    """Read it anew; three small queries. The migrations ship a policy, so one is always active."""
    policy = session.scalars(select(PolicyRow).where(PolicyRow.status == "active")).one()
    models = {
        row.status: Registered(row.id, row.name, row.sha256)
        for row in session.execute(
            select(ModelRow.status, ModelRow.id, ModelRow.name, ModelRow.sha256).where(
                ModelRow.status.in_(("champion", "challenger"))
            )
        )
    }
    profile_version = session.scalar(select(func.max(ProfileVersion.version))) or ""
    return Steering(
        policy_of(policy), models.get("champion"), models.get("challenger"), profile_version
    )
