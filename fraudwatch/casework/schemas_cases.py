"""What the API gives of cases. The views build these answers; pages show the same models."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from fraudwatch.casework import examples
from fraudwatch.casework.schemas import (
    AccountSummary,
    Answer,
    Money,
    ReasonOut,
    TransactionOut,
    shown,
)


class CaseSummary(Answer):
    """A case in a list. An ended lease, or a wake-up that has come, shows as a case that waits."""

    model_config = shown(**examples.CASE)
    id: int
    account_id: str
    status: str
    outcome: str
    risk: float | None = None
    amount: Money
    alert_count: int
    version: int
    opened_at: datetime
    updated_at: datetime
    due_at: datetime
    late: bool
    claimed_by: str | None = None
    claimed_by_me: bool = False
    lease_until: datetime | None = None
    urgency: str = Field(
        "normal", description="normal, escalated or disputed: comes before risk and amount."
    )
    escalation: str | None = Field(None, description="person, disagreement or late.")
    wake_at: datetime | None = Field(None, description="Put aside until then.")
    new_alerts: int = Field(0, description="Added since its holder looked.")
    not_for_me: bool = Field(False, description="The caller has decided on it: another one must.")
    round: int = Field(1, description="A reopening begins the next.")
    merged_into: int | None = None
    raised_at: datetime | None = Field(
        None, description="When later truth contradicted the resolution."
    )
    raised_why: str | None = None
    resolution: str | None = None
    reason_codes: list[str] = Field(default_factory=list)
    catalogue: int | None = Field(None, description="Version of the reason codes.")
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    action: str | None = Field(None, description="What the resolution means: release or decline.")


class AlertOut(Answer):
    model_config = shown(
        id=23,
        added_at="2026-03-02T11:55:01Z",
        outcome="review",
        reasons=[examples.REASON],
        transaction=examples.TRANSACTION,
    )
    id: int
    added_at: datetime
    outcome: str
    risk: float | None = None
    rule: str | None = None
    new: bool = Field(False, description="Joined since the holder, who asks, looked.")
    resolution: str | None = Field(None, description="What was found of it; may differ.")
    action: str | None = Field(None, description="What the payment system was told of it.")
    reasons: list[ReasonOut]
    transaction: TransactionOut


class EventOut(Answer):
    model_config = shown(
        id=31, kind="noted", at="2026-03-02T12:01:00Z", actor="ada", text="Called, no answer."
    )
    id: int
    kind: str
    at: datetime
    actor: str | None = Field(None, description="Null: the machine.")
    text: str | None = None
    transaction_id: str | None = None
    resolution: str | None = None
    reason_codes: list[str] = Field(default_factory=list)
    other_case: int | None = Field(None, description="Of a link or a merge.")
    until: datetime | None = Field(None, description="Of a case put aside.")


class DifferingOut(Answer):
    model_config = shown(
        transaction_id="tx-000815",
        resolution="legitimate",
        reason_codes=["customer_confirmed"],
    )
    transaction_id: str
    resolution: str
    reason_codes: list[str]


class FindingOut(Answer):
    """What one person found. Of a case that awaits a second look only its author sees it."""

    model_config = shown(**examples.DECISION)
    round: int
    look: int = Field(description="1, 2 for the second person, 3 where the two differed.")
    decided_by: str
    decided_at: datetime
    resolution: str
    reason_codes: list[str]
    catalogue: int
    note: str
    transactions: list[DifferingOut] = Field(description="Those that differ from the case.")


class LinkOut(Answer):
    """A case that belongs with this one, as it is now."""

    model_config = shown(
        case_id=18,
        status="new",
        version=2,
        reason="The same device paid on both accounts.",
        linked_by="ada",
        linked_at="2026-03-02T12:02:00Z",
    )
    case_id: int
    status: str
    version: int
    reason: str
    linked_by: str
    linked_at: datetime


class CaseDetail(CaseSummary):
    model_config = shown(
        **examples.CASE,
        alerts=[
            {
                "id": 23,
                "added_at": "2026-03-02T11:55:01Z",
                "outcome": "review",
                "reasons": [examples.REASON],
                "transaction": examples.TRANSACTION,
            }
        ],
        account=examples.ACCOUNT,
        history=[examples.TRANSACTION],
        events=[{"id": 29, "kind": "opened", "at": "2026-03-02T11:55:01Z"}],
    )
    alerts: list[AlertOut]
    account: AccountSummary
    history: list[TransactionOut] = Field(description="The account's newest transactions.")
    events: list[EventOut]
    decisions: list[FindingOut] = Field(default_factory=list)
    links: list[LinkOut] = Field(default_factory=list)


class ReasonCodeOut(Answer):
    model_config = shown(
        code="stolen_card",
        resolution="fraud",
        title="Stolen or copied card",
        definition="The customer did not make the payment; someone else used card or card data.",
        note_required=False,
    )
    code: str
    resolution: str
    title: str
    definition: str
    note_required: bool


class CatalogueOut(Answer):
    """One version of the reason codes. Versions are never changed once they are published."""

    model_config = shown(
        version=1,
        items=[
            {
                "code": "stolen_card",
                "resolution": "fraud",
                "title": "Stolen or copied card",
                "definition": "The customer did not make the payment.",
                "note_required": False,
            }
        ],
    )
    version: int
    items: list[ReasonCodeOut]


class RulesOut(Answer):
    """When a second person must look, and what is promised to customers."""

    model_config = shown(
        id=2,
        second_amount="5000.00",
        second_codes=["account_takeover"],
        second_share=0.05,
        dispute_hours=24,
        comment="After the review of March.",
        set_by="olga",
        set_at="2026-04-01T10:00:00Z",
    )
    id: int
    second_amount: Money | None = None
    second_codes: list[str]
    second_share: float
    dispute_hours: int
    comment: str
    set_by: str | None = None
    set_at: datetime
