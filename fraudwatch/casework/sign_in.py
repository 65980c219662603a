"""Signing in with a password and, where there is one, a second factor.

An unknown name, a wrong password and a counter that is shut (`fraudwatch.casework.throttle`) take
the same time and give the same answer. Failures are counted in the caller's transaction: commit
in all cases.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, auth, browser_sessions, second_factor, throttle
from fraudwatch.casework.auth import Identity, Passwords, sha256
from fraudwatch.casework.browser_sessions import Origin, Provided, SignedIn
from fraudwatch.casework.models import User
from fraudwatch.casework.throttle import Attempt
from fraudwatch.errors import NotAllowed
from fraudwatch.settings import Settings

FRESH = timedelta(minutes=15)
"""How long after signing in at the provider a person without a password here need not again."""


class SignInAgain(NotAllowed):
    """The change needs a fresh sign-in: the person has no password here to confirm it with."""

    code = "sign-in-again"


def with_password(
    session: Session,
    passwords: Passwords,
    settings: Settings,
    *,
    name: str,
    password: str,
    origin: Origin,
    now: datetime,
) -> SignedIn | None:
    """A new session, or None when it cannot be.

    With a second factor the session awaits its code and gives no permission before.
    """
    user = session.scalar(select(User).where(User.name == name, User.kind == "person"))
    attempt = _attempt(session, user, settings, origin, now)
    usable = user is not None and not user.disabled and not attempt.shut and not _ended(user, now)
    fits = passwords.verify(user.password_hash if user and usable else None, password)
    if attempt.shut:
        return None
    if user is None or not fits:
        _refuse(session, user, attempt, "login.failed")
        return None
    if user.password_hash and passwords.outdated(user.password_hash):
        user.password_hash = passwords.hash(password)
    if user.totp_secret is not None:
        return browser_sessions.begin(session, settings, user, origin, now, awaits_code=True)
    return _welcome(session, settings, user, attempt, origin, now)


def with_code(
    session: Session,
    settings: Settings,
    identity: Identity,
    code: str,
    *,
    origin: Origin,
    now: datetime,
) -> SignedIn | None:
    """The full session, under a new token; None for a wrong code.

    A code that was used before is wrong. After five wrong ones the password must be given again.
    """
    user = session.scalars(select(User).where(User.id == identity.actor.user_id)).one()
    attempt = _attempt(session, user, settings, origin, now)
    if attempt.shut:
        return None
    session.refresh(user, with_for_update=True)  # a code sent twice at once is good once
    if not second_factor.fits(session, user, settings.require_secret(), code, now):
        browser_sessions.guessed_wrong(session, identity)
        _refuse(session, user, attempt, "login.code_failed")
        return None
    browser_sessions.end(session, identity)
    return _welcome(session, settings, user, attempt, origin, now)


def with_provider(
    session: Session,
    settings: Settings,
    user: User,
    provided: Provided,
    *,
    origin: Origin,
    now: datetime,
) -> SignedIn:
    """A session for a person whom the provider has checked; a second factor is its business."""
    signed_in = browser_sessions.begin(session, settings, user, origin, now, provided=provided)
    _log(session, user, "login", now, {"method": "provider"})
    return signed_in


def confirm(
    session: Session,
    passwords: Passwords,
    identity: Identity,
    password: str,
    *,
    now: datetime,
) -> bool:
    """Whether the person at the keyboard is the one who signed in: for changes to their account.

    They give their password; wrong ones end the session after the fifth. People of a provider have
    none: raises `SignInAgain` unless they came from it a moment ago.
    """
    user = session.scalars(select(User).where(User.id == identity.actor.user_id)).one()
    if user.password_hash is None:
        if identity.session_since is None or identity.session_since + FRESH <= now:
            raise SignInAgain("sign out, sign in again, and repeat this within 15 minutes")
        return True
    if passwords.verify(user.password_hash, password):
        return True
    browser_sessions.guessed_wrong(session, identity)
    _log(session, user, "login.failed", now, {"where": "own account"})
    return False


def _welcome(
    session: Session,
    settings: Settings,
    user: User,
    attempt: Attempt,
    origin: Origin,
    now: datetime,
) -> SignedIn:
    attempt.passed()
    throttle.forget_old(session, now)
    signed_in = browser_sessions.begin(session, settings, user, origin, now)
    device = browser_sessions.know_device(session, user, origin, now)
    factors = "password, second factor" if user.totp_secret else "password"
    _log(session, user, "login", now, {"method": factors})
    return replace(signed_in, device=device)


def _refuse(session: Session, user: User | None, attempt: Attempt, action: str) -> None:
    attempt.failed()
    session.flush()
    if user is not None:
        _log(session, user, action, attempt.now, {}, anonymous=True)


def _attempt(
    session: Session, user: User | None, settings: Settings, origin: Origin, now: datetime
) -> Attempt:
    return throttle.attempt(
        session,
        user,
        device_sha256=None if origin.device is None else sha256(origin.device),
        address=origin.address,
        key=settings.require_secret(),
        now=now,
    )


def _ended(user: User, now: datetime) -> bool:
    """A one-time password that nobody used in time."""
    return (
        user.must_change_password
        and user.password_ends_at is not None
        and user.password_ends_at <= now
    )


def _log(
    session: Session,
    user: User,
    action: str,
    now: datetime,
    data: dict[str, object],
    *,
    anonymous: bool = False,
) -> None:
    session.flush()
    actor = None if anonymous else auth.actor_of(user)
    audit.append(session, at=now, actor=actor, action=action, subject=f"user:{user.id}", data=data)
