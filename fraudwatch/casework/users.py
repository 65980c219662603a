"""People and programs that use fraudwatch: made and ended by an administrator, each step audited.

`actor` None is the command line on the server, where the operator needs no account.
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, auth
from fraudwatch.casework.models import ApiToken, User
from fraudwatch.domain.access import Actor, Role
from fraudwatch.errors import Conflict, Invalid, NotFound

_NAME = re.compile(r"[a-z][a-z0-9._-]{1,62}")
_READABLE = "23456789abcdefghjkmnpqrstuvwxyz"  # without look-alikes


def one_time_password() -> str:
    """A random password that can be read out: 59 bits in three groups of four."""
    return "-".join("".join(secrets.choice(_READABLE) for _ in range(4)) for _ in range(3))


def get(session: Session, name: str) -> User:
    """A user by name. Raises `NotFound`."""
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        raise NotFound(f"no user {name!r}: `fraudwatch users list` shows those there are")
    return user


def everyone(session: Session) -> list[User]:
    """All users by name."""
    return list(session.scalars(select(User).order_by(User.name)))


def create(
    session: Session,
    passwords: auth.Passwords,
    *,
    name: str,
    display_name: str,
    role: Role,
    password: str | None,
    must_change: bool,
    now: datetime,
    actor: Actor | None = None,
) -> User:
    """A person with a password, or, for the role `service`, a program with tokens only.

    Raises `Invalid` for a name that cannot be, `Conflict` when it is taken.
    """
    if not _NAME.fullmatch(name):
        raise Invalid("a user's name has 2 to 63 of a-z, 0-9, '.', '_' and '-', a letter first")
    if (role is Role.SERVICE) != (password is None):
        raise Invalid("people have a password, services have none")
    if session.scalar(select(User.id).where(User.name == name)) is not None:
        raise Conflict(f"the name {name!r} is taken")
    user = User(
        name=name,
        display_name=display_name,
        kind="service" if role is Role.SERVICE else "person",
        role=role.value,
        password_hash=passwords.hash(password) if password is not None else None,
        must_change_password=must_change and password is not None,
        created_at=now,
    )
    session.add(user)
    session.flush()
    _audit(session, user, "user.created", now, actor, role=role.value)
    return user


def set_password(
    session: Session,
    passwords: auth.Passwords,
    user: User,
    password: str,
    *,
    must_change: bool,
    now: datetime,
    actor: Actor | None = None,
) -> None:
    """Give a person a new password; browser sessions end and a lock is lifted."""
    if user.kind != "person":
        raise Invalid(f"{user.name!r} is a service: it has tokens, no password")
    user.password_hash = passwords.hash(password)
    user.must_change_password = must_change
    user.failed_logins, user.locked_until = 0, None
    auth.end_sessions(session, user.id)
    session.flush()
    _audit(session, user, "user.password_reset", now, actor)


def set_disabled(
    session: Session, user: User, disabled: bool, *, now: datetime, actor: Actor | None = None
) -> None:
    """Shut a user out, or let them in again. What they did stays."""
    user.disabled = disabled
    if disabled:
        auth.end_sessions(session, user.id)
    session.flush()
    _audit(session, user, "user.disabled" if disabled else "user.enabled", now, actor)


def create_token(
    session: Session,
    user: User,
    *,
    name: str,
    lifetime: timedelta,
    now: datetime,
    actor: Actor | None = None,
) -> str:
    """A token that acts as the user; it is shown this once."""
    token = auth.new_token(session, user, name=name, now=now, lifetime=lifetime)
    _audit(session, user, "token.created", now, actor, token=name)
    return token


def revoke_tokens(
    session: Session, user: User, name: str, *, now: datetime, actor: Actor | None = None
) -> int:
    """End all tokens of this name; returns how many. Raises `NotFound` when there is none."""
    ended = session.scalars(
        update(ApiToken)
        .where(ApiToken.user_id == user.id, ApiToken.name == name, ApiToken.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(ApiToken.id)
    ).all()
    if not ended:
        raise NotFound(f"{user.name!r} has no token named {name!r}")
    _audit(session, user, "token.revoked", now, actor, token=name)
    return len(ended)


def _audit(
    session: Session, user: User, action: str, now: datetime, actor: Actor | None, **data: object
) -> None:
    audit.append(session, at=now, actor=actor, action=action, subject=f"user:{user.id}", data=data)
