"""A thread beside the API that sorts cases into queues and lets promises be seen to pass."""

from __future__ import annotations

import logging

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import late, placing, queue_rules, traces
from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.repeating import Repeating
from fraudwatch.clock import Clock
from fraudwatch.telemetry import DUE_SOON, LATE_HOLDS

log = logging.getLogger(__name__)

BATCH = 500


class CaseKeeper:
    """Every few seconds: puts cases into their queues, warns of what is due soon, and escalates
    holds that nobody has looked at in time.

    Each API process has one; they skip what another one has in hand.
    """

    def __init__(
        self, sessions: sessionmaker[Session], clock: Clock, *, seconds: float = 10.0
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._thread = Repeating(
            "case-keeper",
            self.tick,
            seconds,
            waits="cases are not placed nor late holds escalated for now",
            ends="cases are no longer placed, nor late holds escalated",
            away=(PoolTimeout,),
        )
        self.start, self.stop = self._thread.start, self._thread.stop

    def tick(self) -> int:
        """Place what is new, warn, escalate what is late; how many. Raises `Unavailable`."""
        self._place()
        self._warn()
        self._trace()
        count = 0
        while True:
            with connect_errors(), self._sessions.begin() as session:
                found = late.escalate_late(session, self._clock.now(), limit=BATCH)
            count += len(found)
            if found:
                LATE_HOLDS.inc(len(found))
                log.error("promised times passed unseen", extra={"data": {"cases": sorted(found)}})
            if len(found) < BATCH:
                return count

    def _place(self) -> None:
        while True:
            with connect_errors(), self._sessions.begin() as session:
                rules = queue_rules.rules(session)
                found = placing.place(session, rules, self._clock.now(), limit=BATCH)
            if found < BATCH:
                return

    def _warn(self) -> None:
        while True:
            with connect_errors(), self._sessions.begin() as session:
                found = late.warn_soon(session, self._clock.now(), limit=BATCH)
            DUE_SOON.inc(len(found))
            if len(found) < BATCH:
                return

    def _trace(self) -> None:
        while True:
            with connect_errors(), self._sessions.begin() as session:
                found = traces.gather(session, self._clock.now(), limit=BATCH)
            if found < BATCH:
                return
