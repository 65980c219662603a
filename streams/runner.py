"""The loop of a worker: reads a source, drives a handler, and outlives what is away for a while.

What happens to each error:

- `Unavailable` from the handler: the source is paused but polled on, so that the group does not
  expel this member; the same batches are tried again with growing waits.
- `Unavailable` from the source: polled again.
- `Fenced`: another worker owns the partitions. Their memory and batches are dropped and their
  offsets read again.
- `DeadLetterLimit`: an alarm in the log; the source is closed and the error ends the worker.
- Any other error ends the worker: memory may be ahead of the database, a restart reads it again.

What hangs is ended by `streams.watchdog`, which gets a sign of life at every step forward.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from fraudwatch.errors import DeadLetterLimit, Fenced, Unavailable
from fraudwatch.telemetry import FENCED, LAG, POLL_TIME, REBALANCES, UNAVAILABLE
from streams.source import Handler, RecordBatch, Source
from streams.watchdog import Pulse

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0
MEMBERSHIP_SECONDS = 0.5
"""Longest time between two polls while waiting."""
REPORT_SECONDS = 1.0


class Runner:
    """Runs until `stop` is set: the batch in hand is finished, then the source is closed.

    `wait(seconds)` sleeps, but returns at once when the worker is to stop (as `stop.wait` does);
    `monotonic` tells seconds; `randomness` spreads the waits of several workers. `pulse` gets a
    sign of life at every step forward.
    """

    def __init__(
        self,
        source: Source,
        handler: Handler,
        *,
        stop: threading.Event,
        wait: Callable[[float], object] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        randomness: random.Random | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self.pulse = pulse or Pulse(source.topic, monotonic)
        self._source = source
        self._handler = handler
        self._stop = stop
        self._wait = wait or stop.wait
        self._monotonic = monotonic
        self._randomness = randomness or random.Random()  # noqa: S311 - spreads waits, no secret
        self._to_assign: set[int] = set()
        self._batches: list[RecordBatch] = []
        self._next: dict[int, int] = {}
        self._next_report = -float("inf")
        self._poll_seconds = POLL_TIME.labels(source.topic)

    def run(self) -> None:
        """Returns when stopped; raises what ends the worker."""
        self.pulse.beat()
        try:
            while not self._stop.is_set():
                self._step()
            self._insist(self._handler.idle)
            self._source.committed(self._next)
        except DeadLetterLimit as error:
            logger.error(
                "ALARM: too many messages cannot be used; the worker stops until a person has "
                "looked at the dead letters",
                extra={"data": {"topic": self._source.topic, "limit": str(error)}},
            )
            raise
        finally:
            for partition in self._next:
                self._forget_lag(partition)
            self._source.close()
            self.pulse.end()

    def _step(self) -> None:
        self._take_changes()
        self._insist(self._assign)
        self._batches = self._poll(POLL_SECONDS)
        self._insist(self._process)
        self._insist(self._handler.idle)
        self._report()

    def _poll(self, timeout: float) -> list[RecordBatch]:
        try:
            with self._poll_seconds.time():
                return self._source.poll(timeout)
        except Unavailable as error:
            self._away("stream", error)
            self._wait(FIRST_WAIT)
            return []

    def _take_changes(self) -> None:
        changes = self._source.changes()
        if changes.assigned or changes.revoked:
            REBALANCES.labels(self._source.topic).inc()
        if changes.revoked:
            self._drop(changes.revoked)
            self._to_assign -= changes.revoked
        self._to_assign |= changes.assigned

    def _drop(self, partitions: frozenset[int]) -> None:
        """Forget everything about these partitions, batches that wait for a retry as well."""
        self._handler.revoke(partitions)
        self._batches = [batch for batch in self._batches if batch.partition not in partitions]
        for partition in partitions:
            if self._next.pop(partition, None) is not None:
                self._forget_lag(partition)

    def _assign(self) -> None:
        if not self._to_assign:
            return
        with self.pulse.loading():
            offsets = self._handler.assign(frozenset(self._to_assign))
        self._source.start(offsets)
        self._next.update(offsets)
        self._to_assign.clear()
        logger.info(
            "partitions assigned",
            extra={"data": {"topic": self._source.topic, "offsets": str(offsets)}},
        )

    def _process(self) -> None:
        if not self._batches:
            return
        self._handler.process(self._batches)
        self._next.update({batch.partition: batch.next_offset for batch in self._batches})
        self._batches = []
        self.pulse.beat()

    def _insist(self, action: Callable[[], None]) -> None:
        """Do it until it is done, or until the worker is to stop."""
        attempt = 0
        while True:
            try:
                action()
                break
            except Unavailable as error:
                self._away("handler", error)
                self._source.pause()
                self._hold(attempt)
                attempt += 1
                if self._stop.is_set():
                    logger.warning("stopped while a part was away; nothing is lost")
                    break
            except Fenced as fenced:
                FENCED.inc()
                logger.warning(
                    "another worker owns partitions",
                    extra={"data": {"partitions": sorted(fenced.partitions)}},
                )
                self._drop(fenced.partitions)
                self._to_assign |= fenced.partitions
        if attempt:
            self._source.resume()
            self.pulse.beat()

    def _hold(self, attempt: int) -> None:
        """Wait, longer at each attempt, as a living member of the group."""
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)
        deadline = self._monotonic() + longest * self._randomness.uniform(0.5, 1)
        while True:
            left = deadline - self._monotonic()
            self._wait(max(0.0, min(left, MEMBERSHIP_SECONDS)))
            # The stream may be away as well: this wait is for the handler's part.
            with suppress(Unavailable):
                self._source.poll(0)
            self._take_changes()
            if self._stop.is_set() or self._monotonic() >= deadline:
                return

    def _away(self, part: str, error: Unavailable) -> None:
        UNAVAILABLE.labels(part=part).inc()
        self.pulse.beat(away=part)
        logger.warning("waiting for a part that is away: %s", error, extra={"data": {"part": part}})

    def _report(self) -> None:
        """Once a second: lag for our metrics, offsets for the carrier's lag tools."""
        if self._monotonic() < self._next_report:
            return
        self._next_report = self._monotonic() + REPORT_SECONDS
        try:
            ends = self._source.ends()
        except Unavailable as error:
            self._away("stream", error)
            return
        behind = 0
        for partition, offset in self._next.items():
            if partition in ends:
                lag = max(0, ends[partition] - offset)
                LAG.labels(topic=self._source.topic, partition=partition).set(lag)
                behind += lag
        if not behind:
            self.pulse.beat()
        self._source.committed(self._next)

    def _forget_lag(self, partition: int) -> None:
        LAG.remove(self._source.topic, partition)
