"""What the API gives of what stands around a case. See `fraudwatch.casework.detail_views`."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from fraudwatch.casework import examples
from fraudwatch.casework.schemas import Answer, Money, shown
from fraudwatch.casework.schemas_cases import CaseDetail

_RANGE = {
    "payments": 46,
    "amounts": [{"currency": "EUR", "low": "4.20", "middle": "18.00", "high": "61.40"}],
    "hours": [8, 9, 12, 18],
    "countries": ["FR"],
    "channels": ["online"],
    "merchant_categories": ["5411"],
    "devices": ["device-9"],
}
_MOMENT = {
    "at": "2026-03-02T11:55:00Z",
    "kind": "transaction",
    "what": "412.50 EUR",
    "transaction_id": "tx-000815",
    "case_id": 17,
}
_SIMILAR = {
    "case_id": 11,
    "likeness": 0.82,
    "shared_reasons": ["amount_ratio"],
    "resolution": "fraud",
    "reason_codes": ["stolen_card"],
    "resolved_at": "2026-02-11T09:30:00Z",
    "resolved_by": "bob",
}
_LINKED = {
    "account_id": "acc-000000000222",
    "strength": 0.63,
    "links": [{"kind": "device_id", "value": "device-9", "accounts": 3, "strength": 0.63}],
    "case_id": 12,
    "status": "resolved",
    "resolution": "fraud",
}
_FILE = {
    "id": 5,
    "name": "statement.pdf",
    "media_type": "application/pdf",
    "size": 48213,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "added_by": "ada",
    "added_at": "2026-03-02T12:03:00Z",
}
_BRIEF = {
    "language": "en",
    "text": "Good day, …",
    "template": "Good day, …",
    "corrected": False,
}


class AmountRange(Answer):
    """What most payments in a currency are between: the 10th, 50th and 90th percentile."""

    model_config = shown(currency="EUR", low="4.20", middle="18.00", high="61.40")
    currency: str
    low: Money
    middle: Money
    high: Money


class NormalRange(Answer):
    """What is usual of the account: of its newest payments without those of this case."""

    model_config = shown(**_RANGE)
    payments: int = Field(description="How many this is taken from.")
    amounts: list[AmountRange]
    hours: list[int] = Field(description="Hours of the day (UTC) with a payment.")
    countries: list[str] = Field(description="The most usual first, here and below.")
    channels: list[str]
    merchant_categories: list[str]
    devices: list[str]


class Moment(Answer):
    """Something that happened around the account, for the timeline."""

    model_config = shown(**_MOMENT)
    at: datetime
    kind: str = Field(description="transaction, case, contact or change.")
    what: str
    actor: str | None = None
    text: str | None = None
    transaction_id: str | None = None
    case_id: int | None = None


class SimilarCase(Answer):
    """An earlier case that was decided."""

    model_config = shown(**_SIMILAR)
    case_id: int
    likeness: float = Field(description="In [0, 1]; docs/casework.md has the formula.")
    shared_reasons: list[str]
    resolution: str
    reason_codes: list[str]
    resolved_at: datetime
    resolved_by: str | None


class LinkBy(Answer):
    model_config = shown(**_LINKED["links"][0])  # type: ignore[index]
    kind: str = Field(description="device_id, ip, counterparty_id or merchant_id.")
    value: str
    accounts: int = Field(description="Accounts with alerts that share it, this one among them.")
    strength: float


class LinkedAccount(Answer):
    """Another account whose alerts share something with those of this case."""

    model_config = shown(**_LINKED)
    account_id: str
    strength: float = Field(description="In [0, 1], of all its links together.")
    links: list[LinkBy]
    case_id: int = Field(description="Its newest case with such an alert.")
    status: str
    resolution: str | None = None


class AttachmentOut(Answer):
    model_config = shown(**_FILE)
    id: int
    name: str
    media_type: str
    size: int
    sha256: str
    added_by: str
    added_at: datetime


class MentionOut(Answer):
    model_config = shown(
        case_id=17, name="bob", by="ada", at="2026-03-02T12:01:00Z", text="@bob: yours?"
    )
    case_id: int
    name: str
    by: str
    at: datetime
    text: str | None = None


class BriefOut(Answer):
    """What to say in a call to the customer. It tells nothing of what was noticed."""

    model_config = shown(**_BRIEF)
    language: str
    text: str = Field(description="As it was last corrected, or else the template.")
    template: str
    corrected: bool
    called: bool = Field(False, description="A call was made with it.")
    kept_by: str | None = None
    kept_at: datetime | None = None


class FullDetail(CaseDetail):
    """The case, and all that stands around it, in one answer."""

    model_config = shown(
        **examples.CASE,
        alerts=[examples.ALERT],
        account=examples.ACCOUNT,
        history=[examples.TRANSACTION],
        events=[examples.OPENED],
        normal=_RANGE,
        timeline=[_MOMENT],
        similar=[_SIMILAR],
        linked=[_LINKED],
        attachments=[_FILE],
        watchers=["ada"],
        mentions=[],
        briefs=[],
    )
    normal: NormalRange
    timeline: list[Moment] = Field(description="The newest first.")
    similar: list[SimilarCase] = Field(description="Earlier decided cases, the most alike first.")
    linked: list[LinkedAccount] = Field(description="The strongest link first.")
    attachments: list[AttachmentOut] = Field(default_factory=list)
    watchers: list[str] = Field(default_factory=list)
    mentions: list[MentionOut] = Field(default_factory=list)
    briefs: list[BriefOut] = Field(
        default_factory=list, description="Corrected briefs for the call, the newest first."
    )
