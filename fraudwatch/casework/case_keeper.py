"""A thread beside the API that lets promises to customers be seen to pass."""

from __future__ import annotations

import logging
from threading import Event, Thread

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import late
from fraudwatch.casework.db import connect_errors
from fraudwatch.clock import Clock
from fraudwatch.errors import Unavailable
from fraudwatch.telemetry import LATE_HOLDS

log = logging.getLogger(__name__)

BATCH = 500


class CaseKeeper:
    """Escalates, every few seconds, holds that nobody has looked at in time.

    Each API process has one; they skip what another one has in hand.
    """

    def __init__(
        self, sessions: sessionmaker[Session], clock: Clock, *, seconds: float = 10.0
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._seconds = seconds
        self._stop = Event()
        self._thread = Thread(target=self._run, name="case-keeper", daemon=True)

    def start(self) -> None:
        """Begin; call once."""
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def tick(self) -> int:
        """Escalate what is late; how many. Raises `Unavailable`."""
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

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self.tick()
            except (Unavailable, PoolTimeout):
                log.warning("late holds are not escalated for now: the database is away")
            except Exception:
                # Requests go on; that promises are no longer watched must be seen.
                log.exception("late holds are no longer escalated")
                raise
