"""Grounds for resolutions: a versioned catalogue whose entries have written definitions.

A published version is never edited: a resolution of years ago names the version it was made with,
and its definitions must read as they did then. To change anything, add a version at the end of
`CATALOGUES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Resolution(StrEnum):
    """A person's decision on a case, or on one of its transactions."""

    FRAUD = "fraud"
    LEGITIMATE = "legitimate"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class ReasonCode:
    """A ground for a resolution, with the definition analysts agree on."""

    code: str
    resolution: Resolution
    title: str
    definition: str
    note_required: bool = False


_FIRST = (
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

CATALOGUES: dict[int, tuple[ReasonCode, ...]] = {1: _FIRST}
"""All versions ever published, oldest first."""

CATALOGUE = max(CATALOGUES)
"""The version that resolutions are made with now."""

REASON_CODES: dict[str, ReasonCode] = {reason.code: reason for reason in CATALOGUES[CATALOGUE]}
"""The codes in use."""


def reason_of(code: str, version: int) -> ReasonCode | None:
    """What a code meant in a version of the catalogue; None where it had no such code."""
    return next((reason for reason in CATALOGUES.get(version, ()) if reason.code == code), None)
