"""Pages of who did what."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import queue
from fraudwatch.casework.models import AuditRow
from fraudwatch.casework.schemas import AuditOut, Page


def audit_page(
    session: Session, *, subject: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[AuditOut]:
    """Rows of the audit log, newest first."""
    query = select(AuditRow)
    if subject is not None:
        query = query.where(AuditRow.subject == subject)
    if cursor is not None:
        query = query.where(AuditRow.id < queue.read_cursor(cursor))
    rows = session.scalars(query.order_by(AuditRow.id.desc()).limit(limit + 1)).all()
    more = len(rows) > limit
    rows = rows[:limit]
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
        next_cursor=queue.make_cursor(rows[-1].id) if more else None,
    )
