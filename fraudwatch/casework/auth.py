"""Who is there: by browser session or API token, and what keeps them from their permissions.

Tokens are random and stored only as SHA-256; passwords as argon2id.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fraudwatch.casework.models import ApiToken, User, UserSession
from fraudwatch.domain.access import ROLE_PERMISSIONS, SERVICES, Actor, Hurdle, Permission, Role
from fraudwatch.errors import ConfigurationError, NotAllowed
from fraudwatch.settings import Settings

_SEEN_EVERY = timedelta(minutes=1)  # how exact `seen_at` and `last_used_at` are kept


class NotSignedIn(NotAllowed):
    """No session or token, or one that has ended."""

    code = "not-signed-in"


class PasswordChangeNeeded(NotAllowed):
    """Signed in with a password that someone else knows: it must be changed before anything."""

    code = "password-change"


class CodeNeeded(NotAllowed):
    """The password was right; the code of the second factor is missing yet."""

    code = "second-factor"


class EnrolmentNeeded(NotAllowed):
    """The role needs a second factor, and the person has none."""

    code = "second-factor-enrolment"


class BrowserNeeded(NotAllowed):
    """One's own account is changed in a browser's session, not with a token."""

    code = "session-needed"


class CsrfMissing(NotAllowed):
    """A browser's request that changes something, without the session's token."""

    code = "csrf"


_HURDLES = {
    Hurdle.CODE: (CodeNeeded, "give the code of the second factor: POST /v1/login/code"),
    Hurdle.PASSWORD: (PasswordChangeNeeded, "change the password first: POST /v1/me/password"),
    Hurdle.ENROL: (EnrolmentNeeded, "your role needs a second factor: POST /v1/me/second-factor"),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """The actor of a request and how it signed in: by session, or by the token of this id."""

    actor: Actor
    display_name: str
    hurdle: Hurdle | None = None
    csrf: str | None = None
    session_sha256: bytes | None = None
    session_id: int | None = None
    session_since: datetime | None = None
    token_id: int | None = None

    @property
    def must_change_password(self) -> bool:
        """Whether somebody else knows the password."""
        return self.hurdle is Hurdle.PASSWORD

    def require_no_hurdle(self, but: frozenset[Hurdle] = frozenset()) -> None:
        """Raise what the person must do first, unless that may wait here."""
        if self.hurdle is not None and self.hurdle not in but:
            refusal, words = _HURDLES[self.hurdle]
            raise refusal(words)


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


def by_cookie(session: Session, settings: Settings, token: str, now: datetime) -> Identity:
    """Who the session cookie belongs to. Raises `NotSignedIn`."""
    found = session.execute(
        select(UserSession, User)
        .join(User, User.id == UserSession.user_id)
        .where(UserSession.token_sha256 == sha256(token))
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
    return of_session(user, row, settings)


def by_token(session: Session, settings: Settings, token: str, now: datetime) -> Identity:
    """Who the API token belongs to. Raises `NotSignedIn`."""
    found = session.execute(
        select(ApiToken, User)
        .join(User, User.id == ApiToken.user_id)
        .where(ApiToken.token_sha256 == sha256(token))
    ).first()
    if found is None:
        raise NotSignedIn("the token is not known")
    row, user = found
    if row.expires_at <= now or row.revoked_at is not None or user.disabled:
        raise NotSignedIn("the token has ended")
    if row.last_used_at is None or row.last_used_at + _SEEN_EVERY <= now:
        session.execute(update(ApiToken).where(ApiToken.id == row.id).values(last_used_at=now))
    hurdle = _hurdle(user, settings)
    actor = actor_of(user, hurdle, row.permissions)
    return Identity(actor, user.display_name, hurdle, token_id=row.id)


def check_csrf(identity: Identity, presented: str | None) -> None:
    """Raise `CsrfMissing` unless the session's token came with a browser's request."""
    if identity.csrf is None:
        return
    if not presented or not hmac.compare_digest(presented.encode(), identity.csrf.encode()):
        raise CsrfMissing("send the session's token as X-CSRF-Token (GET /v1/me shows it)")


def actor_of(user: User, hurdle: Hurdle | None = None, only: Iterable[str] | None = None) -> Actor:
    """The actor a user acts as. A hurdle leaves no permission; `only` leaves those it names."""
    role = Role(user.role)
    permissions = frozenset() if hurdle is not None else ROLE_PERMISSIONS[role]
    if only is not None:
        # Names of permissions that this version does not know any more give nothing.
        permissions &= {p for p in Permission if p.value in set(only)}
    units = None if user.units is None else frozenset(user.units)
    return Actor(user.id, user.name, role, user.kind == "person", permissions, units)


def of_session(user: User, row: UserSession, settings: Settings) -> Identity:
    """The identity that a session gives."""
    hurdle = Hurdle.CODE if row.awaits_code else _hurdle(user, settings, row.method)
    return Identity(
        actor_of(user, hurdle),
        user.display_name,
        hurdle,
        csrf=row.csrf,
        session_sha256=row.token_sha256,
        session_id=row.id,
        session_since=row.created_at,
    )


def second_factor_roles(settings: Settings) -> frozenset[Role]:
    """Roles whose people must have a second factor. Raises `ConfigurationError`."""
    names = [name.strip() for name in settings.second_factor_roles.split(",") if name.strip()]
    people = {role.value: role for role in Role if role not in SERVICES}
    if unknown := [name for name in names if name not in people]:
        raise ConfigurationError(
            f"FRAUDWATCH_SECOND_FACTOR_ROLES: {unknown[0]!r} is no role of a person; "
            f"choose from {', '.join(people)}"
        )
    return frozenset(people[name] for name in names)


def _hurdle(user: User, settings: Settings, method: str = "password") -> Hurdle | None:
    if user.must_change_password:
        return Hurdle.PASSWORD
    by_provider = method == "provider" or user.provider is not None  # it asks for what it needs
    without = user.totp_secret is None and user.kind == "person" and not by_provider
    needs = without and Role(user.role) in second_factor_roles(settings)
    return Hurdle.ENROL if needs else None


def sha256(token: str) -> bytes:
    """How tokens are stored."""
    return hashlib.sha256(token.encode()).digest()
