"""A token that names one hold, for customer-facing services.

It holds the number of an alert and a keyed digest of it, so it can be made and checked without a
table, cannot be guessed, and tells nothing of the account or the payment.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework.models import Alert, OutcomeRow
from fraudwatch.domain.case import Action
from fraudwatch.domain.decision import Outcome
from fraudwatch.errors import NotFound

PREFIX = "hold_"
_DIGEST = 16  # bytes


def token_of(session: Session, transaction_id: str, key: bytes) -> str:
    """The token of a transaction that was held or declined. Raises `NotFound` for any other."""
    alert = session.scalar(
        select(Alert)
        .where(Alert.transaction_id == transaction_id)
        .order_by(Alert.event_time.desc())
        .limit(1)
    )
    if alert is None or not (
        alert.outcome > Outcome.AUTO_CLEAR or _declined(session, transaction_id)
    ):
        raise NotFound("there is no hold on this transaction")
    return make(alert.id, key)


def make(alert_id: int, key: bytes) -> str:
    """The token of an alert."""
    number = alert_id.to_bytes(8, "big")
    return PREFIX + base64.urlsafe_b64encode(number + _digest(number, key)).decode()


def read(token: str, key: bytes) -> int:
    """The alert that a token names. Raises `NotFound` for one that is not ours."""
    try:
        content = base64.b64decode(
            token.removeprefix(PREFIX).encode("ascii"), altchars=b"-_", validate=True
        )
    except (binascii.Error, UnicodeEncodeError):
        content = b""
    number, digest = content[:8], content[8:]
    ours = token.startswith(PREFIX) and hmac.compare_digest(digest, _digest(number, key))
    if not ours or len(number) != 8:
        raise NotFound("there is no such hold")
    return int.from_bytes(number, "big")


def _digest(number: bytes, key: bytes) -> bytes:
    return hmac.digest(key, b"hold:" + number, hashlib.sha256)[:_DIGEST]


def _declined(session: Session, transaction_id: str) -> bool:
    found = select(OutcomeRow.id).where(
        OutcomeRow.transaction_id == transaction_id, OutcomeRow.action == Action.DECLINE
    )
    return session.scalar(found.limit(1)) is not None
