"""Ends a worker that hangs, so that whatever supervises it starts it again.

Each runner gives signs of life to its `Pulse`: when it has taken messages in, when there are none
to take, when it knows that a part is away and waits for it. A hanging call gives none, whether it
is in the client of Kafka, in the database driver or in our own code; nor does a client that
delivers nothing although there is something to read. After `limit` seconds without a sign the
watchdog logs an alarm, writes down what every thread is doing, and ends the process.

It is a thread of its own, since the runner's thread is the one that hangs. It needs Python's lock
to run, which a call into C may hold: then a timer without that lock, which this thread keeps
winding up, does the same after `LAST_RESORT` times the limit (exit code 1).
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from fraudwatch.telemetry import SIGN_OF_LIFE_AGE

logger = logging.getLogger(__name__)

EXIT_CODE = 3
STDERR = 2
CHECK_SECONDS = 1.0
LAST_RESORT = 4
LOADING_SECONDS = 600.0
"""State of a partition may take this long to load. Much longer is of no use: a member that has
not polled for five minutes loses its partitions."""
FAREWELL_SECONDS = 5.0


class Pulse:
    """Signs of life of one runner. Written by its thread, read by others."""

    def __init__(self, name: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.away = ""
        self._monotonic = monotonic
        self._seen = monotonic()
        self._allowance = 0.0
        self._ended = False

    def beat(self, away: str = "") -> None:
        """Alive, and not waiting; or waiting for the part that is `away`."""
        self._seen = self._monotonic()
        self.away = away

    @contextmanager
    def loading(self) -> Iterator[None]:
        """What happens in the block may take longer than usual; also within such a block."""
        self.beat()
        before, self._allowance = self._allowance, LOADING_SECONDS
        try:
            yield
        finally:
            self.beat(self.away)
            self._allowance = before

    def end(self) -> None:
        """The runner has ended; its silence means nothing."""
        self._ended = True

    def age(self) -> float:
        """Seconds of silence, beyond what is allowed at the moment."""
        if self._ended:
            return 0.0
        return max(0.0, self._monotonic() - self._seen - self._allowance)


def end_process(reason: str) -> None:
    """Log the reason and where each thread is; end at once, without any clean-up that may hang."""
    # Should logging hang too (another thread may hold its lock), this does without.
    faulthandler.dump_traceback_later(FAREWELL_SECONDS, exit=True, file=STDERR)
    logger.critical("ALARM: %s; the worker ends, to be started again", reason)
    faulthandler.dump_traceback(STDERR, all_threads=True)
    os._exit(EXIT_CODE)


class Watchdog:
    """Watches pulses on a thread of its own between `start` and `stop`.

    `limit` in seconds; 0 watches nothing. `bite` is called with the reason, once.
    """

    def __init__(
        self,
        pulses: Sequence[Pulse],
        limit: float,
        *,
        bite: Callable[[str], None] = end_process,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pulses = pulses
        self._limit = limit
        self._bite = bite
        self._monotonic = monotonic
        self._stop = threading.Event()
        self._awake = monotonic()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        if self._limit:
            self._awake = self._monotonic()
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def healthy(self) -> bool:
        """Whether every runner gave a sign of life in time."""
        return not self._limit or all(pulse.age() <= self._limit for pulse in self._pulses)

    def away(self) -> list[str]:
        """The parts that runners wait for."""
        return sorted({pulse.away for pulse in self._pulses if pulse.away})

    def check(self) -> str:
        """Why the process should end; empty if it should not."""
        now = self._monotonic()
        slept, self._awake = now - self._awake, now
        for pulse in self._pulses:
            SIGN_OF_LIFE_AGE.labels(pulse.name).set(pulse.age())
        if slept > CHECK_SECONDS + self._limit / 2:
            # The whole process was frozen, or the machine: nobody had a chance to show life.
            for pulse in self._pulses:
                pulse.beat(pulse.away)
            return ""
        late = [pulse.name for pulse in self._pulses if pulse.age() > self._limit]
        if not late:
            return ""
        return f"no sign of life from {', '.join(late)} for {self._limit:g} s"

    def _watch(self) -> None:
        last_resort = LAST_RESORT * max(self._limit, CHECK_SECONDS)
        stopped = False
        while not stopped:
            faulthandler.dump_traceback_later(last_resort, exit=True, file=STDERR)
            stopped = self._stop.wait(CHECK_SECONDS)
            if not stopped and (reason := self.check()):
                self._bite(reason)
                break
        faulthandler.cancel_dump_traceback_later()
