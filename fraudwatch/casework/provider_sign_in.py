"""Signing in through a provider of OpenID Connect: out to it, back from it, and who that is here.

A person is known by issuer and subject. Their name is taken once, when they first come, and only
where nobody has it: a user of this house is never taken over by a provider's of the same name.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, browser_sessions, sign_in, users
from fraudwatch.casework.auth import Passwords, sha256
from fraudwatch.casework.browser_sessions import Origin, Provided, SignedIn
from fraudwatch.casework.models import ProviderSignIn, User
from fraudwatch.casework.provider import Checked
from fraudwatch.casework.provider_claims import Person, Refused, Rules, read_person
from fraudwatch.errors import Conflict, Invalid
from fraudwatch.settings import Settings

WAIT = timedelta(minutes=10)
"""How long a person may take at the provider."""
_ENTRY_LOCK = 6_402_121  # of the advisory lock under which people of a provider enter

LATE = Refused("state", "this sign-in took too long, or began in another browser: begin again")


@dataclass(frozen=True, slots=True)
class Outward:
    """A sign-in that leaves for the provider: `state` goes with it, `browser` into a cookie."""

    state: str
    nonce: str
    verifier: str
    browser: str


@dataclass(frozen=True, slots=True)
class Returned:
    """What was kept of a sign-in that has come back."""

    nonce: str
    verifier: str
    back: str


def leave(session: Session, back: str, browser: str | None, now: datetime) -> Outward:
    """Keep what must come back; `browser` is the cookie of a sign-in that it began before."""
    outward = Outward(
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        browser=browser or secrets.token_urlsafe(32),
    )
    session.execute(delete(ProviderSignIn).where(ProviderSignIn.expires_at <= now))
    session.add(
        ProviderSignIn(
            state_sha256=sha256(outward.state),
            browser_sha256=sha256(outward.browser),
            nonce=outward.nonce,
            verifier=outward.verifier,
            back=back,
            expires_at=now + WAIT,
        )
    )
    return outward


def come_back(
    session: Session, state: str, browser: str | None, now: datetime
) -> Returned | Refused:
    """What was kept under this state, once, and only for the browser that began.

    Commit before the provider is asked: a state is good once, whatever becomes of it.
    """
    if browser is None:
        return LATE
    row = session.execute(
        delete(ProviderSignIn)
        .where(
            ProviderSignIn.state_sha256 == sha256(state),
            ProviderSignIn.browser_sha256 == sha256(browser),
            ProviderSignIn.expires_at > now,
        )
        .returning(ProviderSignIn.nonce, ProviderSignIn.verifier, ProviderSignIn.back)
    ).first()
    return LATE if row is None else Returned(row.nonce, row.verifier, row.back)


def enter(
    session: Session,
    passwords: Passwords,
    settings: Settings,
    rules: Rules,
    checked: Checked,
    *,
    origin: Origin,
    now: datetime,
) -> SignedIn | Refused:
    """A session for who the token names; role, units and shown name follow the provider.

    Who is refused loses their other sessions too. Commit in both cases: a refusal is in the audit
    log.
    """
    session.execute(select(func.pg_advisory_xact_lock(_ENTRY_LOCK)))
    user = _known(session, settings, checked.claims.get("sub"))
    person = read_person(checked.claims, rules)
    if isinstance(person, Person):
        admitted = _admit(session, passwords, settings, user, person, now)
    else:
        admitted = person
    if isinstance(admitted, Refused):
        if user is not None:
            browser_sessions.end_all(session, user.id)
        refuse(session, admitted, now, user)
        return admitted
    sid = checked.claims.get("sid")
    provided = Provided(checked.id_token, sid if isinstance(sid, str) else None)
    return sign_in.with_provider(session, settings, admitted, provided, origin=origin, now=now)


def refuse(session: Session, refused: Refused, now: datetime, user: User | None = None) -> None:
    """Have the audit log say that somebody was not let in, and why."""
    audit.append(
        session,
        at=now,
        actor=None,
        action="login.refused",
        subject=f"user:{user.id}" if user is not None else "provider",
        data={"method": "provider", "reason": refused.reason},
    )


def _known(session: Session, settings: Settings, subject: object) -> User | None:
    query = select(User).where(
        User.provider == settings.oidc_issuer, User.provider_subject == subject
    )
    return session.scalar(query.with_for_update()) if isinstance(subject, str) else None


def _admit(
    session: Session,
    passwords: Passwords,
    settings: Settings,
    user: User | None,
    person: Person,
    now: datetime,
) -> User | Refused:
    """The user of this person, made or changed to what the provider says."""
    if user is not None and user.disabled:
        return Refused("disabled", "your user is disabled here: ask an administrator")
    try:
        if user is not None:
            _follow(session, user, person, now)
            return user
        return users.create_user(
            session,
            passwords,
            name=person.name,
            role=person.role,
            now=now,
            display_name=person.display_name,
            units=person.units,
            provided=(settings.oidc_issuer, person.subject),
        )
    except Conflict:
        return Refused("taken", "your name is another user's here already: ask an administrator")
    except Invalid as error:
        return Refused("user", str(error))


def _follow(session: Session, user: User, person: Person, now: datetime) -> None:
    """The provider knows best what they are; a change ends their other sessions."""
    users.change_user(
        session,
        user,
        now=now,
        role=person.role,
        display_name=person.display_name,
        units=person.units,
        all_units=person.scoped and person.units is None,
    )
