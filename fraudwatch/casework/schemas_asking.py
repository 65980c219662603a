"""What the API answers to those who ask for decisions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fraudwatch.casework.problems import Problem

ASKED: dict[str, Any] = {
    "transaction_id": "tx-000815",
    "account_id": "acc-000000000111",
    "event_time": "2026-03-02T11:55:00Z",
    "amount": "412.50",
    "currency": "EUR",
    "merchant_id": "shop-1",
    "merchant_category": "5411",
    "channel": "online",
    "country": "FR",
}
_DECISION: dict[str, Any] = {
    "transaction_id": "tx-000815",
    "decision": "refer",
    "outcome": "review",
    "risk": 0.9931,
    "reasons": [
        {
            "feature": "amount_ratio",
            "sentence": "The amount is 9 times what this account usually pays.",
        }
    ],
    "model_id": 3,
    "policy_id": 2,
    "profile_version": "2026-03-02",
    "decided_at": "2026-03-02T11:55:01Z",
}
_LINK = "/v1/decisions/tx-000815?event_time=2026-03-02T11%3A55%3A00Z"
_PENDING: dict[str, Any] = {"transaction_id": "tx-000815", "status": "pending", "link": _LINK}
_CONFLICT: dict[str, Any] = {
    "type": "urn:fraudwatch:problem:conflict",
    "title": "Conflict",
    "status": 409,
    "code": "conflict",
    "detail": "another transaction was decided under this id",
    "request_id": "9b1c6a0e5b2f4d3a",
    "errors": [],
    "current": {"transaction_id": "tx-000815", "link": _LINK},
}


def _shown(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]}, frozen=True)


class DecisionReasonOut(BaseModel):
    """A reason, as the decisions topic tells it."""

    feature: str
    sentence: str


class DecisionOut(BaseModel):
    """A decision, as the decisions topic tells it, without the account."""

    model_config = _shown(**_DECISION)
    transaction_id: str
    decision: Literal["auto_clear", "refer"] = Field(
        description="`refer`: hold the payment until the outcomes topic says what a person decided."
    )
    outcome: Literal["auto_clear", "review", "high_risk"]
    risk: float | None
    reasons: list[DecisionReasonOut] = Field(description="Most telling first; none for auto_clear.")
    model_id: int | None
    policy_id: int
    profile_version: str
    decided_at: datetime


class PendingOut(BaseModel):
    """The transaction is on the stream and will be decided; `link` will answer then."""

    model_config = _shown(**_PENDING)
    transaction_id: str
    status: Literal["pending"] = "pending"
    link: str


class ItemOut(BaseModel):
    """What became of one transaction of a batch: `status` is what it would have got alone.

    With 200 comes `decision`, with 202 `pending`, with any other status `problem`.
    """

    model_config = _shown(status=200, decision=_DECISION, pending=None, problem=None)
    status: int
    decision: DecisionOut | None = None
    pending: PendingOut | None = None
    problem: Problem | None = None


class BatchOut(BaseModel):
    """One item for each transaction, in the order they were sent."""

    model_config = _shown(
        items=[
            {"status": 200, "decision": _DECISION, "pending": None, "problem": None},
            {"status": 202, "decision": None, "pending": _PENDING, "problem": None},
            {"status": 409, "decision": None, "pending": None, "problem": _CONFLICT},
        ]
    )
    items: list[ItemOut]
