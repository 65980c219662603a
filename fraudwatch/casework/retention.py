"""What is old goes: notes, ended sessions, looks, rows of the audit log, each after its own time.

Of a chain the oldest rows go, as many as are old; where it begins then is told in the chain of
changes, and checked by the next row's hash. To be run by the owner of the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, looks
from fraudwatch.casework.audit import By
from fraudwatch.casework.models import AuditRow, LookRow, UserSession

_NOTES = """
UPDATE case_events e SET data = (e.data - 'screen') || '{"text": "", "expired": true}'
  FROM cases c
 WHERE c.id = e.case_id AND c.status IN ('resolved', 'merged') AND c.updated_at < :before
   AND (coalesce(e.data ->> 'text', '') <> '' OR e.data ? 'screen')
"""


@dataclass(frozen=True, slots=True)
class Days:
    """After how many days each goes; 0: never."""

    notes: int = 0
    sessions: int = 0
    looks: int = 0
    audit: int = 0


def retain(session: Session, days: Days, by: By, now: datetime) -> Mapping[str, int]:
    """Remove what is older; how much of each. Texts go with the whole of a case that is closed."""
    session.execute(text("SET LOCAL fraudwatch.erasing = 'yes'"))
    session.execute(text("SET LOCAL statement_timeout = 0"))
    done: dict[str, int] = {}
    if days.notes:
        done["notes"] = _rows(
            session.execute(text(_NOTES), {"before": now - timedelta(days=days.notes)})
        )
    if days.sessions:
        ended = UserSession.expires_at < now - timedelta(days=days.sessions)
        done["sessions"] = _rows(session.execute(delete(UserSession).where(ended)))
    if days.looks:
        before = now - timedelta(days=days.looks)
        done["looks"] = _cut(session, LookRow, looks.EXPIRED, before, by, now)
    if days.audit:
        begin_of_looks = audit.anchor(session, looks.EXPIRED)
        before = now - timedelta(days=days.audit)
        done["audit"] = _cut(session, AuditRow, audit.EXPIRED, before, by, now)
        if done["audit"] and begin_of_looks.id:
            # The row that told where looks begin may be among those that are gone.
            told = {"until": begin_of_looks.id, "hash": begin_of_looks.hash.hex()}
            _tell(session, looks.EXPIRED, told, by, now)
    if any(done.values()):
        counts: dict[str, object] = {**done}
        _tell(session, "privacy.retain", counts, by, now)
    return done


def _cut(
    session: Session,
    model: type[AuditRow | LookRow],
    action: str,
    before: datetime,
    by: By,
    now: datetime,
) -> int:
    """Remove the oldest rows of a chain up to the first that is not old; the newest stays."""
    young = select(func.min(model.id)).where(model.at >= before).scalar_subquery()
    newest = select(func.max(model.id)).scalar_subquery()
    last = session.execute(
        select(model.id, model.hash)
        .where(model.id < func.coalesce(young, newest))
        .order_by(model.id.desc())
        .limit(1)
    ).first()
    if last is None:
        return 0
    removed = _rows(session.execute(delete(model).where(model.id <= last.id)))
    _tell(session, action, {"until": last.id, "hash": last.hash.hex()}, by, now)
    return removed


def _tell(session: Session, action: str, data: Mapping[str, object], by: By, now: datetime) -> None:
    audit.append(
        session,
        at=now,
        actor=by.actor,
        action=action,
        subject="retention",
        data={**data, "by": by.name, "why": by.why},
    )


def _rows(result: object) -> int:
    return int(getattr(result, "rowcount", 0))
