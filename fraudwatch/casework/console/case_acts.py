"""What people do to a case on its page: note, put aside, escalate, link, merge, decide, reopen."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field
from starlette.datastructures import FormData

from fraudwatch.casework import handling, joining, resolutions
from fraudwatch.casework.bodies_cases import LinkIn, NoteIn, ReasonIn, ResolveIn
from fraudwatch.casework.case_rows import Act
from fraudwatch.casework.console import forms
from fraudwatch.casework.console.case_page import CasePageDep
from fraudwatch.casework.console.forms import FormDep
from fraudwatch.casework.models import Case
from fraudwatch.casework.permissions import MayReopenCases, MayWorkCases
from fraudwatch.domain.finding import Differing, Finding
from fraudwatch.domain.reason_codes import REASON_CODES

router = APIRouter()


class WaitForm(ReasonIn):
    """Pages ask for how long, since a browser's own time has no offset."""

    hours: Annotated[int, Field(ge=1, le=720)]


class MergeForm(LinkIn):
    """With the version of the other case, as the page showed it."""

    other_version: Annotated[int, Field(ge=1, le=2_000_000_000)]


@router.post("/cases/{case_id}/notes")
def note(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """Adds a note."""

    def work(act: Act) -> Case:
        return handling.note(page.session, page.case_id, act, text=forms.read(NoteIn, form).text)

    return page.carry_out(lens, form, "text", "noted", work)


@router.post("/cases/{case_id}/wait")
def wait(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """Puts the case aside."""

    def work(act: Act) -> Case:
        body = forms.read(WaitForm, form)
        until = act.now + timedelta(hours=body.hours)
        return handling.wait(page.session, page.case_id, act, until=until, reason=body.reason)

    return page.carry_out(lens, form, "wait", "aside", work)


@router.post("/cases/{case_id}/escalate")
def escalate(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """Hands the case to someone with more experience."""

    def work(act: Act) -> Case:
        reason = forms.read(ReasonIn, form).reason
        return handling.escalate(page.session, page.case_id, act, reason=reason)

    return page.carry_out(lens, form, "escalate", "escalated", work)


@router.post("/cases/{case_id}/links")
def link(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """Says that another case belongs with this one."""

    def work(act: Act) -> Case:
        body = forms.read(LinkIn, form)
        return joining.link(
            page.session, page.case_id, act, other_id=body.case_id, reason=body.reason
        )

    return page.carry_out(lens, form, "link", "linked", work)


@router.post("/cases/{case_id}/merge")
def merge(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """Takes a linked case into this one."""

    def work(act: Act) -> Case:
        body = forms.read(MergeForm, form)
        return joining.merge(
            page.session,
            page.case_id,
            act,
            other_id=body.case_id,
            other_version=body.other_version,
            reason=body.reason,
        )

    return page.carry_out(lens, form, "merge", "merged", work)


@router.post("/cases/{case_id}/resolve")
def resolve(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """Decides the case on the version that the person has seen."""

    def work(act: Act) -> Case:
        return resolutions.decide(
            page.session,
            page.case_id,
            act,
            _finding(form),
            key=lens.key,
            topic=page.services.settings.topic_outcomes,
        )

    return page.carry_out(lens, form, "resolution", "resolved", work)


@router.post("/cases/{case_id}/reopen")
def reopen(page: CasePageDep, lens: MayReopenCases, form: FormDep) -> Response:
    """Takes the decision back into work."""

    def work(act: Act) -> Case:
        reason = forms.read(ReasonIn, form).reason
        return resolutions.reopen(page.session, page.case_id, act, reason=reason)

    return page.carry_out(lens, form, "reopen", "reopened", work)


@router.post("/cases/{case_id}/uphold")
def uphold(page: CasePageDep, lens: MayReopenCases, form: FormDep) -> Response:
    """Leaves a contradicted decision as it is."""

    def work(act: Act) -> Case:
        reason = forms.read(ReasonIn, form).reason
        return resolutions.uphold(page.session, page.case_id, act, reason=reason)

    return page.carry_out(lens, form, "uphold", "upheld", work)


def _finding(form: FormData) -> Finding:
    """The decision; payments that differ come as `code transaction_id`, one choice for each."""
    body = forms.read(ResolveIn, form)
    forms.check_resolution(body.resolution, body.reason_codes, body.note)
    differing = []
    for choice in forms.texts(form).get("differs", []):
        code, _, transaction_id = choice.partition(" ")
        if code in REASON_CODES and transaction_id:
            resolution = REASON_CODES[code].resolution
            differing.append(Differing(transaction_id, resolution, (code,)))
    return Finding(body.resolution, tuple(body.reason_codes), body.note, tuple(differing))
