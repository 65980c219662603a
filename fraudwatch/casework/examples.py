"""Examples that several answers of the API share; a test holds them to the models."""

from __future__ import annotations

from typing import Any

REASON: dict[str, Any] = {
    "feature": "amount_ratio",
    "sentence": "The amount is 9 times what this account usually pays.",
    "weight": 0.7,
    "value": 9.0,
    "normal_low": 0.2,
    "normal_high": 3.0,
    "normal_of": "account",
}
TRANSACTION: dict[str, Any] = {
    "transaction_id": "tx-000815",
    "account_id": "acc-000000000111",
    "event_time": "2026-03-02T11:55:00Z",
    "amount": "412.50",
    "currency": "EUR",
    "merchant_id": "shop-1",
    "merchant_category": "5411",
    "channel": "online",
    "country": "FR",
    "device_id": "device-9",
    "outcome": "review",
    "risk": None,
    "scored_at": "2026-03-02T11:55:01Z",
    "case_id": 17,
    "label": None,
}
CASE: dict[str, Any] = {
    "id": 17,
    "account_id": "acc-000000000111",
    "status": "claimed",
    "outcome": "review",
    "risk": None,
    "amount": "412.50",
    "alert_count": 1,
    "version": 2,
    "opened_at": "2026-03-02T11:55:01Z",
    "updated_at": "2026-03-02T12:00:00Z",
    "due_at": "2026-03-03T11:55:01Z",
    "late": False,
    "claimed_by": "ada",
    "claimed_by_me": True,
    "lease_until": "2026-03-02T12:15:00Z",
}
ACCOUNT: dict[str, Any] = {
    "account_id": "acc-000000000111",
    "transactions": 231,
    "first_event": "2025-06-01T08:12:00Z",
    "last_event": "2026-03-02T11:55:00Z",
    "amounts": {"EUR": "9120.35"},
    "cases": {"legitimate": 1, "open": 1},
}


ALERT: dict[str, Any] = {
    "id": 23,
    "added_at": "2026-03-02T11:55:01Z",
    "outcome": "review",
    "reasons": [REASON],
    "transaction": TRANSACTION,
}
OPENED: dict[str, Any] = {"id": 29, "kind": "opened", "at": "2026-03-02T11:55:01Z"}
NOTED: dict[str, Any] = {
    "id": 31,
    "kind": "noted",
    "at": "2026-03-02T12:01:00Z",
    "actor": "ada",
    "text": "Called, no answer.",
}
DECISION: dict[str, Any] = {
    "round": 1,
    "look": 1,
    "decided_by": "ada",
    "decided_at": "2026-03-02T12:04:00Z",
    "resolution": "fraud",
    "reason_codes": ["stolen_card"],
    "catalogue": 1,
    "note": "Customer has the card.",
    "transactions": [],
}
