"""Signatures of webhooks, as the Standard Webhooks specification 1.0 has them (symmetric, `v1`).

The signature is an HMAC-SHA256 over id, time and body, so none of the three can be changed. While a
secret is being changed there is one signature for each of the two.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from fraudwatch.errors import Invalid

PREFIX = "whsec_"
WINDOW = timedelta(minutes=5)


def secret_text(key: bytes) -> str:
    """A secret as its receiver gets it."""
    return PREFIX + base64.b64encode(key).decode()


def sign(secrets: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of a request."""
    time = str(int(at.timestamp()))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": time,
        "webhook-signature": " ".join(_one(secret, message_id, time, body) for secret in secrets),
    }


def verify(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    *,
    window: timedelta = WINDOW,
) -> str:
    """The message's id, for a request that we signed with this secret within the window.

    What a receiver has to do, and what our tests do. Raises `Invalid`. Whoever wants each message
    once must also remember the ids of the window.
    """
    try:
        message_id, time = headers["webhook-id"], headers["webhook-timestamp"]
        given = headers["webhook-signature"].split(" ")
        age = abs(now.timestamp() - int(time))
    except (KeyError, ValueError) as error:
        raise Invalid("a header of the signature is missing or no number") from error
    if age > window.total_seconds():
        raise Invalid("the message is older than the window, or from the future")
    right = _one(secret, message_id, time, body).encode()
    if not any(hmac.compare_digest(right, one.encode()) for one in given):
        raise Invalid("no signature fits")
    return message_id


def _one(secret: str, message_id: str, time: str, body: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise Invalid("the secret is not one of ours") from error
    signed = f"{message_id}.{time}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
