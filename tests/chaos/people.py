"""An analyst at work while faults happen: cases are decided, labels and outcomes follow."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import claims, resolutions
from fraudwatch.casework.case_rows import Act, lock
from fraudwatch.casework.models import Case, User
from fraudwatch.clock import SystemClock
from fraudwatch.domain.access import ROLE_PERMISSIONS, Actor, Role
from fraudwatch.domain.case import OPEN
from fraudwatch.domain.finding import Finding
from fraudwatch.domain.reason_codes import Resolution
from streams.source import Message
from tests.chaos.traffic import Chunk

ANALYST = "chaos-analyst"
LEASE = timedelta(hours=1)
SHARE = 4
VERDICTS = (
    (Resolution.FRAUD, "scam"),
    (Resolution.LEGITIMATE, "travel"),
    (Resolution.FRAUD, "stolen_card"),
)


def hire(session: Session) -> None:
    """Add the analyst to the people."""
    session.add(
        User(
            name=ANALYST,
            display_name=ANALYST,
            kind="person",
            role=Role.ANALYST.value,
            must_change_password=False,
            disabled=False,
            failed_logins=0,
        )
    )


def looked_into(account: bytes) -> bool:
    """Whether the analyst decides the cases of this account: every fourth's."""
    return zlib.crc32(account) % SHARE == 0


def without_looked_into(chunk: Chunk) -> Chunk:
    """What comes when these accounts pay no more. From then on a case of theirs gets no further
    alert, so it ends the same whenever it is decided."""

    def others(messages: list[Message]) -> list[Message]:
        return [m for m in messages if m.key is None or not looked_into(m.key)]

    return replace(chunk, transactions=others(chunk.transactions))


def decide(sessions: sessionmaker[Session], topic: str, limit: int | None = None) -> int:
    """Decide open cases of the accounts in question, each in a transaction; returns how many.

    Stops where the database does not answer: people try again later.
    """
    now, done = SystemClock().now(), 0
    try:
        with sessions() as session:
            user_id = session.scalars(select(User.id).where(User.name == ANALYST)).one()
            query = select(Case.id, Case.account_id).where(Case.status.in_(OPEN))
            cases = session.execute(query.order_by(Case.account_id)).all()
        actor = Actor(user_id, ANALYST, Role.ANALYST, True, ROLE_PERMISSIONS[Role.ANALYST])
        for case_id, account in [c for c in cases if looked_into(c.account_id.encode())][:limit]:
            resolution, reason = VERDICTS[zlib.crc32(account.encode()) // SHARE % len(VERDICTS)]
            with sessions.begin() as session:
                act = Act(actor, now, lock(session, case_id).version)
                held = claims.claim(session, case_id, act, lease=LEASE)
                finding = Finding(resolution, (reason,))
                act = Act(actor, now, held.version)
                resolutions.decide(session, case_id, act, finding, key=b"", topic=topic)
            done += 1
    except DBAPIError:
        return done
    return done
