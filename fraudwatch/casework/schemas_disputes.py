"""What customer-facing services and payment systems learn of holds."""

from __future__ import annotations

from datetime import datetime

from fraudwatch.casework.schemas import Answer, shown

_TOKEN = "hold_AAAAAAAAABcT2hB3Zk5m0o9uC3yR0kWl"  # noqa: S105 - an example


class HoldOut(Answer):
    """The token names the hold and tells nothing else. Give it to the service customers talk to."""

    model_config = shown(token=_TOKEN)
    token: str


class DisputeOut(Answer):
    """How an objection stands: `received`, `in_review`, `released` or `declined`. Null without one:
    the payment was released already."""

    model_config = shown(state="received", promised_at="2026-03-03T12:00:00Z")
    state: str
    promised_at: datetime | None = None


class CustomerTexts(Answer):
    """By language, then by state."""

    model_config = shown(texts={"en": {"released": "Your payment has been released."}})
    texts: dict[str, dict[str, str]]
