"""Lists as files, and the file of one case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime
from sqlalchemy.orm import Session

from fraudwatch.casework import case_views, looks, scope, views
from fraudwatch.casework.case_file import CaseFileOut, case_file, page_of
from fraudwatch.casework.context import Services, ServicesDep, SessionDep, open_session
from fraudwatch.casework.list_export import PAGE, all_pages, as_csv, as_parquet
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.params import IdPath, KeyQuery
from fraudwatch.casework.permissions import MayReadCases, MayReadTransactions
from fraudwatch.casework.problems import responses
from fraudwatch.casework.queue import CaseFilter
from fraudwatch.casework.schemas import Answer, Page, TransactionOut
from fraudwatch.casework.schemas_cases import CaseSummary
from fraudwatch.domain.case import CaseStatus
from fraudwatch.domain.decision import Outcome

router = APIRouter(prefix="/v1", tags=["files"])

CASE_COLUMNS = [
    "id",
    "account_id",
    "status",
    "outcome",
    "risk",
    "amount",
    "alert_count",
    "opened_at",
    "updated_at",
    "due_at",
    "late",
    "claimed_by",
    "urgency",
    "escalation",
    "round",
    "raised_at",
    "raised_why",
    "resolution",
    "reason_codes",
    "resolved_by",
    "resolved_at",
    "action",
]
_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, as an attachment",
        "content": {kind.partition(";")[0]: {} for kind in _TYPES.values()},
    }
}


@router.get(
    "/exports/cases",
    operation_id="exportCases",
    summary="Cases as CSV or Parquet",
    response_class=Response,
    responses=_FILE | responses(401, 403, 422),
)
def export_cases(
    request: Request,
    lens: MayReadCases,
    services: ServicesDep,
    file_format: Annotated[Literal["csv", "parquet"], Query(alias="format")] = "csv",
    status: Annotated[list[CaseStatus] | None, Query(description="Any of these.")] = None,
    outcome: Annotated[Literal["review", "high_risk"] | None, Query()] = None,
    account_id: KeyQuery | None = None,
    opened_from: Annotated[AwareDatetime | None, Query()] = None,
    opened_before: Annotated[AwareDatetime | None, Query()] = None,
    late: Annotated[bool | None, Query(description="Open and past the due time.")] = None,
    raised: Annotated[bool | None, Query(description="Contradicted by later truth.")] = None,
) -> StreamingResponse:
    """The cases that `GET /v1/cases` lists for the same filters, masked in the same way."""
    wanted = CaseFilter(
        status=frozenset(status or ()),
        outcome=Outcome[outcome.upper()] if outcome else None,
        account_id=account_id,
        opened_from=opened_from,
        opened_before=opened_before,
        late=late,
        raised=raised,
    )
    now = services.clock.now()

    def read(session: Session, own: Lens, cursor: str | None) -> Page[CaseSummary]:
        return case_views.case_page(session, own, wanted, now=now, cursor=cursor, limit=PAGE)

    return _stream(request, services, lens, "cases", file_format, CASE_COLUMNS, CaseSummary, read)


@router.get(
    "/exports/transactions",
    operation_id="exportTransactions",
    summary="An account's transactions as CSV or Parquet",
    response_class=Response,
    responses=_FILE | responses(401, 403, 422),
)
def export_transactions(
    request: Request,
    lens: MayReadTransactions,
    services: ServicesDep,
    account_id: KeyQuery,
    file_format: Annotated[Literal["csv", "parquet"], Query(alias="format")] = "csv",
) -> StreamingResponse:
    """Newest first, masked as `GET /v1/transactions` masks them."""

    def read(session: Session, own: Lens, cursor: str | None) -> Page[TransactionOut]:
        return views.transaction_page(session, own, account_id, cursor=cursor, limit=PAGE)

    columns = [name for name in TransactionOut.model_fields if name != "label"]
    return _stream(
        request, services, lens, "transactions", file_format, columns, TransactionOut, read
    )


@router.get(
    "/cases/{case_id}/file",
    operation_id="readCaseFile",
    summary="The file of a case",
    response_model=CaseFileOut,
    responses={
        200: {"description": "JSON, or a page to print", "content": {"text/html": {}}},
        **responses(401, 403, 404, 422),
    },
)
def read_case_file(
    case_id: IdPath,
    lens: MayReadCases,
    services: ServicesDep,
    session: SessionDep,
    file_format: Annotated[Literal["json", "html"], Query(alias="format")] = "json",
) -> Any:
    """All that is known of a case and was done about it, to print or to hand on, as the caller may
    see it. `sha256` is that of `content` in canonical JSON (sorted names, no blanks, UTF-8)."""
    made = case_file(session, lens, case_id, now=services.clock.now())
    if file_format == "json":
        return made
    page = page_of(made)
    policy = f"default-src 'none'; style-src '{page.style_hash}'; frame-ancestors 'none'"
    return Response(page.html, media_type="text/html", headers={"Content-Security-Policy": policy})


def _stream(
    request: Request,
    services: Services,
    lens: Lens,
    name: str,
    file_format: str,
    columns: list[str],
    model: type[Answer],
    read: Callable[[Session, Lens, str | None], Page[Any]],
) -> StreamingResponse:
    """Each page in a transaction of its own: a slow reader holds no connection."""

    def one_page(cursor: str | None) -> Page[Any]:
        own = Lens(lens.actor, lens.key)
        with open_session(services) as session:
            scope.narrow(session, lens.actor)
            page = read(session, own, cursor)
            if own.shown:
                where = f"{request.method} {request.scope['route'].path}"
                looks.record(session, own, at=services.clock.now(), where=where, asked={})
        return page

    first = one_page(None)  # what is wrong becomes a problem, before the answer begins

    def page_after(cursor: str | None) -> Page[Any]:
        return first if cursor is None else one_page(cursor)

    pages = all_pages(page_after)
    parts: Iterator[bytes] = (
        as_csv(columns, pages) if file_format == "csv" else as_parquet(columns, model, pages)
    )
    return StreamingResponse(
        parts,
        media_type=_TYPES[file_format],
        headers={"Content-Disposition": f'attachment; filename="{name}.{file_format}"'},
    )
