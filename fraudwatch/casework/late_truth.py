"""Late truth that comes by REST or in a file: what is new is kept, what is known is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, text, tuple_
from sqlalchemy.orm import Session

from fraudwatch.casework import contradictions
from fraudwatch.casework.models import LabelRow
from fraudwatch.domain.label import Label

# Any fixed number: two senders of the same labels come one after the other.
_LOCK = text("SELECT pg_advisory_xact_lock(7264914)")


@dataclass(frozen=True, slots=True)
class TakenIn:
    """How many labels were new, how many were known, and the cases that new ones contradict."""

    new: int
    known: int
    raised: tuple[int, ...]


def take_in(session: Session, labels: Sequence[Label], *, by: int | None, now: datetime) -> TakenIn:
    """Append the labels that are not there yet.

    The same label is one with the same transaction, source, verdict and time: sent again, also
    after it came by the topic, it changes nothing. Locks out other calls until the commit.
    """
    session.execute(_LOCK)
    sought = {(label.transaction_id, label.source.value) for label in labels}
    query = select(*_KEY).where(tuple_(LabelRow.transaction_id, LabelRow.source).in_(sought))
    there = {tuple(row) for row in session.execute(query)}
    fresh = [label for label in dict.fromkeys(labels) if _key(label) not in there]
    if fresh:
        session.execute(insert(LabelRow), [_row(label, by, now) for label in fresh])
    raised = contradictions.raise_for(session, fresh, now)
    return TakenIn(len(fresh), len(labels) - len(fresh), tuple(raised))


_KEY = (LabelRow.transaction_id, LabelRow.source, LabelRow.fraud, LabelRow.known_at)


def _key(label: Label) -> tuple[str, str, bool, datetime]:
    return label.transaction_id, label.source.value, label.fraud, label.known_at


def _row(label: Label, by: int | None, now: datetime) -> dict[str, object]:
    return {
        "transaction_id": label.transaction_id,
        "fraud": label.fraud,
        "source": label.source.value,
        "precedence": label.precedence,
        "known_at": label.known_at,
        "created_by": by,
        "created_at": now,
    }
