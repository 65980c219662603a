"""Pages of those who steer: versions of the policy, models."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from fraudwatch.casework import models_registry, policies
from fraudwatch.casework.bodies import PolicyIn
from fraudwatch.casework.console import forms
from fraudwatch.casework.console.forms import Fault, Faulty, Filled, FormDep
from fraudwatch.casework.console.render import Desk, DeskDep, go
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.params import IdPath
from fraudwatch.casework.permissions import (
    MayActivatePolicies,
    MayPromoteModels,
    MayProposePolicies,
    MayReadModels,
    MayReadPolicies,
)
from fraudwatch.casework.schemas import ModelOut, PolicyOut, money_text
from fraudwatch.errors import Invalid

router = APIRouter()

Done = Annotated[Literal["", "proposed", "activated", "promoted"], Query()]

PROPOSE = "propose"


@router.get("/policies")
def policies_page(
    desk: DeskDep, _: MayReadPolicies, session: SessionDep, done: Done = ""
) -> Response:
    """All versions, newest first, and the form for the next one."""
    return _policies(desk, session, done=done)


@router.post("/policies")
def propose(
    form: FormDep,
    desk: DeskDep,
    lens: MayProposePolicies,
    services: ServicesDep,
    session: SessionDep,
) -> Response:
    """Adds a version that decides nothing until it is activated."""
    try:
        body = forms.read(PolicyIn, form)
        try:
            policies.propose(
                session,
                lens.actor,
                review_from=body.review_from,
                high_risk_from=body.high_risk_from,
                no_history_amount=body.no_history_amount,
                no_history_count=body.no_history_count,
                blind_spot_rate=body.blind_spot_rate,
                late_days=body.late_days,
                comment=body.comment,
                now=services.clock.now(),
            )
        except Invalid as error:
            raise Faulty([Fault("review_from", f"{error}.")]) from error
    except Faulty as wrong:
        filled = Filled(forms.texts(form), wrong.faults, PROPOSE)
        return _policies(desk, session, filled=filled)
    return go("/policies?done=proposed")


@router.post("/policies/{policy_id}/activate")
def activate(
    policy_id: IdPath, lens: MayActivatePolicies, services: ServicesDep, session: SessionDep
) -> Response:
    """Workers decide by it from their next batch on."""
    policies.activate(session, policy_id, lens.actor, now=services.clock.now())
    return go("/policies?done=activated")


@router.get("/models")
def models_page(desk: DeskDep, _: MayReadModels, session: SessionDep, done: Done = "") -> Response:
    """Models, newest first; one decides."""
    found = [
        ModelOut.model_validate(row, from_attributes=True)
        for row in models_registry.list_models(session)
    ]
    return desk.page("models.html", models=found, done=done)


@router.post("/models/{model_id}/promote")
def promote(
    model_id: IdPath, lens: MayPromoteModels, services: ServicesDep, session: SessionDep
) -> Response:
    """The model decides from the workers' next batch on."""
    models_registry.promote_by(session, model_id, lens.actor, services.clock.now())
    return go("/models?done=promoted")


def _policies(
    desk: Desk, session: Session, *, filled: Filled | None = None, done: str = ""
) -> Response:
    found = policies.shown(session, policies.list_policies(session))
    active = next(policy for policy in found if policy.status == "active")
    filled = filled or Filled(_values(active), (), PROPOSE)
    return desk.page(
        "policies.html", 422 if filled.faults else 200, policies=found, filled=filled, done=done
    )


def _values(policy: PolicyOut) -> dict[str, list[str]]:
    """The form begins with what decides now; the reason for a change is for a person to give."""
    return {
        "review_from": [f"{policy.review_from:g}"],
        "high_risk_from": [f"{policy.high_risk_from:g}"],
        "no_history_amount": [money_text(policy.no_history_amount)],
        "no_history_count": [str(policy.no_history_count)],
        "blind_spot_rate": [f"{policy.blind_spot_rate:g}"],
        "late_days": [str(policy.late_days)],
    }
