"""A thread beside a program that does one thing again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Thread

from fraudwatch.errors import Unavailable

log = logging.getLogger(__name__)


class Repeating:
    """Does its work every `seconds`, from `start` until `stop`.

    While a part is away (`Unavailable`, or one of `away`) it says what `waits` and tries again. Any
    other error ends the thread, told as `ends`: the program goes on, but that must be seen.
    `at_once`: before the first wait, too; `at_end`: once more after `stop` was called.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        seconds: float,
        *,
        waits: str,
        ends: str,
        away: tuple[type[Exception], ...] = (),
        at_once: bool = False,
        at_end: bool = False,
    ) -> None:
        self._work = work
        self._seconds = seconds
        self._waits = waits
        self._ends = ends
        self._away: tuple[type[Exception], ...] = (Unavailable, *away)
        self._at_once = at_once
        self._at_end = at_end
        self._stop = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; call once."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is being done; returns when the thread has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        ending = self._stop.wait(0 if self._at_once else self._seconds)
        while not ending:
            self._once()
            ending = self._stop.wait(self._seconds)
        if self._at_end:
            self._once()

    def _once(self) -> None:
        try:
            self._work()
        except self._away:
            log.warning("%s: the database is away", self._waits)
        except Exception:
            log.exception("%s", self._ends)
            raise
