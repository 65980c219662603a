"""Pages of who did what."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import queue
from fraudwatch.casework.models import AuditRow
from fraudwatch.casework.schemas import AuditOut, Page


def dead_letter_page(
    session: Session, *, cursor: str | None = None, limit: int = 50
) -> Page[DeadLetterOut]:
    """Messages that could not be used, newest first, without their content."""
    keys = (DeadLetter.created_at, DeadLetter.topic, DeadLetter.partition, DeadLetter.offset)
    query = select(DeadLetter, func.octet_length(DeadLetter.raw)).options(
        defer(DeadLetter.raw, raiseload=True)
    )
    if cursor is not None:
        partition, _, rest = queue.read_text_cursor(cursor).partition(":")
        offset, _, topic = rest.partition(":")
        if not (partition.isdecimal() and offset.isdecimal()):
            raise Invalid("the cursor is not one of ours: begin without it")
        last = select(*keys).where(
            DeadLetter.topic == topic,
            DeadLetter.partition == int(partition),
            DeadLetter.offset == int(offset),
        )
        query = query.where(tuple_(*keys) < last.scalar_subquery())
    rows = session.execute(query.order_by(*(key.desc() for key in keys)).limit(limit + 1)).all()
    more = len(rows) > limit
    items = [
        DeadLetterOut(
            topic=row.topic,
            partition=row.partition,
            offset=row.offset,
            next_offset=row.next_offset,
            reason=row.reason,
            field=row.field,
            detail=row.detail,
            size=size,
            created_at=row.created_at,
        )
        for row, size in rows[:limit]
    ]
    end = items[-1] if more else None
    return Page[DeadLetterOut](
        items=items,
        next_cursor=queue.make_cursor(f"{end.partition}:{end.offset}:{end.topic}") if end else None,
    )


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
