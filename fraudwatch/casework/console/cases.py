"""The queue and the case page, and what people do to a case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.orm import Session

from fraudwatch.casework import queue, service, views
from fraudwatch.casework.bodies import NoteIn, ReopenIn, ResolveIn, VersionOnly
from fraudwatch.casework.console import charts, forms, words
from fraudwatch.casework.console.forms import Fault, Faulty, Filled, FormDep
from fraudwatch.casework.console.render import Desk, DeskDep, go
from fraudwatch.casework.context import Services, ServicesDep, SessionDep
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import Case
from fraudwatch.casework.params import Cursor, IdPath, KeyQuery
from fraudwatch.casework.permissions import MayReadCases, MayReopenCases, MayWorkCases
from fraudwatch.casework.schemas import CaseDetail
from fraudwatch.domain.access import Actor
from fraudwatch.domain.case import OPEN, CaseStatus
from fraudwatch.domain.decision import Outcome
from fraudwatch.errors import Conflict, Invalid

router = APIRouter()

ROWS = 50
ROWS_OF_HISTORY = 10  # shown at once; the others unfold
FULL_ALERTS = 1  # with every reason; the most severe comes first
BRIEF_ALERTS = 4  # with their first reasons; the others unfold

StatusChoice = Literal["open", "waiting", "held", "resolved", "all"]
OutcomeChoice = Literal["", "review", "high_risk"]
Done = Literal["", "taken", "renewed", "released", "noted", "resolved", "reopened"]

_STATUSES: dict[str, frozenset[CaseStatus]] = {
    "open": OPEN,
    "waiting": queue.WAITING,
    "held": frozenset({CaseStatus.CLAIMED}),
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
    account_id: KeyQuery | None = None,
    cursor: Cursor = None,
    none: bool = False,
) -> Response:
    """Cases, most urgent first."""
    wanted = queue.CaseFilter(
        status=_STATUSES[status],
        outcome=Outcome[outcome.upper()] if outcome else None,
        account_id=account_id,
        claimed_by=lens.actor.user_id if mine else None,
        late=True if late else None,
    )
    page = views.case_page(
        session, lens, wanted, now=services.clock.now(), cursor=cursor, limit=ROWS
    )
    chosen = {
        "status": status,
        "outcome": outcome,
        "mine": mine and "true",
        "late": late and "true",
        "account_id": account_id,
    }
    return desk.page(
        "queue.html",
        page=page,
        chosen=chosen,
        filtered=status != "open" or any(chosen[name] for name in list(chosen)[1:]),
        continued=cursor is not None,
        none=none,
    )


@router.post("/cases/next")
def take_next(lens: MayWorkCases, services: ServicesDep, session: SessionDep) -> Response:
    """Claims the most urgent case that waits, and opens it."""
    case = queue.next_case(session, lens.actor, now=services.clock.now(), lease=_lease(services))
    return go("/cases?none=true" if case is None else f"/cases/{case.id}?done=taken")


@dataclass(frozen=True, slots=True)
class CasePage:
    """One case on its page: shows it, and carries out what its forms ask for."""

    desk: Desk
    services: Services
    session: Session
    case_id: int

    def show(
        self,
        lens: Lens,
        *,
        status: int = 200,
        filled: Filled | None = None,
        conflict: Conflict | None = None,
        done: str = "",
    ) -> Response:
        """The page. After a conflict it says what happened since the person last saw the case."""
        filled = filled or Filled()
        case = views.case_detail(self.session, lens, self.case_id, now=self.services.clock.now())
        seen = filled.values.get("seen", ["0"])[0]
        since = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 19 else 0
        return self.desk.page(
            "case.html",
            status,
            case=case,
            chart=_chart(case),
            personal=lens.personal,
            filled=filled,
            conflict=conflict,
            news=[event for event in case.events if event.id > since] if conflict else [],
            done=done,
            story=words.story(case.events),
            shown_history=ROWS_OF_HISTORY,
            full_alerts=FULL_ALERTS,
            brief_alerts=BRIEF_ALERTS,
        )

    def carry_out(
        self, lens: Lens, form: FormDep, act: str, done: str, work: Callable[[Actor], Case]
    ) -> Response:
        """Do it and go on; or show the page with the input kept and what is wrong beside it."""
        try:
            with self.session.begin_nested():
                work(lens.actor)
        except Faulty as wrong:
            return self.show(lens, status=422, filled=Filled(forms.texts(form), wrong.faults, act))
        except Invalid as error:
            filled = Filled(forms.texts(form), [Fault(act, _sentence(error))], act)
            return self.show(lens, status=422, filled=filled)
        except Conflict as conflict:
            filled = Filled(forms.texts(form), (), act)
            return self.show(lens, status=409, filled=filled, conflict=conflict)
        return go(f"/cases/{self.case_id}?done={done}")


def _page(case_id: IdPath, desk: DeskDep, services: ServicesDep, session: SessionDep) -> CasePage:
    return CasePage(desk, services, session, case_id)


CasePageDep = Annotated[CasePage, Depends(_page, scope="function")]


@router.get("/cases/{case_id}")
def case_page(
    page: CasePageDep, lens: MayReadCases, done: Annotated[Done, Query()] = ""
) -> Response:
    """All that a person needs to decide, and the forms to do it with."""
    return page.show(lens, done=done)


@router.post("/cases/{case_id}/claim")
def claim(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """The case is the person's until the lease ends."""

    def work(actor: Actor) -> Case:
        version = forms.read(VersionOnly, form).version
        now, lease = page.services.clock.now(), _lease(page.services)
        return service.claim(
            page.session, page.case_id, actor, now=now, lease=lease, version=version
        )

    return page.carry_out(lens, form, "claim", "taken", work)


@router.post("/cases/{case_id}/renew")
def renew(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """The lease begins anew."""

    def work(actor: Actor) -> Case:
        now, lease = page.services.clock.now(), _lease(page.services)
        return service.renew(page.session, page.case_id, actor, now=now, lease=lease)

    return page.carry_out(lens, form, "renew", "renewed", work)


@router.post("/cases/{case_id}/release")
def release(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """The case waits again, undecided."""

    def work(actor: Actor) -> Case:
        version = forms.read(VersionOnly, form).version
        now = page.services.clock.now()
        return service.release(page.session, page.case_id, actor, now=now, version=version)

    return page.carry_out(lens, form, "release", "released", work)


@router.post("/cases/{case_id}/notes")
def note(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """Adds a note. It stands on no version: what else happened meanwhile takes nothing from it."""

    def work(actor: Actor) -> Case:
        text = forms.read(NoteIn, form).text
        return service.note(
            page.session, page.case_id, actor, text=text, now=page.services.clock.now()
        )

    return page.carry_out(lens, form, "text", "noted", work)


@router.post("/cases/{case_id}/resolve")
def resolve(page: CasePageDep, lens: MayWorkCases, form: FormDep) -> Response:
    """Decides the case on the version that the person has seen."""

    def work(actor: Actor) -> Case:
        body = forms.read(ResolveIn, form)
        forms.check_resolution(body.resolution, body.reason_codes, body.note)
        return service.resolve(
            page.session,
            page.case_id,
            actor,
            resolution=body.resolution,
            reason_codes=body.reason_codes,
            note=body.note,
            version=_seen(body.version),
            now=page.services.clock.now(),
            topic=page.services.settings.topic_outcomes,
        )

    return page.carry_out(lens, form, "resolution", "resolved", work)


@router.post("/cases/{case_id}/reopen")
def reopen(page: CasePageDep, lens: MayReopenCases, form: FormDep) -> Response:
    """Takes the decision back into work."""

    def work(actor: Actor) -> Case:
        body = forms.read(ReopenIn, form)
        return service.reopen(
            page.session,
            page.case_id,
            actor,
            reason=body.reason,
            version=_seen(body.version),
            now=page.services.clock.now(),
        )

    return page.carry_out(lens, form, "reason", "reopened", work)


def _seen(version: int | None) -> int:
    if version is None:
        raise Invalid("the form lacks the version of the case: load the page again")
    return version


def _chart(case: CaseDetail) -> charts.Timeline | None:
    return charts.timeline(case.history, [alert.transaction for alert in case.alerts])


def _lease(services: Services) -> timedelta:
    return timedelta(minutes=services.settings.lease_minutes)


def _sentence(error: Invalid) -> str:
    text = str(error)
    return f"{text[0].upper()}{text[1:]}."
