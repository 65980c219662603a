"""The second factor: codes by time (TOTP, RFC 6238), and recovery codes for a lost device.

A code is good for its own 30 seconds and those before and after, and only once. The secret must be
known to check codes, so it cannot be hashed: it is sealed with a key made of
`FRAUDWATCH_SECRET_KEY`, bound to its owner. Recovery codes have 71 random bits and are hashed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyotp
import segno
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from fraudwatch.casework.models import RecoveryCode, User
from fraudwatch.casework.one_time import readable
from fraudwatch.errors import Invalid

STEP_SECONDS = 30
RECOVERY_CODES = 10
_NONCE = 12
_ISSUER = "fraudwatch"


@dataclass(frozen=True, slots=True)
class Offer:
    """What an authenticator app needs; shown once, to the person who sets it up."""

    secret: str
    uri: str

    def rows(self) -> list[list[bool]]:
        """The QR code of the URI, dark modules true, with the border that readers need."""
        return [[bool(dark) for dark in row] for row in segno.make(self.uri).matrix_iter(border=4)]

    def svg(self) -> str:
        """The QR code as an SVG image."""
        return segno.make(self.uri).svg_inline(scale=4, light="#fff")


def offer(user: User, key: bytes) -> Offer:
    """A new secret, to be confirmed with a code; it replaces an offer made before."""
    secret = pyotp.random_base32()
    user.totp_offered = _seal(secret, user.id, key)
    return Offer(secret, pyotp.TOTP(secret, name=user.name, issuer=_ISSUER).provisioning_uri())


def offered(user: User, key: bytes) -> Offer | None:
    """The offer that waits for its first code."""
    if user.totp_offered is None:
        return None
    secret = _open(user.totp_offered, user.id, key)
    return Offer(secret, pyotp.TOTP(secret, name=user.name, issuer=_ISSUER).provisioning_uri())


def confirm(session: Session, user: User, key: bytes, code: str, now: datetime) -> list[str] | None:
    """Put the offered secret into force; the recovery codes to show once. None: a wrong code."""
    if user.totp_offered is None:
        raise Invalid("there is no second factor to confirm: begin to set it up")
    step = _step(_open(user.totp_offered, user.id, key), code, None, now)
    if step is None:
        return None
    user.totp_secret, user.totp_offered = user.totp_offered, None
    user.totp_step, user.totp_since = step, now
    session.flush()
    return renew_recovery_codes(session, user)


def fits(session: Session, user: User, key: bytes, code: str, now: datetime) -> bool:
    """Whether this is the code of the moment, or a recovery code; either is used up by it.

    The caller has locked the user's row, so the same code sent twice at once fits once.
    """
    if user.totp_secret is None:
        return False
    step = _step(_open(user.totp_secret, user.id, key), code, user.totp_step, now)
    if step is not None:
        user.totp_step = step
        session.flush()
        return True
    used = session.scalar(
        update(RecoveryCode)
        .where(
            RecoveryCode.code_sha256 == _hash(user.id, code),
            RecoveryCode.user_id == user.id,
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=now)
        .returning(RecoveryCode.user_id)
    )
    return used is not None


def renew_recovery_codes(session: Session, user: User) -> list[str]:
    """New recovery codes, shown this once; those before are good no more."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    codes = [readable(groups=3, of=5) for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(code_sha256=_hash(user.id, c), user_id=user.id) for c in codes)
    session.flush()
    return codes


def recovery_codes_left(session: Session, user_id: int) -> int:
    """How many recovery codes are not used yet."""
    query = select(func.count()).where(
        RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None)
    )
    return session.scalar(query) or 0


def remove(session: Session, user: User) -> None:
    """Sign-in asks for a password alone again."""
    user.totp_secret = user.totp_offered = user.totp_step = user.totp_since = None
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    session.flush()


def path_of(rows: Sequence[Sequence[bool]]) -> str:
    """The dark modules as the path of an SVG image, one unit a module."""
    return "".join(
        f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark
    )


def _step(secret: str, code: str, last: int | None, now: datetime) -> int | None:
    """The 30 seconds whose code this is, if they are near and later than the last used."""
    digits = code.replace(" ", "")
    present = int(now.timestamp()) // STEP_SECONDS
    totp = pyotp.TOTP(secret)
    for step in (present, present - 1, present + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), digits.encode()):
            return step if last is None or step > last else None
    return None


def _hash(user_id: int, code: str) -> bytes:
    plain = "".join(code.lower().split()).replace("-", "")
    return hashlib.sha256(f"{user_id}:{plain}".encode()).digest()


def _cipher(key: bytes) -> AESGCM:
    return AESGCM(hmac.digest(key, b"second factor", hashlib.sha256))


def _seal(secret: str, user_id: int, key: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + _cipher(key).encrypt(nonce, secret.encode(), str(user_id).encode())


def _open(sealed: bytes, user_id: int, key: bytes) -> str:
    """Raises `Invalid` where the seal is not ours: the secret key was changed since."""
    try:
        opened = _cipher(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], str(user_id).encode())
    except InvalidTag as error:
        raise Invalid(
            "the second factor was set up under another FRAUDWATCH_SECRET_KEY: have it reset"
        ) from error
    return opened.decode()
