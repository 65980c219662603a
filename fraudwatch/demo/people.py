"""The demo's people: an analyst and a risk officer, with passwords that are good for one run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import users
from fraudwatch.casework.auth import Passwords
from fraudwatch.casework.models import User
from fraudwatch.casework.one_time import one_time_password
from fraudwatch.domain.access import Role


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """Who can sign in."""

    name: str
    display_name: str
    role: Role


ANALYST = DemoPerson("ana", "Ana (demo analyst)", Role.ANALYST)
RISK_OFFICER = DemoPerson("rio", "Rio (demo risk officer)", Role.RISK_OFFICER)
PEOPLE = (ANALYST, RISK_OFFICER)


def give_passwords(
    session: Session, passwords: Passwords, ours: Mapping[str, str], now: datetime
) -> tuple[dict[str, str], dict[str, str]]:
    """A new password for each demo person who has not chosen one.

    `ours` are the hashes of the passwords that the last run gave. Returns the new passwords by
    name, and their hashes to remember. Somebody whose hash is another one has chosen a password:
    it stays.
    """
    given, hashes = {}, {}
    for person in PEOPLE:
        user = session.scalar(select(User).where(User.name == person.name))
        if user is not None and user.password_hash != ours.get(person.name):
            continue
        password = one_time_password()
        if user is None:
            user = users.create_user(
                session,
                passwords,
                name=person.name,
                display_name=person.display_name,
                role=person.role,
                password=password,
                now=now,
            )
        else:
            users.set_password(session, passwords, user, password, now=now)
        given[person.name] = password
        hashes[person.name] = user.password_hash or ""
    return given, hashes


def remembered(file: Path) -> dict[str, str]:
    """The hashes that the last run gave."""
    if not file.exists():
        return {}
    hashes: dict[str, str] = json.loads(file.read_text())
    return hashes


def remember(file: Path, hashes: Mapping[str, str]) -> None:
    """Keep the hashes for the next run, readable by the owner alone."""
    file.touch(mode=0o600)
    file.write_text(json.dumps(dict(hashes)))
