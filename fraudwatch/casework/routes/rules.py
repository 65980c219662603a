"""What casework goes by: reason codes, and when a second person must look."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import second_looks
from fraudwatch.casework.bodies_cases import RulesIn
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.models import CaseworkRules, User
from fraudwatch.casework.permissions import MayActivatePolicies, MayReadCases
from fraudwatch.casework.problems import responses
from fraudwatch.casework.schemas import Page
from fraudwatch.casework.schemas_cases import CatalogueOut, ReasonCodeOut, RulesOut
from fraudwatch.domain.reason_codes import CATALOGUE, CATALOGUES
from fraudwatch.errors import NotFound

router = APIRouter(prefix="/v1", tags=["cases"])


@router.get(
    "/reason-codes",
    operation_id="listReasonCodes",
    summary="Reason codes and their definitions",
    responses=responses(401, 403, 404, 422),
)
def reason_codes(
    _: MayReadCases,
    version: Annotated[
        int | None, Query(ge=1, description="Of the catalogue, as a case names it. Default: now.")
    ] = None,
) -> CatalogueOut:
    """The grounds that a resolution may name, as they stood in that version."""
    wanted = version or CATALOGUE
    if wanted not in CATALOGUES:
        raise NotFound(f"there is no version {wanted} of the reason codes")
    return CatalogueOut(
        version=wanted,
        items=[
            ReasonCodeOut(
                code=reason.code,
                resolution=reason.resolution.value,
                title=reason.title,
                definition=reason.definition,
                note_required=reason.note_required,
            )
            for reason in CATALOGUES[wanted]
        ],
    )


@router.get(
    "/casework-rules",
    operation_id="listCaseworkRules",
    summary="When a second person must look",
    responses=responses(401, 403),
)
def list_rules(_: MayActivatePolicies, session: SessionDep) -> Page[RulesOut]:
    """All versions, newest first; the newest holds. Analysts do not see them: whoever knew which
    cases are looked at twice would decide those with more care."""
    return Page[RulesOut](items=[_shown(session, row) for row in second_looks.all_rules(session)])


@router.post(
    "/casework-rules",
    operation_id="setCaseworkRules",
    summary="Set when a second person must look",
    responses=responses(401, 403, 422),
)
def set_rules(
    lens: MayActivatePolicies, services: ServicesDep, session: SessionDep, body: RulesIn
) -> RulesOut:
    """Holds from the next decision on; every decision names the version it was made under."""
    new = second_looks.NewRules(
        body.second_amount,
        tuple(body.second_codes),
        body.second_share,
        body.dispute_hours,
        body.comment,
    )
    row = second_looks.set_rules(session, lens.actor, new, now=services.clock.now())
    return _shown(session, row)


def _shown(session: Session, row: CaseworkRules) -> RulesOut:
    name = session.scalar(select(User.name).where(User.id == row.set_by))
    return RulesOut(
        id=row.id,
        second_amount=row.second_amount,
        second_codes=row.second_codes,
        second_share=row.second_share,
        dispute_hours=row.dispute_hours,
        comment=row.comment,
        set_by=name,
        set_at=row.set_at,
    )
