"""What the API gives about webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fraudwatch.casework.schemas import Answer, shown

_ENDPOINT: dict[str, Any] = {
    "id": 3,
    "url": "https://payments.example.org/hooks/fraud",
    "events": ["case.opened", "outcome.*"],
    "description": "Payment switch",
    "enabled": True,
    "give_up_hours": 24,
    "created_at": "2026-03-02T12:00:00Z",
    "failures": 0,
    "next_at": None,
    "waiting": 0,
    "dead": 0,
    "old_secret_until": None,
}


class WebhookOut(Answer):
    """`failures` in a row, and when it is tried again; how many messages wait or are dead."""

    model_config = shown(**_ENDPOINT)
    id: int
    url: str
    events: list[str]
    description: str
    enabled: bool
    give_up_hours: int
    created_at: datetime
    failures: int
    next_at: datetime | None = None
    waiting: int
    dead: int
    old_secret_until: datetime | None = None


class WebhookSecret(WebhookOut):
    """With the secret, which is shown this once."""

    model_config = shown(**_ENDPOINT, secret="whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")  # noqa: S106 - an example
    secret: str


class WebhookList(Answer):
    items: list[WebhookOut]


class DeliveryOut(Answer):
    """A message to an endpoint: `waiting`, `delivered` or `dead`. `status` is that of the last
    answer, `fault` why there was none."""

    model_config = shown(
        id=4711,
        message_id="case:123",
        kind="case.resolved",
        made_at="2026-03-02T12:00:00Z",
        state="dead",
        attempts=41,
        status=500,
        fault=None,
        ended_at="2026-03-03T12:00:00Z",
    )
    id: int
    message_id: str
    kind: str
    made_at: datetime
    state: str
    attempts: int
    status: int | None = None
    fault: str | None = None
    ended_at: datetime | None = None


class Queued(Answer):
    """How many messages wait now because of the request."""

    model_config = shown(count=1)
    count: int
