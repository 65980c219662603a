"""Truth about a transaction, as it comes to be known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
