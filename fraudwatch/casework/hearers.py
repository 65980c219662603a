"""Who is to hear of a case: whoever watches it, and whoever is named in a note (`@name`).

Rows only: what is sent to them is sent from these rows.
"""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import any_, delete, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from fraudwatch.casework.case_rows import Act
from fraudwatch.casework.models import Case, CaseEvent, CaseWatcher, Mention, User
from fraudwatch.domain.access import Actor
from fraudwatch.errors import NotFound

MOST = 20  # named in one note
_NAME = re.compile(r"(?<![\w@.])@([\w][\w.+-]{0,99})(?![\w.+@-])")


def named(text: str) -> list[str]:
    """The names after an @ that stands at the beginning of a word, each once. A full stop at the
    end is none of the name."""
    return list(dict.fromkeys(name.rstrip(".-+") for name in _NAME.findall(text)))[:MOST]


def mention(session: Session, case: Case, act: Act, text: str) -> None:
    """Write down who is named in the note that was just told: people who may see the case. Other
    names are words like any others."""
    names = named(text)
    if not names:
        return
    session.flush()
    event_id = session.scalar(select(func.max(CaseEvent.id)).where(CaseEvent.case_id == case.id))
    found = session.scalars(
        select(User.id).where(
            User.name.in_(names),
            User.kind == "person",
            User.disabled.is_(False),
            User.id != act.actor.user_id,
            or_(User.units.is_(None), literal(case.unit or "") == any_(User.units)),
        )
    )
    for user_id in found:
        session.add(
            Mention(
                case_id=case.id,
                event_id=event_id,
                user_id=user_id,
                by_id=act.actor.user_id,
                at=act.now,
            )
        )


def watch(session: Session, case_id: int, actor: Actor, now: datetime) -> None:
    """Watch the case; again is harmless. Raises `NotFound`."""
    require_case(session, case_id)
    row = {"case_id": case_id, "user_id": actor.user_id, "since": now}
    session.execute(upsert(CaseWatcher).values(row).on_conflict_do_nothing())


def unwatch(session: Session, case_id: int, actor: Actor) -> None:
    """No longer watch it. Raises `NotFound` where there is no such case."""
    require_case(session, case_id)
    session.execute(
        delete(CaseWatcher).where(
            CaseWatcher.case_id == case_id, CaseWatcher.user_id == actor.user_id
        )
    )


def require_case(session: Session, case_id: int) -> None:
    """Raises `NotFound` where the reader finds no such case."""
    if session.scalar(select(Case.id).where(Case.id == case_id)) is None:
        raise NotFound(f"there is no case {case_id}")
