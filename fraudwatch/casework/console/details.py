"""What stands around a case, on its page: first judgement, files, brief, watching; the search."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import UploadFile

from fraudwatch.casework import attachments, briefs, hearers, judgements, searching
from fraudwatch.casework.attachments import FileStore
from fraudwatch.casework.bodies_details import BriefIn, JudgementIn
from fraudwatch.casework.case_rows import Act
from fraudwatch.casework.console import forms
from fraudwatch.casework.console.case_page import CasePageDep
from fraudwatch.casework.console.forms import FormDep
from fraudwatch.casework.console.render import DeskDep, go
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.models import Case
from fraudwatch.casework.params import IdPath
from fraudwatch.casework.permissions import MayReadCases, MayWorkCases
from fraudwatch.casework.schemas_search import SearchOut
from fraudwatch.casework.shared_edge import download, respect_rate
from fraudwatch.domain.call_brief import Language
from fraudwatch.errors import Invalid

router = APIRouter()


@router.post("/cases/{case_id}/first-judgement")
def judge(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """Says what the person thinks; then the machine's opinion is shown."""

    def work(act: Act) -> Case:
        judgement = forms.read(JudgementIn, form).judgement
        return judgements.give(page.session, page.case_id, act, judgement=judgement)

    return page.carry_out(lens, form, "judgement", "judged", work)


@router.get("/cases/{case_id}/brief")
def brief_page(
    page: CasePageDep, _: MayWorkCases, language: Annotated[Language, Query()] = "en"
) -> Response:
    """What to say to the customer, to be read and corrected."""
    case = page.session.get(Case, page.case_id)
    found = briefs.read(page.session, page.case_id, language)
    version = case.version if case is not None else 0
    return page.desk.page("brief.html", case_id=page.case_id, version=version, brief=found)


@router.post("/cases/{case_id}/brief")
def keep_brief(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """Keeps the brief as corrected."""

    def work(act: Act) -> Case:
        body = forms.read(BriefIn, form)
        return briefs.keep(
            page.session,
            page.case_id,
            act,
            language=body.language,
            text=body.text,
            called=body.called,
        )

    return page.carry_out(lens, form, "brief", "briefed", work)


@router.post("/cases/{case_id}/attachments")
def add_attachment(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """Adds a file."""

    def work(act: Act) -> Case:
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.filename:
            raise Invalid("choose a file")
        store = FileStore(page.services.settings.attachments_dir)
        content = file.file.read(attachments.MOST_BYTES + 1)
        row = attachments.add(page.session, page.case_id, act, lens, store, file.filename, content)
        return page.session.get_one(Case, row.case_id)

    return page.carry_out(lens, form, "file", "attached", work)


@router.get("/cases/{case_id}/attachments/{attachment_id}")
def read_attachment(page: CasePageDep, lens: MayReadCases, attachment_id: IdPath) -> Response:
    """A file, to be saved."""
    row = attachments.find(page.session, lens, page.case_id, attachment_id)
    lens.shown.add(f"attachment:{row.sha256}")
    return download(row, FileStore(page.services.settings.attachments_dir).get(row.sha256))


@router.post("/cases/{case_id}/watch")
def watch(page: CasePageDep, lens: MayReadCases) -> Response:
    """The person is to hear of what happens to the case."""
    hearers.watch(page.session, page.case_id, lens.actor, page.now)
    return go(f"/cases/{page.case_id}?done=watched")


@router.post("/cases/{case_id}/unwatch")
def unwatch(page: CasePageDep, lens: MayReadCases) -> Response:
    """No longer."""
    hearers.unwatch(page.session, page.case_id, lens.actor)
    return go(f"/cases/{page.case_id}?done=unwatched")


@router.get("/search")
def search_page(
    request: Request,
    desk: DeskDep,
    lens: MayReadCases,
    services: ServicesDep,
    session: SessionDep,
    q: Annotated[str, Query(max_length=256, pattern=r"^[^\x00]*$")] = "",
) -> Response:
    """Cases by the words of their notes and by ids."""
    found: SearchOut | None = None
    if len(q.strip()) >= 2:
        respect_rate(request, lens)
        found = searching.search(session, lens, q, now=services.clock.now())
    return desk.page("search.html", asked=q, found=found, personal=lens.personal)
