"""What every reader of a stream writes in one transaction besides what it read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from fraudwatch.casework import deciders
from fraudwatch.casework.deciders import Switch
from fraudwatch.casework.offsets import (
    Advance,
    Gap,
    advance,
    record_dead_letters,
    record_gaps,
)
from fraudwatch.telemetry import DEAD_LETTERS
from streams.dead_letters import Rejected

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The moves of a topic's partitions, the offsets that gave no row, what decides from here."""

    topic: str
    moves: Sequence[Advance]
    rejected: Sequence[Rejected]
    gaps: Sequence[Gap]
    switches: Sequence[Switch] = ()

    def write(self, session: Session, *, dead_letter_topic: str, now: datetime) -> None:
        """Advance first: a fenced worker finds out before it writes anything."""
        advance(session, self.topic, self.moves, now)
        record_gaps(session, self.topic, self.gaps)
        deciders.record(session, self.switches)
        record_dead_letters(
            session, self.topic, self.rejected, dead_letter_topic=dead_letter_topic, now=now
        )

    def tell(self) -> None:
        """Count dead letters and tell of lost messages, once the transaction is committed."""
        for rejected in self.rejected:
            DEAD_LETTERS.labels(self.topic, rejected.reason).inc()
        for gap in self.gaps:
            if gap.reason == "expired":
                log.error(
                    "messages expired before they were read",
                    extra={"data": {"partition": gap.partition, "from": gap.first_offset}},
                )
