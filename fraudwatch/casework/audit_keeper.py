"""A thread beside the API that links looks to their chain and lets the chains' heads leave."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from time import monotonic as monotonic_clock

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import audit_heads, looks
from fraudwatch.casework.audit_heads import Heads
from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.repeating import Repeating
from fraudwatch.clock import Clock
from fraudwatch.errors import ConfigurationError
from fraudwatch.settings import Settings
from fraudwatch.telemetry import AUDIT_HEADS_TOLD

log = logging.getLogger(__name__)


class AuditKeeper:
    """Seals once a second; tells heads every `audit_heads_seconds`, when they have moved.

    Each API process has one. Two tell the same heads twice, which harms nobody.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        settings: Settings,
        clock: Clock,
        *,
        seconds: float = 1.0,
        monotonic: Callable[[], float] = monotonic_clock,
    ) -> None:
        self._sessions = sessions
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._told: Heads | None = None
        self._next = -float("inf")
        self._thread = Repeating(
            "audit-keeper",
            self._work,
            seconds,
            waits="looks wait for their place in the chain",
            ends="looks are no longer linked to their chain",
            away=(PoolTimeout,),
            at_end=True,
        )
        self.start, self.stop = self._thread.start, self._thread.stop

    def tick(self) -> None:
        """Link what waits; let the heads leave when it is time. Raises `Unavailable`."""
        while self._seal():
            pass
        if self._monotonic() >= self._next:
            self._next = self._monotonic() + self._settings.audit_heads_seconds
            self.tell()

    def tell(self) -> None:
        """Let the heads leave, if they have moved since the last time."""
        with connect_errors(), self._sessions.begin() as session:
            looks.mark(session, self._clock.now())
        with connect_errors(), self._sessions.begin() as session:
            heads = audit_heads.current(session, self._clock.now())
            known = self._told
            if known and (known.changes, known.looks) == (heads.changes, heads.looks):
                return
            audit_heads.send(session, self._settings, heads)
        self._told = heads
        AUDIT_HEADS_TOLD.set(heads.at.timestamp())
        if self._settings.audit_heads_file:
            audit_heads.append_to(Path(self._settings.audit_heads_file), heads)

    def _seal(self) -> int:
        with connect_errors(), self._sessions.begin() as session:
            return looks.seal(session)

    def _work(self) -> None:
        try:
            self.tick()
        except ConfigurationError as error:
            log.error("%s", error)
