"""Webhooks: endpoints, their secrets, and the list of what could not be delivered.

A secret is made of a random salt and `FRAUDWATCH_SECRET_KEY` and is kept nowhere. After a rotation
messages carry signatures of the old and the new secret, until the old one's time is over.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from fraudwatch.casework import audit
from fraudwatch.casework.models import WebhookDelivery, WebhookEndpoint
from fraudwatch.casework.webhook_http import check_url
from fraudwatch.domain.access import Actor
from fraudwatch.domain.webhook_signature import secret_text
from fraudwatch.errors import Invalid, NotFound

MOST = 50
"""Endpoints that there may be: each event is written once for each."""
KEPT = timedelta(days=30)
_REMOVED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """What an administrator says of one."""

    url: str
    events: tuple[str, ...]
    description: str
    give_up_hours: int


def create(session: Session, actor: Actor, new: NewEndpoint, *, now: datetime) -> WebhookEndpoint:
    """An endpoint, told of what happens from now on. Raises `Invalid`."""
    check_url(new.url)
    if (session.scalar(select(func.count()).select_from(WebhookEndpoint)) or 0) >= MOST:
        raise Invalid(f"there are {MOST} endpoints already")
    endpoint = WebhookEndpoint(
        url=new.url,
        events=sorted(set(new.events)),
        description=new.description,
        enabled=True,
        salt=secrets.token_bytes(16),
        give_up_hours=new.give_up_hours,
        created_by=actor.user_id,
        created_at=now,
        failures=0,
    )
    session.add(endpoint)
    session.flush()
    _log(session, actor, "created", endpoint, now)
    return endpoint


def change(
    session: Session,
    actor: Actor,
    endpoint_id: int,
    *,
    events: Sequence[str] | None,
    description: str | None,
    enabled: bool | None,
    now: datetime,
) -> WebhookEndpoint:
    """Change what is not None. One that is disabled is told of nothing that happens meanwhile; what
    waits for it waits."""
    endpoint = _locked(session, endpoint_id)
    if events is not None:
        endpoint.events = sorted(set(events))
    if description is not None:
        endpoint.description = description
    if enabled is not None:
        endpoint.enabled, endpoint.failures, endpoint.next_at = enabled, 0, None
    _log(session, actor, "changed", endpoint, now)
    return endpoint


def rotate(
    session: Session, actor: Actor, endpoint_id: int, *, overlap: timedelta, now: datetime
) -> WebhookEndpoint:
    """A new secret; the present one stays good for `overlap`."""
    endpoint = _locked(session, endpoint_id)
    endpoint.salt_before, endpoint.before_until = endpoint.salt, now + overlap
    endpoint.salt = secrets.token_bytes(16)
    _log(session, actor, "rotated", endpoint, now)
    return endpoint


def secret(salt: bytes, key: bytes) -> str:
    """The secret of a salt."""
    return secret_text(hmac.digest(key, b"webhook:" + salt, hashlib.sha256))


def valid_secrets(endpoint: WebhookEndpoint, key: bytes, now: datetime) -> list[str]:
    """The secret, and the one before while it is good."""
    found = [secret(endpoint.salt, key)]
    before = endpoint.salt_before
    if before is not None and endpoint.before_until is not None and endpoint.before_until > now:
        found.append(secret(before, key))
    return found


def find(session: Session, endpoint_id: int) -> WebhookEndpoint:
    """Raises `NotFound`."""
    endpoint = session.get(WebhookEndpoint, endpoint_id)
    if endpoint is None:
        raise NotFound(f"there is no webhook {endpoint_id}")
    return endpoint


def counts(session: Session) -> dict[int, dict[str, int]]:
    """By endpoint: how many deliveries wait, are dead, or were delivered and are kept still."""
    found: dict[int, dict[str, int]] = {}
    query = select(WebhookDelivery.endpoint_id, WebhookDelivery.state, func.count()).group_by(
        WebhookDelivery.endpoint_id, WebhookDelivery.state
    )
    for endpoint_id, state, count in session.execute(query):
        found.setdefault(endpoint_id, {})[state] = count
    return found


def try_out(session: Session, actor: Actor, endpoint_id: int, *, now: datetime) -> int:
    """Add a message of kind `webhook.test`; its id."""
    endpoint = _locked(session, endpoint_id)
    row = WebhookDelivery(
        endpoint_id=endpoint.id,
        message_id=f"test:{secrets.token_hex(8)}",
        kind="webhook.test",
        data={},
        made_at=now,
        give_up_at=now + timedelta(hours=endpoint.give_up_hours),
    )
    session.add(row)
    session.flush()
    _log(session, actor, "tested", endpoint, now)
    return row.id


def replay(
    session: Session,
    actor: Actor,
    endpoint_id: int,
    *,
    deliveries: Sequence[int] | None,
    now: datetime,
) -> int:
    """Let dead deliveries wait again, those named or all; how many. They keep their ids, so that
    the receiver knows what it has."""
    endpoint = _locked(session, endpoint_id)
    dead = update(WebhookDelivery).where(
        WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.state == "dead"
    )
    if deliveries is not None:
        dead = dead.where(WebhookDelivery.id.in_(deliveries))
    found = session.scalars(
        dead.values(
            state="waiting",
            give_up_at=now + timedelta(hours=endpoint.give_up_hours),
            ended_at=None,
        ).returning(WebhookDelivery.id)
    ).all()
    endpoint.failures, endpoint.next_at = 0, None
    _log(session, actor, "replayed", endpoint, now, count=len(found))
    return len(found)


def forget(session: Session, now: datetime) -> int:
    """Remove deliveries that ended long ago; how many."""
    old = (
        select(WebhookDelivery.id)
        .where(WebhookDelivery.ended_at < now - KEPT)
        .limit(_REMOVED_AT_ONCE)
    )
    query = delete(WebhookDelivery).where(WebhookDelivery.id.in_(old)).returning(WebhookDelivery.id)
    return len(session.scalars(query).all())


def _locked(session: Session, endpoint_id: int) -> WebhookEndpoint:
    endpoint = session.get(WebhookEndpoint, endpoint_id, with_for_update=True)
    if endpoint is None:
        raise NotFound(f"there is no webhook {endpoint_id}")
    return endpoint


def _log(
    session: Session,
    actor: Actor,
    action: str,
    endpoint: WebhookEndpoint,
    now: datetime,
    **more: object,
) -> None:
    session.flush()
    audit.append(
        session,
        at=now,
        actor=actor,
        action=f"webhook.{action}",
        subject=f"webhook:{endpoint.id}",
        # Without the URL, which may hold a token of the receiver's.
        data={"events": list(endpoint.events), "enabled": endpoint.enabled, **more},
    )
