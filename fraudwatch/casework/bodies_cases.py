"""What the API takes about cases. The version seen comes in `If-Match`, never in a body."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field

from fraudwatch.casework.bodies import Key, NoteText, example
from fraudwatch.casework.case_rows import Look, Screen
from fraudwatch.domain.finding import Differing, Finding
from fraudwatch.domain.reason_codes import Resolution

_SCREEN = {
    "view": "case",
    "version": 3,
    "risk_shown": False,
    "dwell_seconds": 94.5,
    "looks": [{"part": "reasons", "seconds": 30.0}, {"part": "history", "seconds": 41.0}],
}
Reason = Annotated[NoteText, Field(min_length=1)]
Seconds = Annotated[float, Field(ge=0, le=864_000, allow_inf_nan=False)]


class LookIn(BaseModel):
    model_config = example(part="history", seconds=41.0)
    part: Annotated[Key, Field(max_length=40)]
    seconds: Seconds


class ScreenIn(BaseModel):
    """What the person had before them, as the client says; kept with the event for studies of how
    people rely on the machine. `looks` are in order, `dwell_seconds` is since the case was shown.
    """

    model_config = example(**_SCREEN)
    view: Annotated[Key, Field(max_length=40)] = "case"
    version: int | None = Field(None, ge=1, le=2_000_000_000)
    risk_shown: bool = False
    dwell_seconds: Seconds | None = None
    looks: list[LookIn] = Field(default_factory=list, max_length=200)

    def seen(self) -> Screen:
        """As the services take it."""
        looks = tuple(Look(look.part, look.seconds) for look in self.looks)
        return Screen(self.view, self.version, self.risk_shown, self.dwell_seconds, looks)


class ActIn(BaseModel):
    """An act that needs nothing more than the version."""

    model_config = example(screen=_SCREEN)
    screen: ScreenIn | None = None


class NoteIn(ActIn):
    model_config = example(text="Called the customer, no answer. Will try again at 14:00.")
    text: Reason


class ReasonIn(ActIn):
    model_config = example(reason="The customer called: the payment was theirs.")
    reason: Reason


class WaitIn(ActIn):
    model_config = example(until="2026-03-02T14:00:00Z", reason="The customer calls back at two.")
    until: AwareDatetime
    reason: Reason


class DifferingIn(BaseModel):
    """A transaction of the case that is not as the rest."""

    model_config = example(
        transaction_id="tx-000815",
        resolution="legitimate",
        reason_codes=["customer_confirmed"],
    )
    transaction_id: Key
    resolution: Resolution
    reason_codes: list[Key] = Field(min_length=1, max_length=10)


class ResolveIn(ActIn):
    model_config = example(
        resolution="fraud",
        reason_codes=["stolen_card"],
        note="Customer has the card; one payment of the three is theirs.",
        transactions=[
            {
                "transaction_id": "tx-000815",
                "resolution": "legitimate",
                "reason_codes": ["customer_confirmed"],
            }
        ],
    )
    resolution: Resolution
    reason_codes: list[Key] = Field(min_length=1, max_length=10)
    note: NoteText = ""
    transactions: list[DifferingIn] = Field(
        default_factory=list,
        max_length=1000,
        description="Those that differ. A case with a fraudulent transaction is fraud.",
    )

    def finding(self) -> Finding:
        """As the services take it."""
        return Finding(
            self.resolution,
            tuple(self.reason_codes),
            self.note,
            tuple(
                Differing(part.transaction_id, part.resolution, tuple(part.reason_codes))
                for part in self.transactions
            ),
        )


class OpenCaseIn(BaseModel):
    model_config = example(
        account_id="acc-000000000111",
        reason="The customer rang: does not know two payments of yesterday.",
        transaction_ids=["tx-000815", "tx-000816"],
    )
    account_id: Key
    reason: Reason
    transaction_ids: list[Key] = Field(
        default_factory=list, max_length=50, description="Of this account, and in no case yet."
    )


class LinkIn(ActIn):
    model_config = example(case_id=18, reason="The same device paid on both accounts.")
    case_id: int = Field(ge=1, le=2**62)
    reason: Reason


class MergeIn(LinkIn):
    model_config = example(case_id=18, version=2, reason="Two cards of one customer, one fraud.")
    version: int = Field(
        ge=1, le=2_000_000_000, description="Of the other case; this one's is in If-Match."
    )


class RulesIn(BaseModel):
    model_config = example(
        second_amount="5000.00",
        second_codes=["account_takeover"],
        second_share=0.05,
        dispute_hours=24,
        comment="After the review of March.",
    )
    second_amount: Decimal | None = Field(None, ge=0, max_digits=16, decimal_places=4)
    second_codes: list[Key] = Field(default_factory=list, max_length=100)
    second_share: float = Field(ge=0, le=1, allow_inf_nan=False)
    dispute_hours: int = Field(ge=1, le=720)
    comment: Reason


class DisputeIn(BaseModel):
    model_config = example(
        token="hold_AAAAAAAAABcT2hB3Zk5m0o9uC3yR0kWl",  # noqa: S106 - an example
        statement="I bought this myself.",
    )
    token: Key
    statement: Annotated[NoteText, Field(max_length=2000)] = ""
