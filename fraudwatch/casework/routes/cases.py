"""Cases: the queue, one case, and what people do to it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from fraudwatch.casework import queue, service, views
from fraudwatch.casework.bodies import NoteIn, ReopenIn, ResolveIn, VersionOnly
from fraudwatch.casework.context import Services, ServicesDep, SessionDep
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import Case
from fraudwatch.casework.params import Cursor, IdPath, KeyQuery, Limit
from fraudwatch.casework.permissions import MayReadCases, MayReopenCases, MayWorkCases
from fraudwatch.casework.problems import responses
from fraudwatch.casework.routes.parts import IfMatch, required_version, seen_version, set_etag
from fraudwatch.casework.schemas import CaseDetail, CaseSummary, Page, ReasonCodeOut
from fraudwatch.domain.case import REASON_CODES, CaseStatus
from fraudwatch.domain.decision import Outcome
from fraudwatch.errors import Invalid

router = APIRouter(prefix="/v1", tags=["cases"])

_ACT = responses(401, 403, 404, 409, 422, 503)


def _lease(services: Services) -> timedelta:
    return timedelta(minutes=services.settings.lease_minutes)


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise Invalid("a time needs its offset, e.g. 2026-01-31T12:00:00Z")
    return moment


def _shown(
    session: Session, lens: Lens, case: Case, services: Services, response: Response
) -> CaseDetail:
    """The case as it is now, for the answer of every act."""
    set_etag(response, case.version)
    return views.case_detail(session, lens, case.id, now=services.clock.now())


@router.get(
    "/cases",
    operation_id="listCases",
    summary="List and filter cases",
    responses=responses(401, 403, 422),
)
def list_cases(
    lens: MayReadCases,
    services: ServicesDep,
    session: SessionDep,
    status: Annotated[list[CaseStatus] | None, Query(description="Any of these.")] = None,
    outcome: Annotated[Literal["review", "high_risk"] | None, Query()] = None,
    account_id: KeyQuery | None = None,
    claimed_by: Annotated[Literal["me"] | None, Query()] = None,
    opened_from: Annotated[datetime | None, Query()] = None,
    opened_before: Annotated[datetime | None, Query()] = None,
    late: Annotated[bool | None, Query(description="Open and past the due time.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[CaseSummary]:
    """Most urgent first. Without `status`: cases of every status."""
    wanted = queue.CaseFilter(
        status=frozenset(status or ()),
        outcome=Outcome[outcome.upper()] if outcome else None,
        account_id=account_id,
        claimed_by=lens.actor.user_id if claimed_by else None,
        opened_from=_aware(opened_from),
        opened_before=_aware(opened_before),
        late=late,
    )
    now = services.clock.now()
    return views.case_page(session, lens, wanted, now=now, cursor=cursor, limit=limit)


@router.post(
    "/cases/next",
    operation_id="nextCase",
    summary="Claim the next case",
    response_model=CaseDetail,
    responses={204: {"description": "No case waits."}, **responses(401, 403, 503)},
)
def next_case(
    lens: MayWorkCases, services: ServicesDep, session: SessionDep, response: Response
) -> CaseDetail | Response:
    """Claims the most urgent case that waits; nobody else gets the same one."""
    case = queue.next_case(session, lens.actor, now=services.clock.now(), lease=_lease(services))
    if case is None:
        return Response(status_code=204)
    return _shown(session, lens, case, services, response)


@router.get(
    "/cases/{case_id}",
    operation_id="readCase",
    summary="Read a case",
    responses=responses(401, 403, 404),
)
def read_case(
    case_id: IdPath,
    lens: MayReadCases,
    services: ServicesDep,
    session: SessionDep,
    response: Response,
) -> CaseDetail:
    """Alerts with ranked reasons, the account's history, what happened. `ETag` is the version."""
    found = views.case_detail(session, lens, case_id, now=services.clock.now())
    set_etag(response, found.version)
    return found


@router.post(
    "/cases/{case_id}/claim", operation_id="claimCase", summary="Claim a case", responses=_ACT
)
def claim(
    case_id: IdPath,
    lens: MayWorkCases,
    services: ServicesDep,
    session: SessionDep,
    response: Response,
    if_match: IfMatch,
    body: VersionOnly | None = None,
) -> CaseDetail:
    """The case is the caller's until the lease ends; claiming again renews it."""
    case = service.claim(
        session,
        case_id,
        lens.actor,
        now=services.clock.now(),
        lease=_lease(services),
        version=seen_version(body.version if body else None, if_match),
    )
    return _shown(session, lens, case, services, response)


@router.post(
    "/cases/{case_id}/renew", operation_id="renewClaim", summary="Renew a claim", responses=_ACT
)
def renew(
    case_id: IdPath,
    lens: MayWorkCases,
    services: ServicesDep,
    session: SessionDep,
    response: Response,
) -> CaseDetail:
    """The lease begins anew; the version stays."""
    now = services.clock.now()
    case = service.renew(session, case_id, lens.actor, now=now, lease=_lease(services))
    return _shown(session, lens, case, services, response)


@router.post(
    "/cases/{case_id}/release",
    operation_id="releaseCase",
    summary="Give a case back",
    responses=_ACT,
)
def release(
    case_id: IdPath,
    lens: MayWorkCases,
    services: ServicesDep,
    session: SessionDep,
    response: Response,
    if_match: IfMatch,
    body: VersionOnly | None = None,
) -> CaseDetail:
    """The case waits again, undecided. Someone else's claim needs `cases:reassign`."""
    case = service.release(
        session,
        case_id,
        lens.actor,
        now=services.clock.now(),
        version=seen_version(body.version if body else None, if_match),
    )
    return _shown(session, lens, case, services, response)


@router.post(
    "/cases/{case_id}/notes", operation_id="noteOnCase", summary="Add a note", responses=_ACT
)
def note(
    case_id: IdPath,
    body: NoteIn,
    lens: MayWorkCases,
    services: ServicesDep,
    session: SessionDep,
    response: Response,
    if_match: IfMatch,
) -> CaseDetail:
    """A note cannot be changed or removed."""
    case = service.note(
        session,
        case_id,
        lens.actor,
        text=body.text,
        now=services.clock.now(),
        version=seen_version(body.version, if_match),
    )
    return _shown(session, lens, case, services, response)


@router.post(
    "/cases/{case_id}/resolve",
    operation_id="resolveCase",
    summary="Decide a case",
    responses=_ACT,
)
def resolve(
    case_id: IdPath,
    body: ResolveIn,
    lens: MayWorkCases,
    services: ServicesDep,
    session: SessionDep,
    response: Response,
    if_match: IfMatch,
) -> CaseDetail:
    """Fraud declines the payments, anything else releases them. Needs the claim and the version."""
    case = service.resolve(
        session,
        case_id,
        lens.actor,
        resolution=body.resolution,
        reason_codes=body.reason_codes,
        note=body.note,
        version=required_version(body.version, if_match),
        now=services.clock.now(),
        topic=services.settings.topic_outcomes,
    )
    return _shown(session, lens, case, services, response)


@router.post(
    "/cases/{case_id}/reopen", operation_id="reopenCase", summary="Reopen a case", responses=_ACT
)
def reopen(
    case_id: IdPath,
    body: ReopenIn,
    lens: MayReopenCases,
    services: ServicesDep,
    session: SessionDep,
    response: Response,
    if_match: IfMatch,
) -> CaseDetail:
    """The decision is taken back into work; what was decided stays in the events."""
    case = service.reopen(
        session,
        case_id,
        lens.actor,
        reason=body.reason,
        version=required_version(body.version, if_match),
        now=services.clock.now(),
    )
    return _shown(session, lens, case, services, response)


@router.get(
    "/reason-codes",
    operation_id="listReasonCodes",
    summary="Reason codes and their definitions",
    responses=responses(401, 403),
)
def reason_codes(_: MayReadCases) -> Page[ReasonCodeOut]:
    """The grounds that a resolution may name."""
    return Page[ReasonCodeOut](
        items=[
            ReasonCodeOut(
                code=reason.code,
                resolution=reason.resolution.value,
                title=reason.title,
                definition=reason.definition,
                note_required=reason.note_required,
            )
            for reason in REASON_CODES.values()
        ]
    )
