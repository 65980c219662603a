"""The queue and the case page, and who holds a case."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from fraudwatch.casework import case_views, claims, next_case, opening, queue
from fraudwatch.casework.bodies_cases import OpenCaseIn, ReasonIn
from fraudwatch.casework.case_rows import Act
from fraudwatch.casework.console import forms
from fraudwatch.casework.console.case_page import CasePageDep
from fraudwatch.casework.console.forms import Faulty, FormDep
from fraudwatch.casework.console.render import DeskDep, go
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.models import Case
from fraudwatch.casework.params import Cursor, KeyQuery
from fraudwatch.casework.permissions import MayReadCases, MayReassignCases, MayWorkCases
from fraudwatch.domain.case import OPEN, CaseStatus
from fraudwatch.domain.decision import Outcome
from fraudwatch.errors import Conflict, Invalid

router = APIRouter()

ROWS = 50

StatusChoice = Literal[
    "open", "waiting", "held", "aside", "escalated", "second_look", "resolved", "all"
]
OutcomeChoice = Literal["", "review", "high_risk"]
Done = Literal[
    "",
    "opened",
    "taken",
    "taken_over",
    "renewed",
    "seen",
    "released",
    "noted",
    "attached",
    "briefed",
    "judged",
    "watched",
    "unwatched",
    "aside",
    "escalated",
    "resolved",
    "reopened",
    "upheld",
    "linked",
    "merged",
]

STATUSES: dict[str, frozenset[CaseStatus]] = {
    "open": OPEN,
    "waiting": frozenset({CaseStatus.NEW, CaseStatus.REOPENED}),
    "held": frozenset({CaseStatus.CLAIMED}),
    "aside": frozenset({CaseStatus.WAITING}),
    "escalated": frozenset({CaseStatus.ESCALATED}),
    "second_look": frozenset({CaseStatus.SECOND_LOOK}),
    "resolved": frozenset({CaseStatus.RESOLVED}),
    "all": frozenset(),
}


@router.get("/cases")
def queue_page(
    desk: DeskDep,
    lens: MayReadCases,
    services: ServicesDep,
    session: SessionDep,
    status: StatusChoice = "open",
    outcome: OutcomeChoice = "",
    mine: bool = False,
    late: bool = False,
    raised: bool = False,
    account_id: KeyQuery | None = None,
    in_queue: Annotated[str, Query(alias="queue", max_length=40)] = "",
    cursor: Cursor = None,
    none: bool = False,
) -> Response:
    """Cases, most urgent first."""
    wanted = queue.CaseFilter(
        status=STATUSES["all" if raised else status],
        outcome=Outcome[outcome.upper()] if outcome else None,
        account_id=account_id,
        queue=in_queue or None,
        claimed_by=lens.actor.user_id if mine else None,
        late=True if late else None,
        raised=True if raised else None,
    )
    page = case_views.case_page(
        session, lens, wanted, now=services.clock.now(), cursor=cursor, limit=ROWS
    )
    chosen = {
        "status": status,
        "outcome": outcome,
        "mine": mine and "true",
        "late": late and "true",
        "raised": raised and "true",
        "account_id": account_id,
        "queue": in_queue,
    }
    return desk.page(
        "queue.html",
        page=page,
        chosen=chosen,
        filtered=status != "open" or any(chosen[name] for name in list(chosen)[1:]),
        continued=cursor is not None,
        nothing=none,
    )


@router.post("/cases/open")
def open_case(
    lens: MayWorkCases, services: ServicesDep, session: SessionDep, form: FormDep
) -> Response:
    """Opens a case on an account, or the open one that the account has."""
    try:
        body = forms.read(OpenCaseIn, form)
    except Faulty as wrong:
        raise Invalid(str(wrong)) from wrong
    act = Act(lens.actor, services.clock.now())
    try:
        with session.begin_nested():
            case = opening.open_case(
                session, act, account_id=body.account_id, reason=body.reason, transaction_ids=()
            )
    except Conflict as conflict:
        if "id" not in conflict.current:
            raise
        return go(f"/cases/{conflict.current['id']}")
    return go(f"/cases/{case.id}?done=opened")


@router.post("/cases/next")
def take_next(
    lens: MayWorkCases, services: ServicesDep, session: SessionDep, form: FormDep
) -> Response:
    """Claims the case that stands first in the queue chosen, or in all of the person's."""
    chosen = forms.texts(form).get("queue", [""])[0] or None
    case = next_case.next_case(
        session,
        lens.actor,
        now=services.clock.now(),
        lease=timedelta(minutes=services.settings.lease_minutes),
        queue=chosen,
    )
    return go("/cases?none=true" if case is None else f"/cases/{case.id}?done=taken")


@router.get("/cases/{case_id}")
def case_page(
    page: CasePageDep, lens: MayReadCases, done: Annotated[Done, Query()] = ""
) -> Response:
    """All that a person needs to decide, and the forms to do it with."""
    return page.show(lens, done=done)


@router.post("/cases/{case_id}/claim")
def claim(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """The case is the person's until the lease ends."""

    def work(act: Act) -> Case:
        return claims.claim(page.session, page.case_id, act, lease=page.lease)

    return page.carry_out(lens, form, "claim", "taken", work)


@router.post("/cases/{case_id}/take-over")
def take_over(page: CasePageDep, lens: MayReassignCases, form: FormDep) -> Response:
    """Ends someone else's claim; the case is the person's."""

    def work(act: Act) -> Case:
        reason = forms.read(ReasonIn, form).reason
        return claims.take_over(page.session, page.case_id, act, reason=reason, lease=page.lease)

    return page.carry_out(lens, form, "take-over", "taken_over", work)


@router.post("/cases/{case_id}/renew")
def renew(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """The lease begins anew."""

    def work(act: Act) -> Case:
        return claims.renew(page.session, page.case_id, act, lease=page.lease)

    return page.carry_out(lens, form, "renew", "renewed", work)


@router.post("/cases/{case_id}/seen")
def see(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """Payments that were added are no longer marked as new."""

    def work(act: Act) -> Case:
        return claims.see(page.session, page.case_id, act)

    return page.carry_out(lens, form, "see", "seen", work)


@router.post("/cases/{case_id}/release")
def release(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """The case waits again, undecided."""

    def work(act: Act) -> Case:
        return claims.release(page.session, page.case_id, act)

    return page.carry_out(lens, form, "release", "released", work)
