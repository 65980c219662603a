"""What risk officers steer: policies and models."""

from __future__ import annotations

from fastapi import APIRouter

from fraudwatch.casework import models_registry, policies
from fraudwatch.casework.bodies import PolicyIn
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.models import ModelRow
from fraudwatch.casework.params import IdPath
from fraudwatch.casework.permissions import (
    MayActivatePolicies,
    MayPromoteModels,
    MayProposePolicies,
    MayReadModels,
    MayReadPolicies,
)
from fraudwatch.casework.problems import responses
from fraudwatch.casework.schemas import ModelOut, Page, PolicyOut

router = APIRouter(prefix="/v1", tags=["steering"])


@router.get(
    "/policies",
    operation_id="listPolicies",
    summary="All versions of the policy",
    responses=responses(401, 403),
)
def list_policies(_: MayReadPolicies, session: SessionDep) -> Page[PolicyOut]:
    """Newest first; one is active."""
    return Page[PolicyOut](items=policies.shown(session, policies.list_policies(session)))


@router.post(
    "/policies",
    operation_id="proposePolicy",
    summary="Propose a policy",
    status_code=201,
    responses=responses(401, 403, 422),
)
def propose(
    body: PolicyIn, lens: MayProposePolicies, services: ServicesDep, session: SessionDep
) -> PolicyOut:
    """Adds a version that decides nothing until it is activated."""
    row = policies.propose(
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
    return policies.shown(session, [row])[0]


@router.post(
    "/policies/{policy_id}/activate",
    operation_id="activatePolicy",
    summary="Activate a policy",
    responses=responses(401, 403, 404, 409),
)
def activate(
    policy_id: IdPath, lens: MayActivatePolicies, services: ServicesDep, session: SessionDep
) -> PolicyOut:
    """Workers decide by it from their next batch on; the one before retires."""
    row = policies.activate(session, policy_id, lens.actor, now=services.clock.now())
    return policies.shown(session, [row])[0]


@router.get("/models", operation_id="listModels", summary="Models", responses=responses(401, 403))
def list_models(_: MayReadModels, session: SessionDep) -> Page[ModelOut]:
    """Newest first, with their manifests and evaluations."""
    return Page[ModelOut](items=[_shown(row) for row in models_registry.list_models(session)])


@router.post(
    "/models/{model_id}/promote",
    operation_id="promoteModel",
    summary="Let a model decide",
    responses=responses(401, 403, 404, 409),
)
def promote(
    model_id: IdPath, lens: MayPromoteModels, services: ServicesDep, session: SessionDep
) -> ModelOut:
    """The model becomes champion from the workers' next batch on; the one before retires."""
    row = models_registry.promote_by(session, model_id, lens.actor, services.clock.now())
    return _shown(row)


def _shown(row: ModelRow) -> ModelOut:
    return ModelOut.model_validate(row, from_attributes=True)
