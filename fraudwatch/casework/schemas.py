"""What the API gives. The views build these answers; pages show the same models."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from fraudwatch.casework import examples

T = TypeVar("T")


def money_text(amount: Decimal) -> str:
    """Exact, with two decimals or the four that the amount has."""
    cents = amount.quantize(Decimal("0.01"))
    return f"{cents if cents == amount else amount:f}"


Money = Annotated[Decimal, PlainSerializer(money_text, return_type=str)]


def shown(**values: Any) -> ConfigDict:
    """Frozen, with an example for the description."""
    return ConfigDict(json_schema_extra={"examples": [values]}, frozen=True)


class Answer(BaseModel):
    """Base of what we give."""

    model_config = ConfigDict(frozen=True)


class Page(Answer, Generic[T]):
    """One page of a list. Pass `next_cursor` as `cursor` to go on; null: this is the last page."""

    items: list[T]
    next_cursor: str | None = None


class Me(Answer):
    model_config = shown(
        user_id=7,
        name="ada",
        display_name="Ada L.",
        role="analyst",
        permissions=["cases:read", "cases:work", "personal:read", "transactions:read"],
        must_change_password=False,
        units=None,
        first=None,
        csrf="dUsP1qTlF_3YopYtg5aB2wk3Zy-i5riL-bLMEPE16sA",
    )
    user_id: int
    name: str
    display_name: str
    role: str
    permissions: list[str]
    must_change_password: bool
    units: list[str] | None = Field(None, description="Whose cases they see; null: all.")
    first: str | None = Field(
        None,
        description="What must be done before anything else: `second-factor` (give the code), "
        "`password-change`, `second-factor-enrolment`.",
    )
    csrf: str | None = Field(
        None, description="Send as `X-CSRF-Token` with unsafe methods; null for API tokens."
    )


class ReasonOut(Answer):
    """Why a transaction stands out, by one feature; the first weighs most."""

    model_config = shown(**examples.REASON)
    feature: str
    sentence: str
    weight: float
    value: float | None = None
    normal_low: float | None = None
    normal_high: float | None = None
    normal_of: str = "everyone"


class LabelOut(Answer):
    model_config = shown(
        fraud=True,
        source="analyst",
        known_at="2026-03-02T12:04:00Z",
        case_id=17,
    )
    fraud: bool
    source: str
    known_at: datetime
    case_id: int | None = None


class TransactionOut(Answer):
    """A transaction as it came in and what the machine decided.

    Personal values are masked without `personal:read`; risks are null without `policies:read`.
    """

    model_config = shown(**examples.TRANSACTION)
    transaction_id: str
    account_id: str
    event_time: datetime
    amount: Money
    currency: str
    merchant_id: str | None = None
    merchant_category: str | None = None
    channel: str | None = None
    country: str | None = None
    device_id: str | None = None
    outcome: str
    risk: float | None = None
    scored_at: datetime
    case_id: int | None = None
    label: LabelOut | None = Field(None, description="The label that counts, if there is one.")


class TransactionDetail(TransactionOut):
    model_config = shown(
        **examples.TRANSACTION,
        ip="192.0.2.17",
        reasons=[examples.REASON],
        model_id=3,
        policy_id=2,
        profile_version="2026-03-02",
        features_version="5f0c",
    )
    action: str | None = Field(None, description="What a person decided: release or decline.")
    ip: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    counterparty_id: str | None = None
    customer_id: str | None = None
    attributes: dict[str, float | str] = Field(default_factory=dict)
    reasons: list[ReasonOut] = Field(default_factory=list)
    labels: list[LabelOut] = Field(default_factory=list)
    rule: str | None = None
    model_id: int | None = None
    policy_id: int
    profile_version: str
    features_version: str


class AccountSummary(Answer):
    model_config = shown(**examples.ACCOUNT)
    account_id: str
    transactions: int
    first_event: datetime | None = None
    last_event: datetime | None = None
    amounts: dict[str, Money] = Field(description="Sum by currency.")
    cases: dict[str, int] = Field(description="Number of cases by resolution, or `open`.")


class AccountDetail(AccountSummary):
    model_config = shown(**examples.ACCOUNT, history=[examples.TRANSACTION])
    history: list[TransactionOut]


class PolicyOut(Answer):
    model_config = shown(
        id=2,
        status="active",
        review_from=0.99,
        high_risk_from=0.999,
        no_history_amount="1000.00",
        no_history_count=5,
        blind_spot_rate=0.001,
        late_days=30,
        comment="Fewer reviews: precision at the old threshold was 4 %.",
        proposed_by="olga",
        proposed_at="2026-03-01T09:00:00Z",
        activated_by="omar",
        activated_at="2026-03-01T10:00:00Z",
    )
    id: int
    status: str
    review_from: float
    high_risk_from: float
    no_history_amount: Money
    no_history_count: int
    blind_spot_rate: float
    late_days: int
    comment: str
    proposed_by: str | None = None
    proposed_at: datetime
    activated_by: str | None = None
    activated_at: datetime | None = None


class ModelOut(Answer):
    model_config = shown(
        id=3,
        name="2026-03-01-a",
        sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        status="champion",
        manifest={"features": 31},
        evaluation={"average_precision": 0.41},
        created_at="2026-03-01T02:00:00Z",
        promoted_at="2026-03-01T10:00:00Z",
        promoted_by="olga",
    )
    id: int
    name: str
    sha256: str
    status: str
    manifest: dict[str, Any]
    evaluation: dict[str, Any] | None = None
    created_at: datetime
    promoted_at: datetime | None = None
    promoted_by: str | None = None


class AuditOut(Answer):
    model_config = shown(
        id=42,
        at="2026-03-02T12:04:00Z",
        actor="ada",
        action="case.resolve",
        subject="case:17",
        data={"resolution": "fraud", "reason_codes": ["stolen_card"]},
        hash="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    )
    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    data: dict[str, Any]
    hash: str


class Health(Answer):
    model_config = shown(status="ok")
    status: str
