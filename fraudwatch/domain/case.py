"""Cases: states, allowed moves, resolutions and what each means for the payment.

The moves are one table. The database holds the same rules as constraints
(`fraudwatch/casework/models.py`): a resolved case has a person and a resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from fraudwatch.errors import Conflict


class CaseStatus(StrEnum):
    """`new` and `reopened` wait for someone, `claimed` is someone's, `resolved` is decided."""

    NEW = "new"
    CLAIMED = "claimed"
    RESOLVED = "resolved"
    REOPENED = "reopened"


OPEN = frozenset({CaseStatus.NEW, CaseStatus.CLAIMED, CaseStatus.REOPENED})


class Move(StrEnum):
    """What can be done to a case."""

    CLAIM = "claim"
    RELEASE = "release"
    EXPIRE = "expire"  # the lease ended: the case goes back, undecided
    RESOLVE = "resolve"
    REOPEN = "reopen"


MOVES: dict[tuple[CaseStatus, Move], CaseStatus] = {
    (CaseStatus.NEW, Move.CLAIM): CaseStatus.CLAIMED,
    (CaseStatus.REOPENED, Move.CLAIM): CaseStatus.CLAIMED,
    (CaseStatus.CLAIMED, Move.RELEASE): CaseStatus.NEW,
    (CaseStatus.CLAIMED, Move.EXPIRE): CaseStatus.NEW,
    (CaseStatus.CLAIMED, Move.RESOLVE): CaseStatus.RESOLVED,
    (CaseStatus.RESOLVED, Move.REOPEN): CaseStatus.REOPENED,
}


def after(status: CaseStatus, move: Move) -> CaseStatus:
    """The state a move leads to. Raises `Conflict` when the table does not allow it."""
    try:
        return MOVES[status, move]
    except KeyError:
        raise Conflict(
            f"not possible on a case that is {status.value}: {move.value}", {"status": status.value}
        ) from None


def priority(outcome: int, risk: float, amount: float) -> float:
    """The rank of an alert in the queue, higher first.

    High risk before review; within each, by a stand-in for expected loss while there is no fraud
    probability: surprise in bits, -log2(1 - risk) (capped at 20), times log2(1 + amount).
    """
    surprise = min(20.0, -math.log2(max(1.0 - risk, 2.0**-20)))
    return outcome * 10_000.0 + surprise * math.log2(1.0 + max(amount, 0.0))


class Resolution(StrEnum):
    """A person's decision on a case."""

    FRAUD = "fraud"
    LEGITIMATE = "legitimate"
    INCONCLUSIVE = "inconclusive"


class Action(StrEnum):
    """What the payment system is told."""

    RELEASE = "release"
    DECLINE = "decline"


def action_of(resolution: Resolution) -> Action:
    """Fraud declines; anything else releases: doubt is decided for the customer."""
    return Action.DECLINE if resolution is Resolution.FRAUD else Action.RELEASE


def label_of(resolution: Resolution) -> bool | None:
    """The label a resolution gives to its transactions: fraud, not fraud, or none."""
    return {Resolution.FRAUD: True, Resolution.LEGITIMATE: False}.get(resolution)


@dataclass(frozen=True, slots=True)
class ReasonCode:
    """A ground for a resolution, with the definition analysts agree on."""

    code: str
    resolution: Resolution
    title: str
    definition: str
    note_required: bool = False


REASON_CODES: dict[str, ReasonCode] = {
    reason.code: reason
    for reason in (
        ReasonCode(
            "stolen_card",
            Resolution.FRAUD,
            "Stolen or copied card",
            "The customer did not make the payment; card or card data were used by someone else.",
        ),
        ReasonCode(
            "account_takeover",
            Resolution.FRAUD,
            "Account taken over",
            "Someone else controls the account: new device, changed contact data or password, "
            "and payments the customer does not recognise.",
        ),
        ReasonCode(
            "card_testing",
            Resolution.FRAUD,
            "Card testing",
            "Many small payments in a short time that try whether card data work.",
        ),
        ReasonCode(
            "merchant_compromise",
            Resolution.FRAUD,
            "Compromised merchant",
            "The merchant or terminal is a known point of compromise, or itself fraudulent.",
        ),
        ReasonCode(
            "scam",
            Resolution.FRAUD,
            "Customer deceived",
            "The customer made the payment but was deceived about its receiver or purpose.",
        ),
        ReasonCode(
            "fraud_other",
            Resolution.FRAUD,
            "Other fraud",
            "Fraud that no other code describes; the note says what was found.",
            note_required=True,
        ),
        ReasonCode(
            "customer_confirmed",
            Resolution.LEGITIMATE,
            "Customer confirmed",
            "The customer was reached by a known way and confirmed the payment.",
        ),
        ReasonCode(
            "known_habit",
            Resolution.LEGITIMATE,
            "Known habit",
            "The payment fits a habit visible in the account's history.",
        ),
        ReasonCode(
            "travel",
            Resolution.LEGITIMATE,
            "Travel",
            "Place or currency are explained by a journey of the customer.",
        ),
        ReasonCode(
            "genuine_large",
            Resolution.LEGITIMATE,
            "Genuine large purchase",
            "Unusual amount with a plausible purpose that the evidence supports.",
        ),
        ReasonCode(
            "legitimate_other",
            Resolution.LEGITIMATE,
            "Other, legitimate",
            "Legitimate for a reason that no other code describes; the note says which.",
            note_required=True,
        ),
        ReasonCode(
            "not_reached",
            Resolution.INCONCLUSIVE,
            "Customer not reached",
            "The evidence does not decide and the customer could not be reached.",
            note_required=True,
        ),
        ReasonCode(
            "not_enough_evidence",
            Resolution.INCONCLUSIVE,
            "Not enough evidence",
            "What can be seen supports neither fraud nor its absence.",
            note_required=True,
        ),
    )
}
