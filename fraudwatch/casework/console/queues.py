"""Pages of queues: choose one, be away, declare accounts; the board."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from fraudwatch.casework import board, queue_views, saved_views, workers
from fraudwatch.casework.bodies_bulk import ViewFilter
from fraudwatch.casework.bodies_queues import AwayIn, OwnAccountIn
from fraudwatch.casework.console import forms
from fraudwatch.casework.console.cases import STATUSES
from fraudwatch.casework.console.forms import Faulty, FormDep
from fraudwatch.casework.console.render import DeskDep, go
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.permissions import MayReadBoard, MayReadCases, MayWorkCases
from fraudwatch.domain.access import Permission
from fraudwatch.errors import Invalid

router = APIRouter()

Done = Annotated[Literal["", "away", "back", "declared"], Query()]


class AwayForm(BaseModel):
    """Pages ask for how long, since a browser's own time has no offset. 0: back at work."""

    hours: Annotated[int, Field(ge=0, le=24 * 365)]


@router.get("/queues")
def queues_page(
    desk: DeskDep, lens: MayReadCases, services: ServicesDep, session: SessionDep, done: Done = ""
) -> Response:
    """Queues with what waits, one's own views, and what queues know of the reader."""
    now = services.clock.now()
    works = lens.actor.may(Permission.CASES_WORK)
    me = queue_views.workers_out(session, lens, now, lens.actor.user_id)[0] if works else None
    views = [
        (row, owner, _filter(ViewFilter.model_validate(row.filter)))
        for row, owner in saved_views.visible(session, lens.actor)
    ]
    found = queue_views.queues(session, lens, now)
    return desk.page("queues.html", queues=found, me=me, views=views, done=done)


@router.post("/queues/away")
def away(lens: MayWorkCases, services: ServicesDep, session: SessionDep, form: FormDep) -> Response:
    """Out of office from now on for so many hours, or back."""
    try:
        hours = forms.read(AwayForm, form).hours
    except Faulty as wrong:
        raise Invalid(str(wrong)) from wrong
    now = services.clock.now()
    span = AwayIn(away_from=now, away_until=now + timedelta(hours=hours)) if hours else AwayIn()
    workers.set_away(session, lens.actor, lens.actor.user_id, span, now=now)
    return go(f"/queues?done={'away' if hours else 'back'}")


@router.post("/queues/own-accounts")
def declare(
    lens: MayWorkCases, services: ServicesDep, session: SessionDep, form: FormDep
) -> Response:
    """An account's cases are not for the person from now on."""
    try:
        account_id = forms.read(OwnAccountIn, form).account_id
    except Faulty as wrong:
        raise Invalid(str(wrong)) from wrong
    workers.add_own_account(session, lens.actor, account_id, now=services.clock.now())
    return go("/queues?done=declared")


@router.get("/board")
def board_page(
    desk: DeskDep,
    _: MayReadBoard,
    services: ServicesDep,
    session: SessionDep,
    hours: Annotated[int, Query(ge=1, le=24)] = 8,
) -> Response:
    """Open work, throughput, and the shift that begins with the next hour."""
    return desk.page(
        "board.html", board=board.board(session, services.clock.now(), hours=hours), hours=hours
    )


def _filter(kept: ViewFilter) -> dict[str, str | None]:
    """A view as parameters of the page of cases, whose states are groups."""
    wanted = frozenset(kept.status)
    status = next((name for name, group in STATUSES.items() if group == wanted), "all")
    return {
        "queue": kept.queue,
        "status": status,
        "outcome": kept.outcome,
        "mine": "true" if kept.claimed_by else None,
        "late": "true" if kept.late else None,
        "raised": "true" if kept.raised else None,
    }
