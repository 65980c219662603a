"""Queues: rules, the next case, and the people who work in them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Response

from fraudwatch.casework import case_views, next_case, queue_rules, queue_views, workers
from fraudwatch.casework.bodies_queues import (
    AwayIn,
    MembersIn,
    NextIn,
    OwnAccountIn,
    QueueRulesIn,
    WorkerIn,
)
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.params import IdPath
from fraudwatch.casework.permissions import MayManageQueues, MayReadCases, MayWorkCases
from fraudwatch.casework.problems import responses
from fraudwatch.casework.routes.parts import set_etag
from fraudwatch.casework.schemas import Page
from fraudwatch.casework.schemas_cases import CaseDetail
from fraudwatch.casework.schemas_queues import MembersOut, QueueOut, QueueRulesOut, WorkerOut
from fraudwatch.domain.queues import NAME

router = APIRouter(prefix="/v1", tags=["queues"])

QueuePath = Annotated[str, Path(max_length=40, pattern=NAME)]


@router.get(
    "/queues",
    operation_id="listQueues",
    summary="Queues and what waits",
    responses=responses(401, 403),
)
def list_queues(lens: MayReadCases, services: ServicesDep, session: SessionDep) -> Page[QueueOut]:
    """In the order in which rules are asked. `mine`: `next` gives the caller cases of it."""
    return Page[QueueOut](items=queue_views.queues(session, lens, services.clock.now()))


@router.post(
    "/queue/next",
    operation_id="nextInQueue",
    summary="Claim the next case of a queue",
    response_model=CaseDetail,
    responses={204: {"description": "No case waits."}, **responses(401, 403, 404, 409, 422, 503)},
)
def next_in_queue(
    lens: MayWorkCases,
    services: ServicesDep,
    session: SessionDep,
    response: Response,
    body: NextIn | None = None,
) -> CaseDetail | Response:
    """Claims the case that stands first in the queue, or in all of the caller's, and that they may
    take; nobody else gets the same one.

    409 with `out-of-office` or `holds-enough` where the caller gets none for now.
    """
    now = services.clock.now()
    case = next_case.next_case(
        session,
        lens.actor,
        now=now,
        lease=timedelta(minutes=services.settings.lease_minutes),
        queue=body.queue if body else None,
    )
    if case is None:
        return Response(status_code=204)
    set_etag(response, case.version)
    return case_views.case_detail(session, lens, case.id, now=now)


@router.get(
    "/queue-rules",
    operation_id="listQueueRules",
    summary="Versions of the rules of queues",
    responses=responses(401, 403),
)
def list_rules(_: MayReadCases, session: SessionDep) -> Page[QueueRulesOut]:
    """Newest first; the newest holds."""
    found = queue_rules.versions(session)
    return Page[QueueRulesOut](items=queue_views.rules_out(session, found))


@router.post(
    "/queue-rules",
    operation_id="setQueueRules",
    summary="Set the rules of queues",
    responses=responses(401, 403, 422),
)
def set_rules(
    lens: MayManageQueues, services: ServicesDep, session: SessionDep, body: QueueRulesIn
) -> QueueRulesOut:
    """Queues are asked in this order; the first that takes a case has it, and the last one, `rest`,
    takes what is left. Open cases move to their queues within seconds, by themselves."""
    row = queue_rules.set_rules(session, lens.actor, body, now=services.clock.now())
    return queue_views.rules_out(session, [row])[0]


@router.get(
    "/queues/{name}/members",
    operation_id="readQueueMembers",
    summary="Who belongs to a queue",
    responses=responses(401, 403, 404, 422),
)
def read_members(_: MayReadCases, session: SessionDep, name: QueuePath) -> MembersOut:
    """A queue without members is for everybody who works on cases."""
    return queue_views.members_out(session, name)


@router.put(
    "/queues/{name}/members",
    operation_id="setQueueMembers",
    summary="Say who belongs to a queue",
    responses=responses(401, 403, 404, 422),
)
def set_members(
    lens: MayReadCases, services: ServicesDep, session: SessionDep, name: QueuePath, body: MembersIn
) -> MembersOut:
    """Replaces them all. Needs `queues:manage`, or the role `lead` in this queue."""
    workers.set_members(session, lens.actor, name, body.members, now=services.clock.now())
    return queue_views.members_out(session, name)


@router.get(
    "/queue-workers",
    operation_id="listQueueWorkers",
    summary="People in queues",
    responses=responses(401, 403),
)
def list_workers(
    lens: MayManageQueues, services: ServicesDep, session: SessionDep
) -> Page[WorkerOut]:
    """Skills, limits, absences and declared accounts of everybody who works on cases."""
    return Page[WorkerOut](items=queue_views.workers_out(session, lens, services.clock.now()))


@router.put(
    "/queue-workers/{user_id}",
    operation_id="setQueueWorker",
    summary="Say what a person can do",
    responses=responses(401, 403, 404, 422),
)
def set_worker(
    lens: MayManageQueues,
    services: ServicesDep,
    session: SessionDep,
    user_id: IdPath,
    body: WorkerIn,
) -> WorkerOut:
    """Skills, how many cases they may hold, and which accounts are theirs."""
    now = services.clock.now()
    workers.set_worker(session, lens.actor, user_id, body, now=now)
    return queue_views.workers_out(session, lens, now, user_id)[0]


@router.put(
    "/queue-workers/{user_id}/away",
    operation_id="setAway",
    summary="Say when a person is away",
    responses=responses(401, 403, 404, 422),
)
def set_away(
    lens: MayManageQueues, services: ServicesDep, session: SessionDep, user_id: IdPath, body: AwayIn
) -> WorkerOut:
    """They get no case while they are away; what they hold comes back with its lease."""
    now = services.clock.now()
    workers.set_away(session, lens.actor, user_id, body, now=now)
    return queue_views.workers_out(session, lens, now, user_id)[0]


@router.get(
    "/queue/me",
    operation_id="readMyQueues",
    summary="How queues see me",
    responses=responses(401, 403),
)
def read_me(lens: MayWorkCases, services: ServicesDep, session: SessionDep) -> WorkerOut:
    """Skills, queues, limits, absence, and accounts that I declared as mine."""
    return queue_views.workers_out(session, lens, services.clock.now(), lens.actor.user_id)[0]


@router.put(
    "/queue/me/away",
    operation_id="setMyAway",
    summary="Out of office, or back",
    responses=responses(401, 403, 404, 422),
)
def set_my_away(
    lens: MayWorkCases, services: ServicesDep, session: SessionDep, body: AwayIn
) -> WorkerOut:
    """No case is given to me meanwhile. Both times null: I am back."""
    now = services.clock.now()
    workers.set_away(session, lens.actor, lens.actor.user_id, body, now=now)
    return queue_views.workers_out(session, lens, now, lens.actor.user_id)[0]


@router.post(
    "/queue/me/own-accounts",
    operation_id="declareOwnAccount",
    summary="Declare an account as mine",
    responses=responses(401, 403, 404, 422),
)
def declare(
    lens: MayWorkCases, services: ServicesDep, session: SessionDep, body: OwnAccountIn
) -> WorkerOut:
    """Its cases are not for me from now on. Only who manages queues takes that back."""
    now = services.clock.now()
    workers.add_own_account(session, lens.actor, body.account_id, now=now)
    return queue_views.workers_out(session, lens, now, lens.actor.user_id)[0]
