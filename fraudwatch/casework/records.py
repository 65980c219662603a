"""Pages of who did what, who saw what, and what was unmasked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from fraudwatch.casework import queue
from fraudwatch.casework.models import AuditRow, LookRow
from fraudwatch.casework.schemas import AuditOut, Page
from fraudwatch.casework.schemas_audit import LookOut

Row = TypeVar("Row", AuditRow, LookRow)


def audit_page(
    session: Session, *, subject: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[AuditOut]:
    """Rows of the audit log, newest first."""
    query = select(AuditRow)
    if subject is not None:
        query = query.where(AuditRow.subject == subject)
    rows, following = page_of(session, AuditRow, query, cursor, limit)
    return Page[AuditOut](
        items=[
            AuditOut(
                id=row.id,
                at=row.at,
                actor=row.actor,
                action=row.action,
                subject=row.subject,
                data=row.data,
                hash=row.hash.hex(),
            )
            for row in rows
        ],
        next_cursor=following,
    )


def look_page(
    session: Session,
    *,
    subject: str | None = None,
    actor: str | None = None,
    shown: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[LookOut]:
    """Looks at personal data, newest first; `shown` is a pseudonym."""
    query = select(LookRow)
    if subject is not None:
        query = query.where(LookRow.subject == subject)
    if actor is not None:
        query = query.where(LookRow.actor == actor)
    if shown is not None:
        query = query.where(LookRow.data["shown"].has_key(shown))
    rows, following = page_of(session, LookRow, query, cursor, limit)
    return Page[LookOut](
        items=[
            LookOut(
                id=row.id,
                at=row.at,
                actor=row.actor,
                subject=row.subject,
                where=row.data["where"],
                shown=row.data["shown"],
                hash=row.hash.hex(),
            )
            for row in rows
        ],
        next_cursor=following,
    )


def page_of(
    session: Session, model: type[Row], query: Select[Any], cursor: str | None, limit: int
) -> tuple[Sequence[Row], str | None]:
    """Up to `limit` rows, the newest first, and the cursor of what follows."""
    if cursor is not None:
        query = query.where(model.id < queue.read_cursor(cursor))
    rows = session.scalars(query.order_by(model.id.desc()).limit(limit + 1)).all()
    more = len(rows) > limit
    return rows[:limit], queue.make_cursor(rows[limit - 1].id) if more else None
