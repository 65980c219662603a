"""What the API takes and gives. The views build the answers; pages show the same models."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

from fraudwatch.domain.case import Resolution

T = TypeVar("T")


def _storable(value: str) -> str:
    """PostgreSQL text holds no NUL character."""
    if "\x00" in value:
        raise ValueError("must not contain the NUL character")
    return value


def money_text(amount: Decimal) -> str:
    """Exact, with two decimals or the four that the amount has."""
    cents = amount.quantize(Decimal("0.01"))
    return f"{cents if cents == amount else amount:f}"


Text = Annotated[str, AfterValidator(_storable)]
Key = Annotated[Text, Field(min_length=1, max_length=256)]
NoteText = Annotated[Text, Field(max_length=10_000)]
Money = Annotated[Decimal, PlainSerializer(money_text, return_type=str)]


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]}, extra="forbid", frozen=True)


class Answer(BaseModel):
    """Base of what we give."""

    model_config = ConfigDict(frozen=True)


class Page(Answer, Generic[T]):
    """One page of a list. Pass `next_cursor` as `cursor` to go on; null: this is the last page."""

    items: list[T]
    next_cursor: str | None = None


# What we take


class SignIn(BaseModel):
    model_config = _example(name="ada", password="correct horse battery staple")  # noqa: S106 - an example
    name: Annotated[Text, Field(min_length=1, max_length=100)]
    password: Annotated[str, Field(min_length=1, max_length=1000)]


class NewPassword(BaseModel):
    model_config = _example(
        current="correct horse battery staple", new="a longer and better passphrase"
    )
    current: Annotated[str, Field(min_length=1, max_length=1000)]
    new: Annotated[str, Field(min_length=1, max_length=1000)]


class VersionOnly(BaseModel):
    """The version seen; it can come in `If-Match` instead."""

    model_config = _example(version=3)
    version: int | None = Field(None, ge=1)


class NoteIn(BaseModel):
    model_config = _example(text="Called the customer, no answer. Will try again at 14:00.")
    text: Annotated[NoteText, Field(min_length=1)]
    version: int | None = Field(None, ge=1)


class ResolveIn(BaseModel):
    model_config = _example(
        resolution="fraud",
        reason_codes=["stolen_card"],
        note="Customer has the card; three payments in a country they are not in.",
        version=3,
    )
    resolution: Resolution
    reason_codes: list[Key] = Field(min_length=1, max_length=10)
    note: NoteText = ""
    version: int | None = Field(None, ge=1)


class ReopenIn(BaseModel):
    model_config = _example(reason="The customer called: the payment was theirs.", version=4)
    reason: Annotated[NoteText, Field(min_length=1)]
    version: int | None = Field(None, ge=1)


class PolicyIn(BaseModel):
    model_config = _example(
        review_from=0.99,
        high_risk_from=0.999,
        no_history_amount="1000.00",
        no_history_count=5,
        blind_spot_rate=0.001,
        comment="Fewer reviews: precision at the old threshold was 4 %.",
    )
    review_from: float = Field(gt=0, le=1, allow_inf_nan=False)
    high_risk_from: float = Field(gt=0, le=1, allow_inf_nan=False)
    no_history_amount: Decimal = Field(gt=0, max_digits=16, decimal_places=4)
    no_history_count: int = Field(ge=0, le=1_000_000)
    blind_spot_rate: float = Field(ge=0, le=1, allow_inf_nan=False)
    comment: Annotated[NoteText, Field(min_length=1)]


# What we give


class Me(Answer):
    user_id: int
    name: str
    display_name: str
    role: str
    permissions: list[str]
    must_change_password: bool
    csrf: str | None = Field(
        None, description="Send as `X-CSRF-Token` with unsafe methods; null for API tokens."
    )


class ReasonOut(Answer):
    """Why a transaction stands out, by one feature; the first weighs most."""

    feature: str
    sentence: str
    weight: float
    value: float | None = None
    normal_low: float | None = None
    normal_high: float | None = None
    normal_of: str = "everyone"


class LabelOut(Answer):
    fraud: bool
    source: str
    known_at: datetime
    case_id: int | None = None


class TransactionOut(Answer):
    """A transaction as it came in and what the machine decided.

    Personal values are masked without `personal:read`; risks are null without `policies:read`.
    """

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


class CaseSummary(Answer):
    """A case in a list. An ended lease shows as a case that waits again."""

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
    resolution: str | None = None
    reason_codes: list[str] = Field(default_factory=list)
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    action: str | None = Field(None, description="What the resolution means: release or decline.")


class AlertOut(Answer):
    id: int
    added_at: datetime
    outcome: str
    risk: float | None = None
    rule: str | None = None
    reasons: list[ReasonOut]
    transaction: TransactionOut


class EventOut(Answer):
    id: int
    kind: str
    at: datetime
    actor: str | None = Field(None, description="Null: the machine.")
    text: str | None = None
    transaction_id: str | None = None
    resolution: str | None = None
    reason_codes: list[str] = Field(default_factory=list)


class AccountSummary(Answer):
    account_id: str
    transactions: int
    first_event: datetime | None = None
    last_event: datetime | None = None
    amounts: dict[str, Money] = Field(description="Sum by currency.")
    cases: dict[str, int] = Field(description="Number of cases by resolution, or `open`.")


class CaseDetail(CaseSummary):
    alerts: list[AlertOut]
    account: AccountSummary
    history: list[TransactionOut] = Field(description="The account's newest transactions.")
    events: list[EventOut]


class AccountDetail(AccountSummary):
    history: list[TransactionOut]


class ReasonCodeOut(Answer):
    code: str
    resolution: str
    title: str
    definition: str
    note_required: bool


class PolicyOut(Answer):
    id: int
    status: str
    review_from: float
    high_risk_from: float
    no_history_amount: Money
    no_history_count: int
    blind_spot_rate: float
    comment: str
    proposed_by: str | None = None
    proposed_at: datetime
    activated_by: str | None = None
    activated_at: datetime | None = None


class ModelOut(Answer):
    id: int
    name: str
    sha256: str
    status: str
    manifest: dict[str, Any]
    evaluation: dict[str, Any] | None = None
    created_at: datetime
    promoted_at: datetime | None = None
    promoted_by: str | None = None


class DeadLetterOut(Answer):
    """A message put aside; its raw bytes stay in the database."""

    topic: str
    partition: int
    offset: int
    next_offset: int
    reason: str
    field: str
    detail: str
    size: int
    created_at: datetime


class AuditOut(Answer):
    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    data: dict[str, Any]
    hash: str


class AuditCheckOut(Answer):
    ok: bool
    rows: int
    head: str
    broken_at: int | None = None


class Health(Answer):
    status: str
