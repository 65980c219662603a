"""What customers may be told of a payment that is held, released or declined.

The texts disclose neither what was noticed nor by what, nor how much would not have been: they are
the same for every reason. A customer learns more from a person, who knows whom they talk to.
"""

from __future__ import annotations

from enum import StrEnum


class Standing(StrEnum):
    """How a customer's payment stands."""

    HELD = "held"  # not yet objected to
    RECEIVED = "received"  # the objection waits for a person
    IN_REVIEW = "in_review"  # a person has it
    RELEASED = "released"
    DECLINED = "declined"


TEXTS: dict[str, dict[Standing, str]] = {
    "en": {
        Standing.HELD: "Your payment is being checked. You do not need to do anything. If you have "
        "questions, please contact us.",
        Standing.RECEIVED: "We have received your message. A member of our team will look at your "
        "payment by the time stated.",
        Standing.IN_REVIEW: "A member of our team is looking at your payment. You will have our "
        "answer by the time stated.",
        Standing.RELEASED: "Your payment has been released. Thank you for your patience.",
        Standing.DECLINED: "For your protection we have not carried out this payment. If you do "
        "not agree, please contact us: another member of our team will look at it.",
    },
    "fr": {
        Standing.HELD: "Votre paiement est en cours de vérification. Vous n'avez rien à faire. "
        "Pour toute question, contactez-nous.",
        Standing.RECEIVED: "Nous avons bien reçu votre message. Un membre de notre équipe "
        "examinera votre paiement avant le moment indiqué.",
        Standing.IN_REVIEW: "Un membre de notre équipe examine votre paiement. Vous aurez notre "
        "réponse avant le moment indiqué.",
        Standing.RELEASED: "Votre paiement a été libéré. Merci de votre patience.",
        Standing.DECLINED: "Pour votre protection, nous n'avons pas effectué ce paiement. Si vous "
        "n'êtes pas d'accord, contactez-nous : un autre membre de notre équipe l'examinera.",
    },
}
"""By language, then by standing."""
