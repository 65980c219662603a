"""What to say in a call to a customer about a payment, in English and French.

A template for a person, who corrects it. Like `fraudwatch.domain.customer_texts` it tells neither
what was noticed nor how. It begins with who calls and never asks for secrets: a customer cannot
know that it is us who call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

Language = Literal["en", "fr"]
LANGUAGES: tuple[Language, ...] = ("en", "fr")
MOST = 5  # payments named

_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
}
_TEXTS: dict[Language, tuple[str, str, str]] = {
    "en": (
        "Good day, this is the payment security team of your bank. We call to check "
        "{count, one: a payment|payments} with you. You may hang up and call back on the number on "
        "your card. We never ask for a password, a PIN or a code.",
        "and {more} more",
        "1. Did you make {count, one: this payment|these payments}, or someone whom you allowed to?"
        "\n2. Do you have your card and your telephone with you?\n3. Has anybody called or written "
        "to you and asked you to pay?\n\nIf yes, it was you: the payment can go on once we have "
        "decided.\nIf no: we do not carry it out, and tell you what comes next.\n\nThank you for "
        "your time.",
    ),
    "fr": (
        "Bonjour, ici l'équipe de sécurité des paiements de votre banque. Nous vous appelons pour "
        "vérifier {count, one: un paiement|des paiements} avec vous. Vous pouvez raccrocher et "
        "rappeler au numéro inscrit sur votre carte. Nous ne demandons jamais de mot de passe, de "
        "code secret ni de code reçu.",
        "et {more} autres",
        "1. Avez-vous fait {count, one: ce paiement|ces paiements}, ou une personne que vous avez "
        "autorisée ?\n2. Avez-vous votre carte et votre téléphone avec vous ?\n3. Quelqu'un vous "
        "a-t-il appelé ou écrit pour vous demander de payer ?\n\nSi oui, c'était vous : le "
        "paiement pourra se poursuivre une fois notre décision prise.\nSi non : nous ne "
        "l'exécutons pas et vous disons la suite.\n\nMerci de votre temps.",
    ),
}


@dataclass(frozen=True, slots=True)
class Payment:
    """What may be said of a payment to whom it belongs."""

    amount: Decimal
    currency: str
    at: datetime
    merchant: str | None = None
    country: str | None = None


def brief(language: Language, payments: Sequence[Payment]) -> str:
    """The whole brief; the first `MOST` payments are named. At least one payment."""
    opening, more, questions = _TEXTS[language]
    lines = [f"- {_told(language, payment)}" for payment in payments[:MOST]]
    if len(payments) > MOST:
        lines.append(f"- {more.format(more=len(payments) - MOST)}")
    count = len(payments)
    return "\n\n".join([_counted(opening, count), "\n".join(lines), _counted(questions, count)])


def _counted(text: str, count: int) -> str:
    """`{count, one: this|these}` becomes the word for one or for several."""
    while "{count, one: " in text:
        before, rest = text.split("{count, one: ", 1)
        choice, after = rest.split("}", 1)
        one, several = choice.split("|")
        text = before + (one if count == 1 else several) + after
    return text


def _told(language: Language, payment: Payment) -> str:
    whole, _, cents = f"{payment.amount:.2f}".partition(".")
    at = payment.at.astimezone(UTC)
    month = _MONTHS[language].split()[at.month - 1]
    if language == "fr":
        told = f"{whole},{cents} {payment.currency}, le {at.day} {month} à {at:%H:%M} UTC"
        told += f", chez {payment.merchant}" if payment.merchant else ""
        return told + (f" (pays : {payment.country})" if payment.country else "")
    told = f"{whole}.{cents} {payment.currency}, on {at.day} {month} at {at:%H:%M} UTC"
    told += f", to {payment.merchant}" if payment.merchant else ""
    return told + (f" (country: {payment.country})" if payment.country else "")
