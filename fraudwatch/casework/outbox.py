"""Messages that leave after the commit of what they tell of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import groupby
from time import perf_counter
from typing import Any

import msgspec
from sqlalchemy import Row, func, select, text
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework.models import OutboxRow
from fraudwatch.telemetry import OUTBOX_BACKLOG
from streams.dead_letters import MESSAGE_ID
from streams.source import Message, Publisher

# Written out: a worker looks ten times a second, and composed it costs several times as much.
# The lock's number is any fixed one: one drainer at a time, so that messages of a key leave in
# order.
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(7264913)")
_WAITING = text(
    "SELECT id, topic, partition, key, message_id, payload FROM outbox WHERE published_at IS NULL"
    " ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED"
)
_SOME_WAITS = text("SELECT EXISTS (SELECT FROM outbox WHERE published_at IS NULL)")
_MARK = text("UPDATE outbox SET published_at = now() WHERE id = ANY(:ids)")

CHUNK = 500
"""Messages that one transaction marks: an envelope may have 90,000 bytes."""
RELAY_SECONDS = 1.0
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


def waits(session: Session) -> bool:
    """Whether a message waits; a look that costs next to nothing."""
    found = bool(session.scalar(_SOME_WAITS))
    if not found:
        OUTBOX_BACKLOG.set(0)
    return found


def relay(
    sessions: sessionmaker[Session],
    publisher: Publisher,
    *,
    seconds: float = RELAY_SECONDS,
    monotonic: Callable[[], float] = perf_counter,
) -> bool:
    """Drain until nothing waits or so much time is over; whether messages wait still.

    Bound by time and not by rows: a flood of dead letters comes as fast as batches do, and what
    left at a fixed number a batch would fall behind for as long as it lasts. Raises like `drain`.
    """
    until = monotonic() + seconds
    while drain(sessions, publisher) == CHUNK:
        if monotonic() >= until:
            with sessions() as session:
                # Counted to a limit: after a flood each look would else read through all of it.
                some = select(OutboxRow.id).where(OutboxRow.published_at.is_(None)).limit(COUNTED)
                waiting = session.scalar(select(func.count()).select_from(some.subquery()))
            OUTBOX_BACKLOG.set(waiting or 0)
            return True
    return False


def drain(sessions: sessionmaker[Session], publisher: Publisher, *, limit: int = CHUNK) -> int:
    """Publish up to `limit` waiting messages, oldest first; returns how many.

    Rows are marked after the publisher returned, so a crash in between repeats messages and
    never loses one. Rows of transactions that are still open are skipped, not waited for. Returns
    0 while another process drains. Raises `Unavailable` when the publisher does.
    """
    with sessions.begin() as session:
        if not session.scalar(_TRY_LOCK):
            return 0
        rows = session.execute(_WAITING, {"limit": limit}).all()
        for (topic, partition), group in groupby(rows, key=lambda row: (row.topic, row.partition)):
            messages = [_message(row) for row in group]
            if partition is None:
                publisher.send(topic, messages)
            else:
                publisher.publish(topic, partition, messages)
        if rows:
            session.execute(_MARK, {"ids": [row.id for row in rows]})
    if len(rows) < limit:
        OUTBOX_BACKLOG.set(0)
    return len(rows)


def _message(row: Row[Any]) -> Message:
    return Message(
        key=None if row.key is None else row.key.encode(),
        value=row.payload,
        headers=((MESSAGE_ID, row.message_id.encode()),),
    )
