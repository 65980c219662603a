"""People and services that can sign in."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, auth
from fraudwatch.casework.auth import Identity, Passwords
from fraudwatch.casework.models import ApiToken, User
from fraudwatch.domain.access import SERVICES, Actor, Role
from fraudwatch.errors import Conflict, Invalid, NotFound

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1000


def list_users(session: Session) -> list[User]:
    """Everybody, by name."""
    return list(session.scalars(select(User).order_by(User.name)))


def get_user(session: Session, name: str) -> User:
    """Raises `NotFound`."""
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        raise NotFound(f"there is no user {name!r}")
    return user


def create_user(
    session: Session,
    passwords: Passwords,
    *,
    name: str,
    role: Role,
    now: datetime,
    display_name: str = "",
    password: str | None = None,
    must_change_password: bool = False,
    actor: Actor | None = None,
) -> User:
    """Add a person, or a service for the roles of `SERVICES`. `actor` None: the operator's shell.

    A service has no password: it signs in with tokens.
    """
    if not name or len(name) > 100 or not name.isprintable() or name != name.strip():
        raise Invalid("a user name has 1 to 100 printable characters, without spaces around them")
    if session.scalar(select(User.id).where(User.name == name)) is not None:
        raise Conflict(f"there is a user {name!r} already")
    service = role in SERVICES
    if service and password is not None:
        raise Invalid("a service has no password: give it a token")
    if password is not None:
        _check_password(name, password)
    user = User(
        name=name,
        display_name=display_name or name,
        kind="service" if service else "person",
        role=role.value,
        password_hash=None if password is None else passwords.hash(password),
        must_change_password=must_change_password,
        disabled=False,
        failed_logins=0,
        created_at=now,
    )
    session.add(user)
    session.flush()
    _audit(session, user, actor, "user.create", now, {"name": name, "role": role.value})
    return user


def set_password(
    session: Session,
    passwords: Passwords,
    user: User,
    password: str,
    *,
    now: datetime,
    must_change_password: bool = False,
    actor: Actor | None = None,
) -> None:
    """Replace the password, lift a lock and end all sessions of the user."""
    if user.kind != "person":
        raise Invalid("a service has no password: give it a token")
    _check_password(user.name, password)
    user.password_hash = passwords.hash(password)
    user.must_change_password = must_change_password
    user.failed_logins, user.locked_until = 0, None
    session.flush()
    auth.end_sessions(session, user.id)
    _audit(session, user, actor, "user.password", now, {})


def change_password(
    session: Session,
    passwords: Passwords,
    identity: Identity,
    *,
    current: str,
    new: str,
    now: datetime,
) -> bool:
    """Replace one's own password; False when `current` is wrong. Other sessions end.

    Commit in both cases: wrong guesses count as at sign-in, and lock the account like there.
    """
    user = session.get(User, identity.actor.user_id, with_for_update=True)
    if user is None or (user.locked_until is not None and user.locked_until > now):
        return False
    if not passwords.verify(user.password_hash, current):
        auth.count_failure(session, user, now)
        return False
    if new == current:
        raise Invalid("the new password must differ from the current one")
    _check_password(user.name, new)
    user.password_hash, user.must_change_password = passwords.hash(new), False
    session.flush()
    auth.end_sessions(session, user.id, but=identity.session_sha256)
    _audit(session, user, identity.actor, "user.password", now, {})
    return True


def set_disabled(
    session: Session, user: User, disabled: bool, *, now: datetime, actor: Actor | None = None
) -> None:
    """Bar a user from signing in, or let them again. Sessions end at once, tokens stop working."""
    user.disabled = disabled
    session.flush()
    if disabled:
        auth.end_sessions(session, user.id)
    _audit(session, user, actor, "user.disable" if disabled else "user.enable", now, {})


def issue_token(
    session: Session,
    user: User,
    *,
    name: str,
    now: datetime,
    lifetime: timedelta = timedelta(days=90),
    actor: Actor | None = None,
) -> str:
    """An API token for the user, shown this once."""
    if not timedelta(0) < lifetime <= timedelta(days=366):
        raise Invalid("a token lives at most 366 days")
    token = auth.new_token(session, user, name=name, now=now, lifetime=lifetime)
    _audit(session, user, actor, "token.issue", now, {"name": name, "expires": now + lifetime})
    return token


def revoke_tokens(
    session: Session,
    user: User,
    *,
    now: datetime,
    name: str | None = None,
    actor: Actor | None = None,
) -> int:
    """End the user's tokens, or those of one name; returns how many."""
    conditions = [ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None)]
    if name is not None:
        conditions.append(ApiToken.name == name)
    ended = session.scalars(
        update(ApiToken).where(*conditions).values(revoked_at=now).returning(ApiToken.id)
    ).all()
    _audit(session, user, actor, "token.revoke", now, {"tokens": len(ended)})
    return len(ended)


def _check_password(name: str, password: str) -> None:
    """Length is what counts (NIST SP 800-63B, 3.1.1.2); no rules on kinds of characters."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Invalid(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    if name.lower() in password.lower() or len(set(password)) < 4:
        raise Invalid("the password is too easy to guess: choose several unrelated words")


def _audit(
    session: Session,
    user: User,
    actor: Actor | None,
    action: str,
    now: datetime,
    data: dict[str, object],
) -> None:
    audit.append(session, at=now, actor=actor, action=action, subject=f"user:{user.id}", data=data)
