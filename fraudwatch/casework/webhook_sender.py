"""Sends what waits for webhooks: in order for each endpoint, at least once.

Whoever sends for an endpoint holds its lease, so that two senders do not send the same message and
messages do not overtake each other. A sender that dies leaves a lease that ends. A message whose
answer was lost is sent again under the same id.

A failure makes the endpoint wait: 5 s, doubled each time up to 15 min, less a random part, so that
receivers that come back are not met by all at once. A message that could not be delivered until
its `give_up_at` is dead and the next one has its turn.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import webhooks
from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.models import WebhookDelivery, WebhookEndpoint
from fraudwatch.casework.webhook_http import Answer, Network, post
from fraudwatch.clock import Clock
from fraudwatch.domain.webhook_signature import sign

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=15)
TURN = 50
"""Messages that one endpoint gets before others have their turn."""
_SPARE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class _Task:
    """A message, with all that sending it takes."""

    delivery_id: int
    url: str
    headers: dict[str, str]
    body: bytes


class WebhookSender:
    """Sends for one endpoint at a time; run several in threads or processes."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        key: bytes,
        clock: Clock,
        random: Random,
        *,
        seconds: float,
        allowed: tuple[Network, ...],
    ) -> None:
        self._sessions = sessions
        self._key = key
        self._clock = clock
        self._random = random
        self._seconds = seconds
        self._allowed = allowed

    def turn(self) -> bool:
        """Send what waits for one endpoint that nobody sends for; False when there is none.

        Raises `Unavailable` when the database does not answer; the lease ends by itself then.
        """
        lease = uuid.uuid4()
        endpoint_id = self._take(lease)
        if endpoint_id is None:
            return False
        for _ in range(TURN):
            task = self._next(endpoint_id, lease)
            if task is None:
                break
            answer = post(
                task.url, task.headers, task.body, seconds=self._seconds, allowed=self._allowed
            )
            if not self._note(endpoint_id, lease, task, answer):
                break
        with connect_errors(), self._sessions.begin() as session:
            session.execute(
                update(WebhookEndpoint)
                .where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.lease == lease)
                .values(lease=None, lease_until=None)
            )
        return True

    def _take(self, lease: uuid.UUID) -> int | None:
        now = self._clock.now()
        waits = exists().where(
            WebhookDelivery.endpoint_id == WebhookEndpoint.id, WebhookDelivery.state == "waiting"
        )
        with connect_errors(), self._sessions.begin() as session:
            endpoint = session.scalar(
                select(WebhookEndpoint)
                .where(
                    WebhookEndpoint.enabled,
                    or_(WebhookEndpoint.lease_until.is_(None), WebhookEndpoint.lease_until <= now),
                    or_(WebhookEndpoint.next_at.is_(None), WebhookEndpoint.next_at <= now),
                    waits,
                )
                .order_by(WebhookEndpoint.next_at.nulls_first(), WebhookEndpoint.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            if endpoint is None:
                return None
            endpoint.lease, endpoint.lease_until = lease, self._lease_end(now)
            # The next look takes others first.
            endpoint.next_at = now
            return endpoint.id

    def _lease_end(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._seconds) + _SPARE

    def _next(self, endpoint_id: int, lease: uuid.UUID) -> _Task | None:
        """The oldest message, the lease renewed; None without one, or when the lease is lost."""
        now = self._clock.now()
        with connect_errors(), self._sessions.begin() as session:
            endpoint = self._mine(session, endpoint_id, lease)
            if endpoint is None or not endpoint.enabled:
                return None
            row = session.scalar(
                select(WebhookDelivery)
                .where(
                    WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.state == "waiting"
                )
                .order_by(WebhookDelivery.id)
                .limit(1)
            )
            if row is None:
                return None
            endpoint.lease_until = self._lease_end(now)
            body = _body(row)
            signed = sign(
                webhooks.valid_secrets(endpoint, self._key, now), row.message_id, now, body
            )
            headers = {
                "content-type": "application/json",
                "user-agent": "fraudwatch-webhooks/1",
                "connection": "close",
                **signed,
            }
            return _Task(row.id, endpoint.url, headers, body)

    def _note(self, endpoint_id: int, lease: uuid.UUID, task: _Task, answer: Answer) -> bool:
        """Write down what came of it; whether to go on with the next."""
        now = self._clock.now()
        with connect_errors(), self._sessions.begin() as session:
            endpoint = self._mine(session, endpoint_id, lease)
            row = session.get(WebhookDelivery, task.delivery_id, with_for_update=True)
            if endpoint is None or row is None or row.state != "waiting":
                return False
            row.attempts += 1
            row.status, row.fault = answer.status, answer.fault
            if answer.taken:
                row.state, row.ended_at = "delivered", now
                endpoint.failures = 0
                return True
            endpoint.failures += 1
            endpoint.next_at = now + wait_after(endpoint.failures, self._random)
            if row.give_up_at <= now:
                row.state, row.ended_at = "dead", now
            return False

    def _mine(self, session: Session, endpoint_id: int, lease: uuid.UUID) -> WebhookEndpoint | None:
        return session.scalar(
            select(WebhookEndpoint)
            .where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.lease == lease)
            .with_for_update()
        )


def wait_after(failures: int, random: Random) -> timedelta:
    """How long an endpoint waits after so many failures in a row: half of it is random."""
    full = min(LONGEST_WAIT, FIRST_WAIT * float(2 ** min(failures - 1, 20)))
    return full * (0.5 + random.random() / 2)


def _body(row: WebhookDelivery) -> bytes:
    made_at = row.made_at.astimezone(UTC)
    return msgspec.json.encode(
        {"type": row.kind, "timestamp": made_at, "data": row.data}, order="sorted"
    )
