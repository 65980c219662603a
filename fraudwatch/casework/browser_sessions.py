"""Sessions of browsers: begun, renewed under another token, listed, ended.

A session's token lives in a cookie and is kept as SHA-256 only. Whoever is signed in gets a new
token: at sign-in, after the second factor, and when their own password or second factor changes,
so that a token learnt before is worth nothing after.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from fraudwatch.casework import auth
from fraudwatch.casework.auth import Identity, sha256
from fraudwatch.casework.models import KnownDevice, User, UserSession
from fraudwatch.settings import Settings

DEVICE_LIFE = timedelta(days=180)
CODE_LIFE = timedelta(minutes=5)  # to give the second factor's code after the password
MOST_WRONG = 5  # guesses at a password or code within a session, which then ends
_LONGEST_TEXT = 300


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a sign-in comes from: address, browser, and the cookies that came with it."""

    address: str = ""
    agent: str = ""
    device: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A fresh session. The tokens go into cookies and are kept nowhere else."""

    token: str
    identity: Identity
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Provided:
    """What the provider of OpenID Connect said of its own session: for signing out of it."""

    id_token: str
    sid: str | None


def begin(
    session: Session,
    settings: Settings,
    user: User,
    origin: Origin,
    now: datetime,
    *,
    awaits_code: bool = False,
    provided: Provided | None = None,
) -> SignedIn:
    """A new session; the one whose cookie the browser still had ends."""
    token = secrets.token_urlsafe(32)
    life = CODE_LIFE if awaits_code else timedelta(hours=settings.session_hours)
    row = UserSession(
        token_sha256=sha256(token),
        user_id=user.id,
        csrf=secrets.token_urlsafe(32),
        created_at=now,
        seen_at=now,
        expires_at=now + life,
        awaits_code=awaits_code,
        method="provider" if provided else "password",
        source=origin.address[:_LONGEST_TEXT],
        agent=_printable(origin.agent)[:_LONGEST_TEXT],
        provider_token=provided.id_token if provided else None,
        provider_session=provided.sid if provided else None,
    )
    ended = (UserSession.user_id == user.id) & (UserSession.expires_at <= now)
    if origin.session is not None:
        ended |= UserSession.token_sha256 == sha256(origin.session)
    session.execute(delete(UserSession).where(ended))
    session.add(row)
    session.flush()
    return SignedIn(token, auth.of_session(user, row, settings))


def rotate(session: Session, settings: Settings, identity: Identity) -> SignedIn:
    """The same session under another token and CSRF token."""
    row = session.scalars(
        select(UserSession).where(UserSession.token_sha256 == identity.session_sha256)
    ).one()
    token = secrets.token_urlsafe(32)
    row.token_sha256, row.csrf = sha256(token), secrets.token_urlsafe(32)
    session.flush()
    user = session.scalars(select(User).where(User.id == row.user_id)).one()
    return SignedIn(token, auth.of_session(user, row, settings))


def know_device(session: Session, user: User, origin: Origin, now: datetime) -> str:
    """Remember the browser as one of this person's; the token for its cookie."""
    if origin.device is not None:
        session.execute(
            delete(KnownDevice).where(
                KnownDevice.token_sha256 == sha256(origin.device), KnownDevice.user_id == user.id
            )
        )
    token = secrets.token_urlsafe(32)
    session.add(
        KnownDevice(
            token_sha256=sha256(token),
            user_id=user.id,
            failed_logins=0,
            expires_at=now + DEVICE_LIFE,
        )
    )
    session.flush()
    return token


def guessed_wrong(session: Session, identity: Identity) -> None:
    """A wrong password or code within a session: after some, the session ends."""
    row = session.scalar(
        select(UserSession)
        .where(UserSession.token_sha256 == identity.session_sha256)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        return
    row.wrong += 1
    if row.wrong >= MOST_WRONG:
        session.delete(row)
    session.flush()


def of_user(session: Session, settings: Settings, user_id: int, now: datetime) -> list[UserSession]:
    """The user's sessions that still run, the last used first."""
    idle = timedelta(minutes=settings.session_idle_minutes)
    return list(
        session.scalars(
            select(UserSession)
            .where(
                UserSession.user_id == user_id,
                UserSession.expires_at > now,
                UserSession.seen_at > now - idle,
                UserSession.awaits_code.is_(False),
            )
            .order_by(UserSession.seen_at.desc(), UserSession.id)
        )
    )


def end(session: Session, identity: Identity) -> UserSession | None:
    """End the session of this request; what it was."""
    return _ended(session, UserSession.token_sha256 == identity.session_sha256)


def end_one(session: Session, user_id: int, session_id: int) -> UserSession | None:
    """End one of the user's sessions; None: it is none of theirs."""
    return _ended(session, (UserSession.user_id == user_id) & (UserSession.id == session_id))


def end_all(session: Session, user_id: int, *, but: bytes | None = None) -> int:
    """End the user's sessions, except the one given; returns how many."""
    ended = session.scalars(
        delete(UserSession)
        .where(UserSession.user_id == user_id, UserSession.token_sha256.is_distinct_from(but))
        .returning(UserSession.id)
    )
    return len(ended.all())


def forget_devices(session: Session, user_id: int) -> None:
    """No browser is known any more: somebody else may have a cookie of one."""
    session.execute(delete(KnownDevice).where(KnownDevice.user_id == user_id))


def _ended(session: Session, which: ColumnElement[bool]) -> UserSession | None:
    row = session.scalar(select(UserSession).where(which).with_for_update())
    if row is not None:
        session.delete(row)
        session.flush()
    return row


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())
