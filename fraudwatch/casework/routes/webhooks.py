"""Webhooks, for administrators."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from sqlalchemy import select

from fraudwatch.casework import queue, webhooks
from fraudwatch.casework.bodies_webhooks import (
    ReplayWebhookIn,
    RotateIn,
    WebhookChange,
    WebhookIn,
)
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.models import WebhookDelivery, WebhookEndpoint
from fraudwatch.casework.params import Cursor, IdPath, Limit
from fraudwatch.casework.permissions import MayManageWebhooks, MayReadWebhooks
from fraudwatch.casework.problems import responses
from fraudwatch.casework.schemas import Page
from fraudwatch.casework.schemas_webhooks import (
    DeliveryOut,
    Queued,
    WebhookList,
    WebhookOut,
    WebhookSecret,
)
from fraudwatch.casework.webhooks import NewEndpoint

router = APIRouter(prefix="/v1", tags=["webhooks"])

ONE = responses(401, 403, 404, 422, 503)


@router.get(
    "/webhooks",
    operation_id="listWebhooks",
    summary="List webhooks",
    responses=responses(401, 403),
)
def list_webhooks(_: MayReadWebhooks, session: SessionDep) -> WebhookList:
    """All of them, with how many messages wait or are dead."""
    counts = webhooks.counts(session)
    rows = session.scalars(select(WebhookEndpoint).order_by(WebhookEndpoint.id)).all()
    return WebhookList(items=[WebhookOut(**_shown(row, counts)) for row in rows])


@router.post(
    "/webhooks",
    operation_id="createWebhook",
    summary="Add a webhook",
    status_code=201,
    responses=responses(401, 403, 422, 503),
)
def create_webhook(
    body: WebhookIn,
    lens: MayManageWebhooks,
    services: ServicesDep,
    session: SessionDep,
    response: Response,
) -> WebhookSecret:
    """It is told of what happens from now on. The answer alone has the secret."""
    new = NewEndpoint(body.url, tuple(body.events), body.description, body.give_up_hours)
    row = webhooks.create(session, lens.actor, new, now=services.clock.now())
    response.headers["Location"] = f"/v1/webhooks/{row.id}"
    return WebhookSecret(**_shown(row, {}), secret=webhooks.secret(row.salt, lens.key))


@router.get(
    "/webhooks/{webhook_id}",
    operation_id="readWebhook",
    summary="Read a webhook",
    responses=ONE,
)
def read_webhook(webhook_id: IdPath, _: MayReadWebhooks, session: SessionDep) -> WebhookOut:
    """How it is set up and how it goes."""
    return WebhookOut(**_shown(webhooks.find(session, webhook_id), webhooks.counts(session)))


@router.patch(
    "/webhooks/{webhook_id}",
    operation_id="changeWebhook",
    summary="Change, stop or start a webhook",
    responses=ONE,
)
def change_webhook(
    webhook_id: IdPath,
    body: WebhookChange,
    lens: MayManageWebhooks,
    services: ServicesDep,
    session: SessionDep,
) -> WebhookOut:
    """A webhook that is stopped is told of nothing that happens meanwhile. Another URL is another
    webhook."""
    row = webhooks.change(
        session,
        lens.actor,
        webhook_id,
        events=body.events,
        description=body.description,
        enabled=body.enabled,
        now=services.clock.now(),
    )
    return WebhookOut(**_shown(row, webhooks.counts(session)))


@router.post(
    "/webhooks/{webhook_id}/rotate",
    operation_id="rotateWebhookSecret",
    summary="Make a new secret",
    responses=ONE,
)
def rotate(
    webhook_id: IdPath,
    body: RotateIn,
    lens: MayManageWebhooks,
    services: ServicesDep,
    session: SessionDep,
) -> WebhookSecret:
    """Messages carry signatures of both secrets until the old one's hours are over."""
    row = webhooks.rotate(
        session,
        lens.actor,
        webhook_id,
        overlap=timedelta(hours=body.hours),
        now=services.clock.now(),
    )
    secret = webhooks.secret(row.salt, lens.key)
    return WebhookSecret(**_shown(row, webhooks.counts(session)), secret=secret)


@router.post(
    "/webhooks/{webhook_id}/test",
    operation_id="testWebhook",
    summary="Send a test message",
    responses=ONE,
)
def try_out(
    webhook_id: IdPath, lens: MayManageWebhooks, services: ServicesDep, session: SessionDep
) -> Queued:
    """Of the kind `webhook.test`; it waits behind others."""
    webhooks.try_out(session, lens.actor, webhook_id, now=services.clock.now())
    return Queued(count=1)


@router.get(
    "/webhooks/{webhook_id}/deliveries",
    operation_id="listDeliveries",
    summary="Messages to a webhook",
    responses=ONE,
)
def list_deliveries(
    webhook_id: IdPath,
    _: MayReadWebhooks,
    session: SessionDep,
    state: Annotated[Literal["waiting", "delivered", "dead"] | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[DeliveryOut]:
    """Newest first. Those that ended more than 30 days ago are removed."""
    webhooks.find(session, webhook_id)
    query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == webhook_id)
    if state is not None:
        query = query.where(WebhookDelivery.state == state)
    if cursor is not None:
        query = query.where(WebhookDelivery.id < queue.read_cursor(cursor))
    rows = session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(limit + 1)).all()
    shown = rows[:limit]
    return Page[DeliveryOut](
        items=[
            DeliveryOut(**{name: getattr(row, name) for name in DeliveryOut.model_fields})
            for row in shown
        ],
        next_cursor=queue.make_cursor(shown[-1].id) if len(rows) > limit else None,
    )


@router.post(
    "/webhooks/{webhook_id}/replay",
    operation_id="replayDeliveries",
    summary="Send dead messages again",
    responses=ONE,
)
def replay(
    webhook_id: IdPath,
    body: ReplayWebhookIn,
    lens: MayManageWebhooks,
    services: ServicesDep,
    session: SessionDep,
) -> Queued:
    """They keep their ids and their order."""
    count = webhooks.replay(
        session, lens.actor, webhook_id, deliveries=body.deliveries, now=services.clock.now()
    )
    return Queued(count=count)


def _shown(row: WebhookEndpoint, counts: dict[int, dict[str, int]]) -> dict[str, Any]:
    plain = WebhookOut.model_fields.keys() - {"waiting", "dead", "old_secret_until"}
    mine = counts.get(row.id, {})
    return {name: getattr(row, name) for name in plain} | {
        "waiting": mine.get("waiting", 0),
        "dead": mine.get("dead", 0),
        "old_secret_until": row.before_until,
    }
