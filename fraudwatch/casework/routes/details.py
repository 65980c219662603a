"""What stands around a case: all of it in one answer."""

from __future__ import annotations

from fastapi import APIRouter

from fraudwatch.casework import detail_views
from fraudwatch.casework.permissions import MayReadCases
from fraudwatch.casework.problems import responses
from fraudwatch.casework.routes.parts import CallDep, set_etag
from fraudwatch.casework.schemas_details import FullDetail

router = APIRouter(prefix="/v1", tags=["cases"])


@router.get(
    "/cases/{case_id}/detail",
    operation_id="readCaseDetail",
    summary="Read a case with all around it",
    responses=responses(401, 403, 404),
)
def read_detail(lens: MayReadCases, call: CallDep) -> FullDetail:
    """The case, what is usual of the account, a timeline, similar cases that were decided, accounts
    that it links with, files, briefs, and who is to hear of it."""
    found = detail_views.full_detail(call.session, lens, call.case_id, now=call.now)
    set_etag(call.response, found.version)
    return found
