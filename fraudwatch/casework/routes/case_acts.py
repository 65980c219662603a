"""What people do to a case: note, put aside, escalate, link, merge, decide, reopen."""

from __future__ import annotations

from fastapi import APIRouter

from fraudwatch.casework import handling, joining, resolutions
from fraudwatch.casework.bodies_cases import (
    LinkIn,
    MergeIn,
    NoteIn,
    ReasonIn,
    ResolveIn,
    WaitIn,
)
from fraudwatch.casework.permissions import MayReopenCases, MayWorkCases
from fraudwatch.casework.routes.parts import ACT, CallDep
from fraudwatch.casework.schemas_cases import CaseDetail

router = APIRouter(prefix="/v1", tags=["cases"])


@router.post(
    "/cases/{case_id}/notes", operation_id="noteOnCase", summary="Add a note", responses=ACT
)
def note(lens: MayWorkCases, call: CallDep, body: NoteIn) -> CaseDetail:
    """A note cannot be changed or removed. Anybody who works on cases may add one."""
    case = handling.note(call.session, call.case_id, call.act(lens, body), text=body.text)
    return call.show(lens, case)


@router.post(
    "/cases/{case_id}/wait", operation_id="putCaseAside", summary="Put a case aside", responses=ACT
)
def wait(lens: MayWorkCases, call: CallDep, body: WaitIn) -> CaseDetail:
    """It comes back at that time, or as soon as an alert joins. Its due time stays."""
    act = call.act(lens, body)
    case = handling.wait(call.session, call.case_id, act, until=body.until, reason=body.reason)
    return call.show(lens, case)


@router.post(
    "/cases/{case_id}/escalate",
    operation_id="escalateCase",
    summary="Escalate a case",
    responses=ACT,
)
def escalate(lens: MayWorkCases, call: CallDep, body: ReasonIn) -> CaseDetail:
    """The case waits for someone with `cases:escalated`, before others."""
    act = call.act(lens, body)
    return call.show(lens, handling.escalate(call.session, call.case_id, act, reason=body.reason))


@router.post(
    "/cases/{case_id}/resolve",
    operation_id="resolveCase",
    summary="Decide a case",
    responses=ACT,
)
def resolve(lens: MayWorkCases, call: CallDep, body: ResolveIn) -> CaseDetail:
    """Fraud declines the payments, anything else releases them. Needs the claim.

    Where the rules want a second person the case becomes `second_look` instead, and nothing is
    told to the payment system until another person has found the same. Two who differ escalate it
    to a third.
    """
    case = resolutions.decide(
        call.session,
        call.case_id,
        call.act(lens, body),
        body.finding(),
        key=lens.key,
        topic=call.services.settings.topic_outcomes,
    )
    return call.show(lens, case)


@router.post(
    "/cases/{case_id}/reopen", operation_id="reopenCase", summary="Reopen a case", responses=ACT
)
def reopen(lens: MayReopenCases, call: CallDep, body: ReasonIn) -> CaseDetail:
    """The decision is taken back into work; what was decided stays in the events."""
    act = call.act(lens, body)
    return call.show(lens, resolutions.reopen(call.session, call.case_id, act, reason=body.reason))


@router.post(
    "/cases/{case_id}/uphold",
    operation_id="upholdDecision",
    summary="Uphold a contradicted decision",
    responses=ACT,
)
def uphold(lens: MayReopenCases, call: CallDep, body: ReasonIn) -> CaseDetail:
    """For a case that later truth has raised: it stays as decided."""
    act = call.act(lens, body)
    return call.show(lens, resolutions.uphold(call.session, call.case_id, act, reason=body.reason))


@router.post(
    "/cases/{case_id}/links", operation_id="linkCase", summary="Link two cases", responses=ACT
)
def link(lens: MayWorkCases, call: CallDep, body: LinkIn) -> CaseDetail:
    """Each stays as it is; both show the link."""
    act = call.act(lens, body)
    case = joining.link(call.session, call.case_id, act, other_id=body.case_id, reason=body.reason)
    return call.show(lens, case)


@router.post(
    "/cases/{case_id}/merge",
    operation_id="mergeCase",
    summary="Take another case into this one",
    responses=ACT,
)
def merge(lens: MayWorkCases, call: CallDep, body: MergeIn) -> CaseDetail:
    """Its alerts are decided here, and later ones of its account come here. Needs the claim on this
    case; the other one must be open, and held by nobody else."""
    case = joining.merge(
        call.session,
        call.case_id,
        call.act(lens, body),
        other_id=body.case_id,
        other_version=body.version,
        reason=body.reason,
    )
    return call.show(lens, case)
