"""What a search gives."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from fraudwatch.casework.schemas import Answer, shown

_HIT = {
    "kind": "note",
    "case_id": 17,
    "account_id": "acc-000000000111",
    "status": "claimed",
    "resolution": None,
    "opened_at": "2026-03-02T11:55:01Z",
    "matched": None,
    "snippet": "Called the customer, no answer.",
}


class SearchHit(Answer):
    """A case, and why it was found."""

    model_config = shown(**_HIT)
    kind: str = Field(
        description="case, account, transaction, device, ip, counterparty, merchant or note."
    )
    case_id: int
    account_id: str
    status: str
    resolution: str | None = None
    opened_at: datetime
    matched: str | None = Field(None, description="The id that was found.")
    snippet: str | None = Field(None, description="How the note begins.")


class SearchOut(Answer):
    """At most 25 of each kind."""

    model_config = shown(items=[_HIT])
    items: list[SearchHit]
