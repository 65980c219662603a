"""How many dead letters are too many: what a partition's guard knows after a restart, and what a
person has accepted.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit
from fraudwatch.casework.audit import By
from fraudwatch.casework.models import DeadLetter, DeadLetterAccept, StreamGap, StreamOffset
from fraudwatch.errors import Conflict, Invalid, NotFound
from streams.dead_letters import HARMLESS, WINDOW, DeadLetterGuard


def accept(
    session: Session, topic: str, partition: int, until_offset: int, by: By, now: datetime
) -> None:
    """Let no limit count the bad messages below an offset: a person has looked at them.

    A worker minds it from its next start on. Raises `NotFound` for a partition that was never
    read, `Conflict` when this or more has been accepted, `Invalid` for an offset already passed.
    """
    next_offset = session.scalar(
        select(StreamOffset.next_offset).where(
            StreamOffset.topic == topic, StreamOffset.partition == partition
        )
    )
    if next_offset is None:
        raise NotFound(f"{topic} partition {partition} was never read")
    if until_offset <= accepted_until(session, topic, partition):
        raise Conflict("as much has been accepted before")
    if until_offset < next_offset:
        raise Invalid(f"the partition has been read up to offset {next_offset} already")
    session.add(
        DeadLetterAccept(
            topic=topic,
            partition=partition,
            until_offset=until_offset,
            accepted_at=now,
            accepted_by=by.name,
            why=by.why,
        )
    )
    session.flush()
    audit.append(
        session,
        at=now,
        actor=by.actor,
        action="dead-letters.accept",
        subject=f"partition:{topic}:{partition}",
        data={"by": by.name, "why": by.why, "from": next_offset, "until": until_offset},
    )


def accepted_until(session: Session, topic: str, partition: int) -> int:
    """The offset below which a person has accepted bad messages; 0 where nobody has."""
    return (
        session.scalar(
            select(func.max(DeadLetterAccept.until_offset)).where(
                DeadLetterAccept.topic == topic, DeadLetterAccept.partition == partition
            )
        )
        or 0
    )


def guard(
    session: Session, topic: str, partition: int, end: int, *, share: float, consecutive: int
) -> DeadLetterGuard:
    """The guard of a partition as it stood before offset `end`.

    A worker that is restarted again and again must not drain a topic a little each time.
    """
    accepted = accepted_until(session, topic, partition)
    return DeadLetterGuard(
        topic,
        partition,
        share=share,
        consecutive=consecutive,
        recent=_recent(session, topic, partition, end, accepted, max(WINDOW, consecutive)),
        accepted=accepted,
    )


def _recent(
    session: Session, topic: str, partition: int, end: int, accepted: int, most: int
) -> list[bool]:
    """Of up to `most` messages before `end`, oldest first, whether each was bad.

    What is neither a dead letter nor a gap was a good message, so no ledger row is read.
    """
    first = session.scalar(
        select(StreamOffset.first_offset).where(
            StreamOffset.topic == topic, StreamOffset.partition == partition
        )
    )
    bad = session.execute(
        select(DeadLetter.offset, DeadLetter.next_offset)
        .where(
            DeadLetter.topic == topic,
            DeadLetter.partition == partition,
            DeadLetter.offset < end,
            DeadLetter.reason.not_in(HARMLESS),
        )
        .order_by(DeadLetter.offset.desc())
        .limit(most)
    )
    gaps = session.execute(
        select(StreamGap.first_offset, StreamGap.next_offset)
        .where(
            StreamGap.topic == topic, StreamGap.partition == partition, StreamGap.first_offset < end
        )
        .order_by(StreamGap.first_offset.desc())
        .limit(2 * most)
    )
    spans = [(a, b, b > accepted) for a, b in bad] + [(a, b, None) for a, b in gaps]
    newest_first: list[bool] = []
    at = end
    for begin, following, is_bad in sorted(spans, reverse=True):
        newest_first += [False] * min(at - following, most)
        if is_bad is not None:
            newest_first.append(is_bad)
        at = begin
        if len(newest_first) >= most:
            break
    newest_first += [False] * max(0, min(at - (first or 0), most - len(newest_first)))
    return newest_first[:most][::-1]
