"""People and services that can sign in: made, changed and barred by administrators.

`actor` None is the operator's shell: the only way to the first administrator, and not bound by the
two rules that hold for everybody else: nobody changes their own role, units or state, and one
administrator who can sign in always stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, auth, browser_sessions, second_factor
from fraudwatch.casework.auth import Identity, Passwords
from fraudwatch.casework.models import User
from fraudwatch.casework.one_time import one_time_password
from fraudwatch.casework.password_strength import check_password
from fraudwatch.domain.access import SERVICES, Actor, Permission, Role
from fraudwatch.errors import Conflict, Invalid, NotAllowed, NotFound

ONE_TIME_LIFE = timedelta(hours=72)
"""How long a one-time password waits for its person."""
MOST_UNITS = 50
LONGEST_UNIT = 100


def list_users(session: Session) -> list[User]:
    """Everybody, by name."""
    return list(session.scalars(select(User).order_by(User.name)))


def get_user(session: Session, name: str) -> User:
    """Raises `NotFound`."""
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        raise NotFound(f"there is no user {name!r}")
    return user


def by_id(session: Session, user_id: int) -> User:
    """The user, their row locked until the end of the transaction. Raises `NotFound`."""
    user = session.scalar(select(User).where(User.id == user_id).with_for_update())
    if user is None:
        raise NotFound(f"there is no user {user_id}")
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
    units: Sequence[str] | None = None,
    provided: tuple[str, str] | None = None,
    actor: Actor | None = None,
) -> User:
    """Add a person, or a service for the roles of `SERVICES`. A service signs in with tokens.

    `provided`: issuer and subject of a person who signs in there and has no password here.
    A password that must be changed is good for `ONE_TIME_LIFE`.
    """
    check_name(session, name)
    service = role in SERVICES
    if service and password is not None:
        raise Invalid("a service has no password: give it a token")
    if password is not None and not must_change_password:
        check_password(password, (name, display_name))
    user = User(
        name=name,
        display_name=display_name or name,
        kind="service" if service else "person",
        role=role.value,
        password_hash=None if password is None else passwords.hash(password),
        must_change_password=must_change_password,
        password_ends_at=now + ONE_TIME_LIFE if must_change_password else None,
        disabled=False,
        failed_logins=0,
        created_at=now,
        units=checked_units(units),
        provider=provided and provided[0],
        provider_subject=provided and provided[1],
    )
    session.add(user)
    session.flush()
    data: dict[str, object] = {"name": name, "role": role.value, "units": user.units}
    if provided is not None:
        data["provider"] = provided[0]
    _audit(session, user, actor, "user.create", now, data)
    return user


def invite(
    session: Session,
    passwords: Passwords,
    *,
    name: str,
    role: Role,
    now: datetime,
    display_name: str = "",
    units: Sequence[str] | None = None,
    actor: Actor | None = None,
) -> tuple[User, str | None]:
    """A new user, and the one-time password of a person: it is shown this once."""
    password = None if role in SERVICES else one_time_password()
    user = create_user(
        session,
        passwords,
        name=name,
        role=role,
        now=now,
        display_name=display_name,
        password=password,
        must_change_password=password is not None,
        units=units,
        actor=actor,
    )
    return user, password


def check_name(session: Session, name: str) -> None:
    """Raise unless a new user may have this name."""
    if not name or len(name) > 100 or not name.isprintable() or name != name.strip():
        raise Invalid("a user name has 1 to 100 printable characters, without spaces around them")
    if session.scalar(select(User.id).where(User.name == name)) is not None:
        raise Conflict(f"there is a user {name!r} already")


def checked_units(units: Sequence[str] | None) -> list[str] | None:
    """Units as they are stored: sorted, each once. None is all units; an empty list would be no
    unit at all, which is not meant by anybody."""
    if units is None:
        return None
    found = sorted(set(units))
    fit = all(0 < len(u) <= LONGEST_UNIT and u.isprintable() and u == u.strip() for u in found)
    if not found or len(found) > MOST_UNITS or not fit:
        raise Invalid(f"1 to {MOST_UNITS} units of 1 to {LONGEST_UNIT} printable characters each")
    return found


def change_user(
    session: Session,
    user: User,
    *,
    now: datetime,
    role: Role | None = None,
    display_name: str | None = None,
    units: Sequence[str] | None = None,
    all_units: bool = False,
    actor: Actor | None = None,
) -> None:
    """Change what is given. Another role or other units end the user's sessions: what they may
    then see is asked for anew."""
    changed: dict[str, object] = {}
    if display_name is not None and display_name != user.display_name:
        if not display_name.strip() or len(display_name) > 200 or not display_name.isprintable():
            raise Invalid("a name to show has 1 to 200 printable characters")
        user.display_name = changed["display_name"] = display_name
    narrowed = None if all_units else checked_units(units)
    scoped = (all_units or units is not None) and narrowed != user.units
    other_role = role is not None and role.value != user.role
    if scoped or other_role:
        _not_oneself(user, actor)
    if role is not None and other_role:
        if (role in SERVICES) != (user.kind == "service"):
            raise Invalid("a person stays a person and a service a service: create another user")
        if user.role == Role.ADMIN:
            _keep_an_administrator(session, user, actor)
        user.role = changed["role"] = role.value
    if scoped:
        user.units = narrowed
        changed["units"] = narrowed
    if not changed:
        return
    session.flush()
    if scoped or other_role:
        browser_sessions.end_all(session, user.id)
    _audit(session, user, actor, "user.change", now, changed)


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
    """Replace the password, lift locks, end all sessions and forget known devices."""
    if user.kind != "person":
        raise Invalid("a service has no password: give it a token")
    if user.provider is not None:
        raise Invalid("this person signs in at the provider: reset the password there")
    _not_oneself(user, actor)
    if not must_change_password:
        check_password(password, (user.name, user.display_name))
    user.password_hash = passwords.hash(password)
    user.must_change_password = must_change_password
    user.password_ends_at = now + ONE_TIME_LIFE if must_change_password else None
    user.failed_logins, user.locked_until = 0, None
    session.flush()
    browser_sessions.end_all(session, user.id)
    browser_sessions.forget_devices(session, user.id)
    _audit(session, user, actor, "user.password", now, {"one_time": must_change_password})


def reset_password(
    session: Session,
    passwords: Passwords,
    user: User,
    *,
    now: datetime,
    actor: Actor | None = None,
) -> str:
    """Give a person a one-time password, as `set_password` does: it is shown this once."""
    password = one_time_password()
    set_password(
        session, passwords, user, password, must_change_password=True, now=now, actor=actor
    )
    return password


def choose_password(
    session: Session, passwords: Passwords, identity: Identity, new: str, *, now: datetime
) -> None:
    """Replace one's own password, the current one having been confirmed; other sessions end."""
    user = by_id(session, identity.actor.user_id)
    if user.provider is not None or user.kind != "person":
        raise Invalid("you have no password here")
    if passwords.verify(user.password_hash, new):
        raise Invalid("the new password must differ from the current one")
    check_password(new, (user.name, user.display_name))
    user.password_hash, user.must_change_password = passwords.hash(new), False
    user.password_ends_at = None
    session.flush()
    browser_sessions.end_all(session, user.id, but=identity.session_sha256)
    browser_sessions.forget_devices(session, user.id)
    _audit(session, user, identity.actor, "user.password", now, {})


def reset_second_factor(
    session: Session, user: User, *, now: datetime, actor: Actor | None = None
) -> None:
    """For who lost their device and the recovery codes: sessions end, a password alone is asked."""
    _not_oneself(user, actor)
    if user.totp_secret is None:
        raise Invalid("this user has no second factor")
    second_factor.remove(session, user)
    browser_sessions.end_all(session, user.id)
    browser_sessions.forget_devices(session, user.id)
    _audit(session, user, actor, "user.second_factor_reset", now, {})


def set_disabled(
    session: Session, user: User, disabled: bool, *, now: datetime, actor: Actor | None = None
) -> None:
    """Bar a user from signing in, or let them again. Sessions end at once, tokens stop working."""
    if user.disabled == disabled:
        return
    _not_oneself(user, actor)
    if disabled and user.role == Role.ADMIN:
        _keep_an_administrator(session, user, actor)
    user.disabled = disabled
    session.flush()
    if disabled:
        browser_sessions.end_all(session, user.id)
    _audit(session, user, actor, "user.disable" if disabled else "user.enable", now, {})


def end_sessions(session: Session, user: User, *, now: datetime, actor: Actor | None = None) -> int:
    """End all of a user's sessions; returns how many."""
    ended = browser_sessions.end_all(session, user.id)
    _audit(session, user, actor, "session.end_all", now, {"sessions": ended})
    return ended


def _not_oneself(user: User, actor: Actor | None) -> None:
    if actor is not None and actor.user_id == user.id:
        raise NotAllowed("another administrator must do this: nobody changes their own rights")


def _keep_an_administrator(session: Session, user: User, actor: Actor | None) -> None:
    """Locks all of them, so that two who bar each other at once do not both succeed."""
    if actor is None:
        return
    admins = session.scalars(
        select(User)
        .where(User.role == Role.ADMIN, User.kind == "person")
        .order_by(User.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    others = [
        found
        for found in admins
        if found.id != user.id
        and not found.disabled
        and auth.actor_of(found).may(Permission.USERS_MANAGE)
    ]
    if not others:
        raise Conflict("this is the last administrator who can sign in: make another one first")


def _audit(
    session: Session,
    user: User,
    actor: Actor | None,
    action: str,
    now: datetime,
    data: dict[str, object],
) -> None:
    audit.append(session, at=now, actor=actor, action=action, subject=f"user:{user.id}", data=data)
