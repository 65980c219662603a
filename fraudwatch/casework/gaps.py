"""Offsets that gave no message: those that expired unread stay visible until a person has said that
they know.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit
from fraudwatch.casework.audit import By
from fraudwatch.casework.models import StreamGap
from fraudwatch.errors import Conflict, NotFound


def expired(session: Session) -> Sequence[StreamGap]:
    """All gaps of messages that expired before they were read, acknowledged or not."""
    return session.scalars(
        select(StreamGap)
        .where(StreamGap.reason == "expired")
        .order_by(StreamGap.topic, StreamGap.partition, StreamGap.first_offset)
    ).all()


def acknowledge(
    session: Session, topic: str, partition: int, first_offset: int, by: By, now: datetime
) -> StreamGap:
    """A person knows of the loss: `verify` is content with this gap, and goes on showing it.

    Raises `NotFound` where no such gap expired, `Conflict` when it was acknowledged before.
    """
    gap = session.get(StreamGap, (topic, partition, first_offset), with_for_update=True)
    if gap is None or gap.reason != "expired":
        raise NotFound(f"no messages of {topic} {partition} expired from offset {first_offset} on")
    if gap.acknowledged_at is not None:
        raise Conflict(f"{gap.acknowledged_by} has acknowledged it already")
    gap.acknowledged_at, gap.acknowledged_by, gap.why = now, by.name, by.why
    session.flush()
    audit.append(
        session,
        at=now,
        actor=by.actor,
        action="gap.acknowledge",
        subject=f"partition:{topic}:{partition}",
        data={
            "by": by.name,
            "why": by.why,
            "from": gap.first_offset,
            "until": gap.next_offset,
        },
    )
    return gap
