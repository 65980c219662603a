"""Who is there: passwords, browser sessions, API tokens.

Tokens are random and stored only as SHA-256; passwords as argon2id. An unknown name, a wrong
password and a locked account take the same time and give the same answer.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from fraudwatch.casework import audit
from fraudwatch.casework.models import ApiToken, User, UserSession
from fraudwatch.domain.access import ROLE_PERMISSIONS, Actor, Role
from fraudwatch.errors import NotAllowed
from fraudwatch.settings import Settings

TOKEN_PREFIX = "fwt_"  # noqa: S105 - lets secret scanners find a leaked token
FREE_ATTEMPTS = 5  # wrong passwords before the account is locked for a while
_FIRST_LOCK = timedelta(seconds=30)
_LONGEST_LOCK = timedelta(minutes=15)
_SEEN_EVERY = timedelta(minutes=1)  # how exact `seen_at` and `last_used_at` are kept


class NotSignedIn(NotAllowed):
    """No session or token, or one that has ended."""

    code = "not-signed-in"


class PasswordChangeNeeded(NotAllowed):
    """Signed in with a password that someone else knows: it must be changed before anything."""

    code = "password-change"


class CsrfMissing(NotAllowed):
    """A browser's request that changes something, without the session's token."""

    code = "csrf"


@dataclass(frozen=True, slots=True)
class Identity:
    """The actor of a request and how it signed in: by session, or by the token of this id."""

    actor: Actor
    display_name: str
    must_change_password: bool
    csrf: str | None = None
    session_sha256: bytes | None = None
    token_id: int | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A fresh session. `token` goes into the cookie and is kept nowhere else."""

    token: str
    identity: Identity


class Passwords:
    """Argon2id (RFC 9106; parameters after OWASP: 19 MiB, 2 passes, 1 lane).

    At most `parallel` hashes are computed at once: each takes its memory, and a flood of sign-ins
    must not take all of the machine's.
    """

    def __init__(self, *, memory_kib: int = 19_456, passes: int = 2, parallel: int = 4) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._slots = BoundedSemaphore(parallel)
        self._nobody = self._hasher.hash(secrets.token_urlsafe(16))

    def hash(self, password: str) -> str:
        """The encoded hash to store."""
        with self._slots:
            return self._hasher.hash(password)

    def verify(self, encoded: str | None, password: str) -> bool:
        """Whether the password fits. Takes as long when there is nothing to compare with."""
        with self._slots:
            try:
                self._hasher.verify(encoded or self._nobody, password)
            except (VerificationError, InvalidHashError):
                return False
        return encoded is not None

    def outdated(self, encoded: str) -> bool:
        """Whether the hash was made with weaker parameters."""
        return self._hasher.check_needs_rehash(encoded)


def sign_in(
    session: Session,
    passwords: Passwords,
    settings: Settings,
    *,
    name: str,
    password: str,
    now: datetime,
) -> SignedIn | None:
    """A new session, or None when it cannot be: commit in both cases, failures are counted.

    The user's row stays locked while the password is checked, so guesses in parallel count one by
    one. After `FREE_ATTEMPTS` failures the account is locked for 30 s, doubling to 15 minutes.
    """
    user = session.scalar(
        select(User).where(User.name == name, User.kind == "person").with_for_update()
    )
    locked = user is not None and user.locked_until is not None and user.locked_until > now
    usable = user is not None and not user.disabled and not locked
    fits = passwords.verify(user.password_hash if user and usable else None, password)
    if user is None or locked:
        return None
    actor = actor_of(user)
    if not fits:
        count_failure(session, user, now)
        audit.append(
            session, at=now, actor=None, action="login.failed", subject=f"user:{user.id}", data={}
        )
        return None
    user.failed_logins, user.locked_until = 0, None
    if user.password_hash and passwords.outdated(user.password_hash):
        user.password_hash = passwords.hash(password)
    token = secrets.token_urlsafe(32)
    row = UserSession(
        token_sha256=_sha256(token),
        user_id=user.id,
        csrf=secrets.token_urlsafe(32),
        created_at=now,
        seen_at=now,
        expires_at=now + timedelta(hours=settings.session_hours),
    )
    session.add(row)
    session.execute(
        delete(UserSession).where(UserSession.user_id == user.id, UserSession.expires_at <= now)
    )
    session.flush()
    audit.append(session, at=now, actor=actor, action="login", subject=f"user:{user.id}", data={})
    return SignedIn(token, _identity(user, row))


def count_failure(session: Session, user: User, now: datetime) -> None:
    """A wrong password for this user, wherever it was given: too many lock the account a while."""
    user.failed_logins += 1
    user.locked_until = _lock_until(user.failed_logins, now)
    session.flush()


def sign_out(session: Session, identity: Identity) -> None:
    """End the browser session of this request."""
    session.execute(delete(UserSession).where(UserSession.token_sha256 == identity.session_sha256))


def end_sessions(session: Session, user_id: int, *, but: bytes | None = None) -> None:
    """End the user's browser sessions, except the one given."""
    session.execute(
        delete(UserSession).where(
            UserSession.user_id == user_id, UserSession.token_sha256.is_distinct_from(but)
        )
    )


def by_cookie(session: Session, settings: Settings, token: str, now: datetime) -> Identity:
    """Who the session cookie belongs to. Raises `NotSignedIn`."""
    found = session.execute(
        select(UserSession, User)
        .join(User, User.id == UserSession.user_id)
        .where(UserSession.token_sha256 == _sha256(token))
    ).first()
    if found is None:
        raise NotSignedIn("sign in first")
    row, user = found
    idle = timedelta(minutes=settings.session_idle_minutes)
    if row.expires_at <= now or row.seen_at + idle <= now or user.disabled:
        raise NotSignedIn("the session has ended: sign in again")
    if row.seen_at + _SEEN_EVERY <= now:
        session.execute(
            update(UserSession)
            .where(UserSession.token_sha256 == row.token_sha256)
            .values(seen_at=now)
        )
    return _identity(user, row)


def by_token(session: Session, token: str, now: datetime) -> Identity:
    """Who the API token belongs to. Raises `NotSignedIn`."""
    found = session.execute(
        select(ApiToken, User)
        .join(User, User.id == ApiToken.user_id)
        .where(ApiToken.token_sha256 == _sha256(token))
    ).first()
    if found is None:
        raise NotSignedIn("the token is not known")
    row, user = found
    if row.expires_at <= now or row.revoked_at is not None or user.disabled:
        raise NotSignedIn("the token has ended")
    if row.last_used_at is None or row.last_used_at + _SEEN_EVERY <= now:
        session.execute(update(ApiToken).where(ApiToken.id == row.id).values(last_used_at=now))
    return _identity(user, None, row.id)


def new_token(
    session: Session, user: User, *, name: str, now: datetime, lifetime: timedelta
) -> str:
    """An API token for the user; it is shown this once."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    session.add(
        ApiToken(
            token_sha256=_sha256(token),
            user_id=user.id,
            name=name,
            created_at=now,
            expires_at=now + lifetime,
        )
    )
    session.flush()
    return token


def check_csrf(identity: Identity, presented: str | None) -> None:
    """Raise `CsrfMissing` unless the session's token came with a browser's request."""
    if identity.csrf is None:
        return
    if not presented or not hmac.compare_digest(presented.encode(), identity.csrf.encode()):
        raise CsrfMissing("send the session's token as X-CSRF-Token (GET /v1/me shows it)")


def actor_of(user: User) -> Actor:
    """The actor a user acts as. A password that must be changed leaves no permission."""
    role = Role(user.role)
    permissions = frozenset() if user.must_change_password else ROLE_PERMISSIONS[role]
    return Actor(user.id, user.name, role, user.kind == "person", permissions)


def _identity(user: User, row: UserSession | None, token_id: int | None = None) -> Identity:
    return Identity(
        actor_of(user),
        user.display_name,
        user.must_change_password,
        row.csrf if row else None,
        row.token_sha256 if row else None,
        token_id,
    )


def _lock_until(failures: int, now: datetime) -> datetime | None:
    over = failures - FREE_ATTEMPTS
    if over < 0:
        return None
    wait: timedelta = min(_LONGEST_LOCK, _FIRST_LOCK * (1 << min(over, 10)))
    return now + wait


def _sha256(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
