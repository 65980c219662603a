"""What the API says about the audit log: its check, looks, unmaskings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from fraudwatch.casework.bodies import Key, Text, example
from fraudwatch.casework.schemas import Answer

_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def _shown(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]}, frozen=True)


class FaultOut(Answer):
    """A row that is not as it was written, or one that is missing."""

    row: int
    kind: str
    detail: str


class ChainCheckOut(Answer):
    """A walk along one chain. `expired`: rows up to this one were removed for their age."""

    ok: bool
    rows: int
    head: str
    last: int
    expired: int = 0
    broken_at: int | None = None
    found: int = 0
    faults: tuple[FaultOut, ...] = ()


class AuditCheckOut(ChainCheckOut):
    model_config = _shown(
        ok=True,
        rows=42,
        head=_HASH,
        last=42,
        looks={"ok": True, "rows": 7, "head": _HASH, "last": 7},
    )
    looks: ChainCheckOut


class LookOut(Answer):
    """A look at personal data. `shown` are the pseudonyms of the ids that were seen."""

    model_config = _shown(
        id=7,
        at="2026-03-02T12:04:00Z",
        actor="ada",
        subject="case:17",
        where="GET /v1/cases/{case_id}",
        shown=["4f9a01bc27"],
        hash=_HASH,
    )
    id: int
    at: datetime
    actor: str
    subject: str
    where: str
    shown: list[str]
    hash: str


class UnmaskingOut(Answer):
    """One field that somebody had shown to them, with their reason; never what stood in it."""

    model_config = _shown(
        id=42,
        at="2026-03-02T12:04:00Z",
        actor="otto",
        subject="transaction:tx-000017",
        field="account_id",
        why="The customer disputes the payment.",
    )
    id: int
    at: datetime
    actor: str
    subject: str
    field: str
    why: str


class UnmaskedOut(Answer):
    """The value of one field, shown once."""

    model_config = _shown(field="account_id", value="acc-000000000111")
    field: str = Field(description="As asked for.")
    value: str | float | None


class UnmaskIn(BaseModel):
    """A masked field of one case or one transaction, and why it has to be seen."""

    model_config = example(
        transaction_id="tx-000017",
        field="customer_id",
        why="The customer disputes the payment.",
    )
    transaction_id: Key | None = None
    case_id: Annotated[int, Field(ge=1, le=2**62)] | None = None
    field: Annotated[Text, Field(min_length=1, max_length=200)]
    why: Annotated[Text, Field(min_length=3, max_length=1000)]
