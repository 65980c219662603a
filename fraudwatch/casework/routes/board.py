"""The board, acts on many cases, saved views."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime

from fraudwatch.casework import board, bulk, saved_views
from fraudwatch.casework.bodies_bulk import BulkIn, ViewFilter, ViewIn
from fraudwatch.casework.case_rows import Act, Screen
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.models import SavedView
from fraudwatch.casework.params import IdPath
from fraudwatch.casework.permissions import MayReadBoard, MayReadCases, MayWorkCases
from fraudwatch.casework.problems import problem_of, responses
from fraudwatch.casework.schemas import Page
from fraudwatch.casework.schemas_board import BoardOut
from fraudwatch.casework.schemas_bulk import BulkItemOut, BulkOut, ViewOut

router = APIRouter(prefix="/v1", tags=["queues"])


@router.get(
    "/board",
    operation_id="readBoard",
    summary="Open work, throughput and the next shift",
    responses=responses(401, 403, 422),
)
def read_board(
    _: MayReadBoard,
    services: ServicesDep,
    session: SessionDep,
    shift_from: Annotated[
        AwareDatetime | None, Query(description="When the shift begins. Default: the next hour.")
    ] = None,
    shift_hours: Annotated[int, Query(ge=1, le=24)] = 8,
) -> BoardOut:
    """By queue and by person, and how many people the shift needs; `assumes` says what that takes
    for granted."""
    return board.board(session, services.clock.now(), since=shift_from, hours=shift_hours)


@router.post(
    "/cases/bulk",
    operation_id="actOnCases",
    summary="One act on many cases",
    responses=responses(401, 403, 422, 503),
)
def act_on_cases(
    lens: MayWorkCases, services: ServicesDep, session: SessionDep, body: BulkIn
) -> BulkOut:
    """Each case by itself, on the version named, with a result of its own; 200 also where some
    failed. With `all_or_none` nothing is done once one fails."""
    screen = body.screen.seen() if body.screen is not None else Screen()
    results = bulk.carry_out(
        session,
        Act(lens.actor, services.clock.now(), screen=screen),
        body,
        lease=timedelta(minutes=services.settings.lease_minutes),
    )
    items = [
        BulkItemOut(
            case_id=result.case_id,
            done=result.version is not None,
            version=result.version,
            problem=problem_of(result.error) if result.error is not None else None,
        )
        for result in results
    ]
    done = sum(item.done for item in items)
    return BulkOut(done=done, failed=len(items) - done, items=items)


@router.get(
    "/views", operation_id="listViews", summary="Saved views", responses=responses(401, 403)
)
def list_views(lens: MayReadCases, session: SessionDep) -> Page[ViewOut]:
    """One's own, then those that others share."""
    return Page[ViewOut](
        items=[
            _view(row, owner, lens.actor.user_id)
            for row, owner in saved_views.visible(session, lens.actor)
        ]
    )


@router.post(
    "/views",
    operation_id="saveView",
    summary="Save a view",
    status_code=201,
    responses=responses(401, 403, 409, 422),
)
def save_view(
    lens: MayReadCases, services: ServicesDep, session: SessionDep, body: ViewIn
) -> ViewOut:
    """A filter of the list of cases, under a name of one's own."""
    row = saved_views.save(session, lens.actor, body, now=services.clock.now())
    return _view(row, lens.actor.name, lens.actor.user_id)


@router.put(
    "/views/{view_id}",
    operation_id="changeView",
    summary="Change a view",
    responses=responses(401, 403, 404, 409, 422),
)
def change_view(
    lens: MayReadCases, services: ServicesDep, session: SessionDep, view_id: IdPath, body: ViewIn
) -> ViewOut:
    """Only its owner does."""
    row = saved_views.change(session, lens.actor, view_id, body, now=services.clock.now())
    return _view(row, lens.actor.name, lens.actor.user_id)


@router.delete(
    "/views/{view_id}",
    operation_id="removeView",
    summary="Remove a view",
    status_code=204,
    responses=responses(401, 403, 404, 422),
)
def remove_view(lens: MayReadCases, session: SessionDep, view_id: IdPath) -> Response:
    """Only its owner does."""
    saved_views.remove(session, lens.actor, view_id)
    return Response(status_code=204)


def _view(row: SavedView, owner: str, user_id: int) -> ViewOut:
    return ViewOut(
        id=row.id,
        name=row.name,
        filter=ViewFilter.model_validate(row.filter),
        shared=row.shared,
        owner=owner,
        mine=row.owner_id == user_id,
        changed_at=row.changed_at,
    )
