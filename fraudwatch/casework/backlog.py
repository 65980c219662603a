"""How far the workers are behind: what protects the stream from those who ask."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import offsets
from fraudwatch.casework.db import connect_errors
from fraudwatch.errors import FraudwatchError
from fraudwatch.settings import Settings
from streams.ends import open_ends

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
WANTED_SECONDS = 10.0
"""Looked at while somebody has asked within this time."""


class Backlog:
    """Looks once a second, in a thread of its own, which starts with the first question."""

    def __init__(
        self, settings: Settings, sessions: sessionmaker[Session], monotonic: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._monotonic = monotonic
        self._wanted = -float("inf")
        self._largest = 0
        self._stop = threading.Event()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def largest(self) -> int:
        """Most messages that wait in one partition, as of about a second ago.

        0 until it is known, and while it cannot be: then publishing fails by itself.
        """
        self._wanted = self._monotonic()
        with self._start:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="backlog", daemon=True)
                self._thread.start()
        return self._largest

    def close(self) -> None:
        """End the thread."""
        with self._start:
            self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except FraudwatchError as error:
                self._largest = 0
                log.warning("the backlog cannot be seen: %s", error)
            except Exception:
                self._largest = 0
                log.exception("looking at the backlog failed")
            self._stop.wait(LOOK_SECONDS)

    def _watch(self) -> None:
        """Until the process stops, or partitions were added."""
        partitions = len(self._stands())
        with open_ends(self._settings, partitions) as ends:
            while not self._stop.is_set():
                if self._monotonic() - self._wanted < WANTED_SECONDS:
                    reached, stands = ends(), self._stands()
                    if len(stands) != partitions:
                        return
                    lags = (end - stands.get(number, end) for number, end in reached.items())
                    self._largest = max(lags, default=0)
                self._stop.wait(LOOK_SECONDS)

    def _stands(self) -> dict[int, int]:
        with connect_errors(), self._sessions() as session:
            return offsets.stands(session, self._settings.topic_transactions)
