"""What stands around a case: all of it in one answer, files, briefs, first judgements, who is to
hear of it; and the search."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Query, Request, Response, UploadFile

from fraudwatch.casework import (
    attachments,
    briefs,
    detail_views,
    hearers,
    judgements,
    searching,
)
from fraudwatch.casework.attachments import FileStore
from fraudwatch.casework.bodies_details import BriefIn, JudgementIn
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.params import IdPath
from fraudwatch.casework.permissions import MayReadCases, MayWorkCases
from fraudwatch.casework.problems import responses
from fraudwatch.casework.routes.parts import ACT, CallDep, set_etag
from fraudwatch.casework.schemas_cases import CaseDetail
from fraudwatch.casework.schemas_details import AttachmentOut, BriefOut, FullDetail, MentionOut
from fraudwatch.casework.schemas_search import SearchOut
from fraudwatch.casework.shared_edge import download, respect_rate
from fraudwatch.domain.call_brief import Language

router = APIRouter(prefix="/v1", tags=["cases"])

SearchText = Annotated[
    str, Query(min_length=2, max_length=256, pattern=r"^[^\x00]+$", description="Words or an id.")
]


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
    judgements.sight(call.session, lens, found, "detail", call.now)
    set_etag(call.response, found.version)
    return found


@router.post(
    "/cases/{case_id}/first-judgement",
    operation_id="judgeCaseFirst",
    summary="Say what you think first",
    responses=ACT,
)
def judge(lens: MayWorkCases, call: CallDep, body: JudgementIn) -> CaseDetail:
    """Where a queue hides the machine's opinion, it is shown after this. Needs the claim; once in a
    round. It decides nothing."""
    case = judgements.give(
        call.session, call.case_id, call.act(lens, body), judgement=body.judgement
    )
    return call.show(lens, case)


@router.get(
    "/cases/{case_id}/brief",
    operation_id="readBrief",
    summary="Read the brief for the call",
    responses=responses(401, 403, 404, 422),
)
def read_brief(
    _: MayWorkCases, call: CallDep, language: Annotated[Language, Query()] = "en"
) -> BriefOut:
    """What to say to the customer: as last corrected, or else from the template."""
    return briefs.read(call.session, call.case_id, language)


@router.post(
    "/cases/{case_id}/brief", operation_id="keepBrief", summary="Correct the brief", responses=ACT
)
def keep_brief(lens: MayWorkCases, call: CallDep, body: BriefIn) -> BriefOut:
    """It is kept with the case; earlier ones stay."""
    case = briefs.keep(
        call.session,
        call.case_id,
        call.act(lens, body),
        language=body.language,
        text=body.text,
        called=body.called,
    )
    set_etag(call.response, case.version)
    return briefs.read(call.session, call.case_id, body.language)


@router.put(
    "/cases/{case_id}/watch",
    operation_id="watchCase",
    summary="Watch a case",
    status_code=204,
    responses=responses(401, 403, 404),
)
def watch(lens: MayReadCases, call: CallDep) -> None:
    """The caller is to hear of what happens to it."""
    hearers.watch(call.session, call.case_id, lens.actor, call.now)


@router.delete(
    "/cases/{case_id}/watch",
    operation_id="unwatchCase",
    summary="No longer watch a case",
    status_code=204,
    responses=responses(401, 403, 404),
)
def unwatch(lens: MayReadCases, call: CallDep) -> None:
    """Harmless for who does not watch it."""
    hearers.unwatch(call.session, call.case_id, lens.actor)


@router.get(
    "/mentions",
    operation_id="listMentions",
    summary="Where I am named",
    responses=responses(401, 403),
)
def list_mentions(lens: MayReadCases, session: SessionDep) -> list[MentionOut]:
    """Notes with the caller's `@name`, the newest first, at most 100."""
    return detail_views.mentions(session, user_id=lens.actor.user_id)


@router.get(
    "/cases/{case_id}/attachments",
    operation_id="listAttachments",
    summary="List the files of a case",
    responses=responses(401, 403, 404),
)
def list_attachments(_: MayReadCases, call: CallDep) -> list[AttachmentOut]:
    """With their hashes, without their content."""
    hearers.require_case(call.session, call.case_id)
    return detail_views.attachments(call.session, call.case_id)


@router.post(
    "/cases/{case_id}/attachments",
    operation_id="addAttachment",
    summary="Add a file to a case",
    status_code=201,
    responses={**ACT, **responses(413)},
)
def add_attachment(
    lens: MayWorkCases, call: CallDep, file: Annotated[UploadFile, File()]
) -> AttachmentOut:
    """PDF, PNG, JPEG or plain text, at most 10 MiB, checked by content. A file cannot be changed or
    taken away."""
    row = attachments.add(
        call.session,
        call.case_id,
        call.act(lens),
        lens,
        FileStore(call.services.settings.attachments_dir),
        file.filename or "",
        file.file.read(attachments.MOST_BYTES + 1),
    )
    return detail_views.attachment_out(row, lens.actor.name)


@router.get(
    "/cases/{case_id}/attachments/{attachment_id}",
    operation_id="readAttachment",
    summary="Download a file of a case",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, **responses(401, 403, 404, 503)},
)
def read_attachment(lens: MayReadCases, call: CallDep, attachment_id: IdPath) -> Response:
    """As it came in, checked against its hash. Needs `personal:read` too; it counts as a look."""
    row = attachments.find(call.session, lens, call.case_id, attachment_id)
    lens.shown.add(f"attachment:{row.sha256}")
    return download(row, FileStore(call.services.settings.attachments_dir).get(row.sha256))


@router.get(
    "/search",
    operation_id="search",
    summary="Search",
    responses=responses(401, 403, 422, 429),
)
def search(
    request: Request, lens: MayReadCases, services: ServicesDep, session: SessionDep, q: SearchText
) -> SearchOut:
    """Notes by their words, accounts, merchants, devices, addresses, counterparties, transactions
    and cases by their ids. Masked readers find nothing in notes, and accounts by whole ids only."""
    respect_rate(request, lens)
    return searching.search(session, lens, q, now=services.clock.now())
