"""Holds and objections to them, for payment systems and customer-facing services."""

from __future__ import annotations

from fastapi import APIRouter

from fraudwatch.casework import disputes, holds
from fraudwatch.casework.bodies_cases import DisputeIn
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.params import KeyPath
from fraudwatch.casework.permissions import MayReadDecisions, MayWriteDisputes
from fraudwatch.casework.problems import responses
from fraudwatch.casework.schemas_disputes import CustomerTexts, DisputeOut, HoldOut
from fraudwatch.domain.customer_texts import TEXTS

router = APIRouter(prefix="/v1", tags=["disputes"])


@router.get(
    "/holds/{transaction_id:path}",
    operation_id="readHold",
    summary="The token of a hold",
    responses=responses(401, 403, 404, 422),
)
def read_hold(transaction_id: KeyPath, lens: MayReadDecisions, session: SessionDep) -> HoldOut:
    """For payment systems, to pass on to the service that talks to the customer."""
    return HoldOut(token=holds.token_of(session, transaction_id, lens.key))


@router.post(
    "/disputes",
    operation_id="openDispute",
    summary="Object to a hold or a decline",
    responses=responses(401, 403, 404, 409, 422, 503),
)
def open_dispute(
    body: DisputeIn, lens: MayWriteDisputes, services: ServicesDep, session: SessionDep
) -> DisputeOut:
    """A different person looks at the payment, before other work. Sending it again is harmless."""
    found = disputes.open_dispute(
        session,
        lens.actor,
        token=body.token,
        statement=body.statement,
        key=lens.key,
        now=services.clock.now(),
    )
    return DisputeOut(state=found.state.value, promised_at=found.promised_at)


@router.get(
    "/disputes/{token}",
    operation_id="readDispute",
    summary="How an objection stands",
    responses=responses(401, 403, 404, 422),
)
def read_dispute(token: KeyPath, lens: MayWriteDisputes, session: SessionDep) -> DisputeOut:
    """Its state and the promised time, and nothing else."""
    found = disputes.standing(session, lens.actor, token=token, key=lens.key)
    return DisputeOut(state=found.state.value, promised_at=found.promised_at)


@router.get(
    "/customer-texts",
    operation_id="readCustomerTexts",
    summary="What customers may be told",
    responses=responses(401, 403),
)
def customer_texts(_: MayWriteDisputes) -> CustomerTexts:
    """In English and French, for each state. They disclose no reasons."""
    return CustomerTexts(
        texts={
            language: {state.value: text for state, text in texts.items()}
            for language, texts in TEXTS.items()
        }
    )
