"""What people change about their own account, besides the password: second factor and sessions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from fraudwatch.casework import audit, browser_sessions, second_factor, users
from fraudwatch.casework.auth import Identity
from fraudwatch.casework.models import User
from fraudwatch.casework.second_factor import Offer
from fraudwatch.errors import Conflict, Invalid, NotFound


def offer_second_factor(session: Session, identity: Identity, key: bytes) -> Offer:
    """Begin to set up the second factor; nothing is asked for before its first code is given."""
    user = users.by_id(session, identity.actor.user_id)
    if user.provider is not None:
        raise Invalid("you sign in at the provider: set up a second factor there")
    if user.totp_secret is not None:
        raise Conflict("the second factor is set up already: remove it first")
    return second_factor.offer(user, key)


def confirm_second_factor(
    session: Session, identity: Identity, key: bytes, code: str, *, now: datetime
) -> list[str] | None:
    """Put it into force: the recovery codes, or None for a wrong code. Other sessions end."""
    user = users.by_id(session, identity.actor.user_id)
    if user.totp_secret is not None:
        raise Conflict("the second factor is set up already: remove it first")
    codes = second_factor.confirm(session, user, key, code, now)
    if codes is None:
        browser_sessions.guessed_wrong(session, identity)
        return None
    _changed(session, user, identity)
    _audit(session, identity, "second_factor.set", now, {})
    return codes


def remove_second_factor(session: Session, identity: Identity, *, now: datetime) -> None:
    """Have sign-in ask for the password alone again. Other sessions end."""
    user = _with_factor(session, identity)
    second_factor.remove(session, user)
    _changed(session, user, identity)
    _audit(session, identity, "second_factor.remove", now, {})


def renew_recovery_codes(session: Session, identity: Identity, *, now: datetime) -> list[str]:
    """Other recovery codes; those before are good no more."""
    codes = second_factor.renew_recovery_codes(session, _with_factor(session, identity))
    _audit(session, identity, "second_factor.codes", now, {"codes": len(codes)})
    return codes


def end_session(session: Session, identity: Identity, session_id: int, *, now: datetime) -> None:
    """End one of one's own sessions. Raises `NotFound`."""
    if browser_sessions.end_one(session, identity.actor.user_id, session_id) is None:
        raise NotFound("there is no such session, or it has ended")
    _audit(session, identity, "session.end", now, {"session": session_id})


def end_other_sessions(session: Session, identity: Identity, *, now: datetime) -> int:
    """End all of one's own sessions but this one; returns how many."""
    ended = browser_sessions.end_all(session, identity.actor.user_id, but=identity.session_sha256)
    _audit(session, identity, "session.end_all", now, {"sessions": ended})
    return ended


def _with_factor(session: Session, identity: Identity) -> User:
    user = users.by_id(session, identity.actor.user_id)
    if user.totp_secret is None:
        raise Invalid("you have no second factor")
    return user


def _changed(session: Session, user: User, identity: Identity) -> None:
    browser_sessions.end_all(session, user.id, but=identity.session_sha256)
    browser_sessions.forget_devices(session, user.id)


def _audit(
    session: Session, identity: Identity, action: str, now: datetime, data: dict[str, object]
) -> None:
    audit.append(
        session,
        at=now,
        actor=identity.actor,
        action=action,
        subject=f"user:{identity.actor.user_id}",
        data=data,
    )
