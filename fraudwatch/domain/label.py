"""Truth about a transaction, as it comes to be known, and how bytes become it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from fraudwatch.domain.limits import ID_LENGTH
from fraudwatch.domain.strict import (
    free_text_fault,
    input_error,
    read_object,
    require_text,
    require_time,
)
from fraudwatch.errors import InputError


class LabelSource(StrEnum):
    """Where a label comes from, weakest first; `PRECEDENCE` orders them."""

    ANALYST = "analyst"
    BLIND_SPOT = "blind_spot"
    CHARGEBACK = "chargeback"
    APPEAL = "appeal"


PRECEDENCE = {
    LabelSource.ANALYST: 10,
    LabelSource.BLIND_SPOT: 20,  # a person looked, without a score to lean on
    LabelSource.CHARGEBACK: 30,
    LabelSource.APPEAL: 40,  # a second person looked again, with the customer's word
}


@dataclass(frozen=True, slots=True)
class Label:
    """Fraud or not, for one transaction, by one source, known from `known_at` on."""

    transaction_id: str
    fraud: bool
    source: LabelSource
    known_at: datetime
    precedence: int


def current(labels: list[Label]) -> Label | None:
    """The label that counts: highest precedence, then the latest known."""
    return max(labels, key=lambda label: (label.precedence, label.known_at), default=None)


class _Wire(msgspec.Struct, kw_only=True):
    """The label message as it stands in JSON. Fields that we do not know are not looked at."""

    transaction_id: str
    fraud: bool
    source: str
    known_at: Annotated[datetime, msgspec.Meta(tz=True)]


def decode_label(
    value: bytes,
    now: datetime,
    *,
    max_bytes: int = 65_536,
    max_future_seconds: float = 300,
) -> Label:
    """The label in a message; `InputError` for every message that docs/messages.md rules out."""
    message = read_object(value, max_bytes)
    for name in _Wire.__struct_fields__:
        text = message.get(name)
        # Half characters: msgspec fails on them where it reads a time.
        if isinstance(text, str) and free_text_fault(text, max_bytes):
            raise InputError("bad_text", name)
    try:
        wire = msgspec.convert(
            {name: message[name] for name in _Wire.__struct_fields__ if name in message}, _Wire
        )
    except msgspec.ValidationError as error:
        raise input_error(error) from None
    require_text("transaction_id", wire.transaction_id, ID_LENGTH)
    if wire.source not in set(LabelSource):
        raise InputError("unknown_source", "source", f"must be one of {', '.join(LabelSource)}")
    source = LabelSource(wire.source)
    return Label(
        transaction_id=wire.transaction_id,
        fraud=wire.fraud,
        source=source,
        known_at=require_time("known_at", wire.known_at, now, max_future_seconds),
        precedence=PRECEDENCE[source],
    )


def encode_label(label: Label) -> bytes:
    """Canonical JSON of a label; `decode_label` gives it back."""
    return msgspec.json.encode(
        {
            "transaction_id": label.transaction_id,
            "fraud": label.fraud,
            "source": label.source.value,
            "known_at": label.known_at.astimezone(UTC),
        },
        order="sorted",
    )
