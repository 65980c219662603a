"""Messages that leave after the commit of what they tell of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import groupby

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework.models import OutboxRow
from fraudwatch.telemetry import OUTBOX_BACKLOG
from streams.dead_letters import MESSAGE_ID
from streams.source import Message, Publisher

# Any fixed number: one drainer at a time, so that messages of a key leave in order.
_DRAIN_LOCK = 7_264_913

COUNTED = 10_000
"""Rows that wait beyond this number are not counted: the metric stays there."""


def write(
    session: Session,
    *,
    topic: str,
    key: str | None,
    message_id: str,
    payload: Mapping[str, object],
    now: datetime,
) -> None:
    """Add a message to the running transaction; it leaves if and only if that commits."""
    session.add(
        OutboxRow(
            topic=topic,
            key=key,
            message_id=message_id,
            payload=msgspec.json.encode(payload),
            created_at=now,
        )
    )


def drain(sessions: sessionmaker[Session], publisher: Publisher, *, limit: int = 500) -> int:
    """Publish up to `limit` waiting messages, oldest first; returns how many.

    Rows are marked after the publisher returned, so a crash in between repeats messages and
    never loses one. Rows of transactions that are still open are skipped, not waited for. Returns
    0 while another process drains. Raises `Unavailable` when the publisher does.
    """
    with sessions.begin() as session:
        if not session.scalar(select(func.pg_try_advisory_xact_lock(_DRAIN_LOCK))):
            return 0
        rows = session.scalars(
            select(OutboxRow)
            .where(OutboxRow.published_at.is_(None))
            .order_by(OutboxRow.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        for (topic, partition), group in groupby(rows, key=lambda row: (row.topic, row.partition)):
            messages = [_message(row) for row in group]
            if partition is None:
                publisher.send(topic, messages)
            else:
                publisher.publish(topic, partition, messages)
        if rows:
            session.execute(
                update(OutboxRow)
                .where(OutboxRow.id.in_([row.id for row in rows]))
                .values(published_at=func.now())
            )
        # Counted to a limit: after a flood each look would else read through all of it.
        some = select(OutboxRow.id).where(OutboxRow.published_at.is_(None)).limit(COUNTED)
        waiting = session.scalar(select(func.count()).select_from(some.subquery()))
    OUTBOX_BACKLOG.set(waiting or 0)
    return len(rows)


def _message(row: OutboxRow) -> Message:
    return Message(
        key=None if row.key is None else row.key.encode(),
        value=row.payload,
        headers=((MESSAGE_ID, row.message_id.encode()),),
    )
