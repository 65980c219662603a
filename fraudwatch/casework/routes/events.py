"""What happens to cases, live."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from fraudwatch.casework.live import Live
from fraudwatch.casework.permissions import MayReadCases
from fraudwatch.casework.problems import responses
from fraudwatch.errors import Invalid

router = APIRouter(prefix="/v1", tags=["cases"])


class EventStream(StreamingResponse):
    """Server-sent events, as the HTML standard has them."""

    media_type = "text/event-stream"


@router.get(
    "/events",
    operation_id="followCases",
    summary="Follow what happens to cases",
    response_class=EventStream,
    responses=responses(401, 403, 422, 429),
)
def follow(
    request: Request,
    lens: MayReadCases,
    last_event_id: Annotated[
        str | None, Header(max_length=20, description="Go on after this event.")
    ] = None,
) -> EventStream:
    """Server-sent events: `id`, and as `data` the case, what happened and when. They tell a client
    to look again. The stream ends after two minutes; connect again with `Last-Event-ID`, as
    browsers do by themselves. An event may come twice."""
    live: Live = request.app.state.live
    live.require_room()
    if last_event_id is not None and not (last_event_id.isascii() and last_event_id.isdigit()):
        raise Invalid("Last-Event-ID must be the id of an event")
    after = None if last_event_id is None else min(int(last_event_id), 2**62)
    return EventStream(live.stream(lens.actor, after), headers={"X-Accel-Buffering": "no"})
