"""Cases: the queue, one case, and who holds it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from fraudwatch.casework import case_views, claims, judgements, next_case, opening, queue
from fraudwatch.casework.bodies_cases import ActIn, OpenCaseIn, ReasonIn
from fraudwatch.casework.case_rows import Act
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.params import Cursor, KeyQuery, Limit
from fraudwatch.casework.permissions import MayReadCases, MayReassignCases, MayWorkCases
from fraudwatch.casework.problems import responses
from fraudwatch.casework.routes.parts import ACT, CallDep, set_etag
from fraudwatch.casework.schemas import Page
from fraudwatch.casework.schemas_cases import CaseDetail, CaseSummary
from fraudwatch.domain.case import CaseStatus
from fraudwatch.domain.decision import Outcome
from fraudwatch.domain.queues import NAME
from fraudwatch.errors import Invalid

router = APIRouter(prefix="/v1", tags=["cases"])


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise Invalid("a time needs its offset, e.g. 2026-01-31T12:00:00Z")
    return moment


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
    in_queue: Annotated[
        str | None,
        Query(alias="queue", max_length=40, pattern=NAME, description="Open cases in its order."),
    ] = None,
    claimed_by: Annotated[Literal["me"] | None, Query()] = None,
    opened_from: Annotated[datetime | None, Query()] = None,
    opened_before: Annotated[datetime | None, Query()] = None,
    late: Annotated[bool | None, Query(description="Open and past the due time.")] = None,
    raised: Annotated[
        bool | None, Query(description="Decided, and contradicted by later truth.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[CaseSummary]:
    """Most urgent first. Without `status`: cases of every status."""
    wanted = queue.CaseFilter(
        status=frozenset(status or ()),
        outcome=Outcome[outcome.upper()] if outcome else None,
        account_id=account_id,
        queue=in_queue,
        claimed_by=lens.actor.user_id if claimed_by else None,
        opened_from=_aware(opened_from),
        opened_before=_aware(opened_before),
        late=late,
        raised=raised,
    )
    now = services.clock.now()
    return case_views.case_page(session, lens, wanted, now=now, cursor=cursor, limit=limit)


@router.post(
    "/cases",
    operation_id="openCase",
    summary="Open a case",
    status_code=201,
    responses=responses(401, 403, 409, 422, 503),
)
def open_case(
    lens: MayWorkCases,
    services: ServicesDep,
    session: SessionDep,
    response: Response,
    body: OpenCaseIn,
) -> CaseDetail:
    """On any account, for a reason of one's own. An account with an open case keeps that one: 409
    names it in `current`."""
    now = services.clock.now()
    case = opening.open_case(
        session,
        Act(lens.actor, now),
        account_id=body.account_id,
        reason=body.reason,
        transaction_ids=body.transaction_ids,
    )
    set_etag(response, case.version)
    response.headers["Location"] = f"/v1/cases/{case.id}"
    return case_views.case_detail(session, lens, case.id, now=now)


@router.post(
    "/cases/next",
    operation_id="nextCase",
    summary="Claim the next case",
    response_model=CaseDetail,
    responses={204: {"description": "No case waits."}, **responses(401, 403, 409, 503)},
)
def take_next(
    lens: MayWorkCases, services: ServicesDep, session: SessionDep, response: Response
) -> CaseDetail | Response:
    """Claims the case that stands first in the caller's queues and that they may take; nobody else
    gets the same one. `POST /v1/queue/next` does the same, from one queue where it is named."""
    now = services.clock.now()
    lease = timedelta(minutes=services.settings.lease_minutes)
    case = next_case.next_case(session, lens.actor, now=now, lease=lease)
    if case is None:
        return Response(status_code=204)
    set_etag(response, case.version)
    return case_views.case_detail(session, lens, case.id, now=now)


@router.get(
    "/cases/{case_id}",
    operation_id="readCase",
    summary="Read a case",
    responses=responses(401, 403, 404),
)
def read_case(lens: MayReadCases, call: CallDep) -> CaseDetail:
    """Alerts with ranked reasons, the account's history, what happened. `ETag` is the version."""
    found = case_views.case_detail(call.session, lens, call.case_id, now=call.now)
    judgements.sight(call.session, lens, found, "case", call.now)
    set_etag(call.response, found.version)
    return found


@router.post(
    "/cases/{case_id}/claim", operation_id="claimCase", summary="Claim a case", responses=ACT
)
def claim(lens: MayWorkCases, call: CallDep, body: ActIn | None = None) -> CaseDetail:
    """The case is the caller's until the lease ends; claiming again renews it.

    Refused with `same-person` to whoever has decided on it where a second person must look.
    """
    case = claims.claim(call.session, call.case_id, call.act(lens, body), lease=call.lease)
    return call.show(lens, case)


@router.post(
    "/cases/{case_id}/take-over",
    operation_id="takeOverCase",
    summary="Take a case from its holder",
    responses=ACT,
)
def take_over(lens: MayReassignCases, call: CallDep, body: ReasonIn) -> CaseDetail:
    """The other one's claim ends, and the case is the caller's."""
    case = claims.take_over(
        call.session, call.case_id, call.act(lens, body), reason=body.reason, lease=call.lease
    )
    return call.show(lens, case)


@router.post(
    "/cases/{case_id}/renew",
    operation_id="renewClaim",
    summary="Renew a claim",
    responses=responses(401, 403, 404, 409, 422, 503),
)
def renew(lens: MayWorkCases, call: CallDep) -> CaseDetail:
    """The heartbeat of a claim: the lease begins anew, the version stays.

    It needs no `If-Match`: the running lease is its condition. Look at `new_alerts` and the `ETag`
    of the answer to learn of what joined meanwhile.
    """
    case = claims.renew(call.session, call.case_id, call.act(lens), lease=call.lease)
    return call.show(lens, case)


@router.post(
    "/cases/{case_id}/release",
    operation_id="releaseCase",
    summary="Give a case back",
    responses=ACT,
)
def release(lens: MayWorkCases, call: CallDep, body: ActIn | None = None) -> CaseDetail:
    """The case waits again, undecided. Someone else's claim needs `cases:reassign`."""
    return call.show(lens, claims.release(call.session, call.case_id, call.act(lens, body)))


@router.post(
    "/cases/{case_id}/seen",
    operation_id="seeAlerts",
    summary="Mark new alerts as seen",
    responses=ACT,
)
def see(lens: MayWorkCases, call: CallDep, body: ActIn | None = None) -> CaseDetail:
    """Alerts that joined since the claim show as `new` to its holder until this says otherwise."""
    return call.show(lens, claims.see(call.session, call.case_id, call.act(lens, body)))
