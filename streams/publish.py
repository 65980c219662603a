"""Sending a file's transactions to the stream, keyed by account, as fast as told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from fraudwatch.clock import Clock
from fraudwatch.domain.transaction import encode
from fraudwatch.errors import Invalid, Unavailable
from streams.mapping import Mapping, frame_to_transactions, read_frame
from streams.source import Message, Publisher

FIRST_WAIT = 0.2
LONGEST_WAIT = 5.0


class Stop(Protocol):
    """What ends a publication early: a `threading.Event`."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the wish to stop; whether there is one."""
        ...


@dataclass(frozen=True, slots=True)
class Published:
    """How far it came: rows `first <= row < next_row` of `rows` are durable on the stream.

    Rows count from 0 in canonical order, so `first=next_row` goes on where this ended.
    """

    first: int
    next_row: int
    rows: int

    @property
    def complete(self) -> bool:
        return self.next_row == self.rows


def publish_file(
    path: Path,
    mapping: Mapping,
    publisher: Publisher,
    topic: str,
    *,
    clock: Clock,
    stop: Stop,
    speed: float | None = None,
    batch: int = 5_000,
    first: int = 0,
    patience: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
) -> Published:
    """Publish a file's transactions from row `first` on, each account in its own partition.

    The order is that of the canonical frame: by event time, then id.
    `speed` is a multiple of recorded time: 1 takes as long as the recording did, 60 makes a minute
    of a second, None is flat out. `progress` is called with rows done and rows in all. When the
    carrier is away the batch is tried again for `patience` seconds, then `Unavailable` says how
    many rows are published (the `first` to go on with). A batch that was in doubt is repeated: the
    stream may see rows twice (the worker knows them by their id), but never misses one.
    """
    frame = read_frame(path, mapping)
    rows = len(frame)
    if not 0 <= first <= rows:
        raise Invalid(f"first row {first} is outside of the file's {rows} rows")
    if speed is not None and not speed > 0:
        raise Invalid("speed must be above 0")
    pace = _Pace(frame, first, speed, clock)
    done = first
    while done < rows and not stop.is_set():
        end = min(pace.due(), done + batch)
        if end <= done:
            stop.wait(pace.seconds_until(done))
            continue
        messages = [
            Message(transaction.account_id.encode(), encode(transaction))
            for transaction in frame_to_transactions(frame.iloc[done:end])
        ]
        try:
            durable = _publish(publisher, topic, messages, clock, stop, patience)
        except Unavailable as error:
            raise Unavailable(f"{error}; {done} of {rows} rows are published for sure") from error
        if not durable:
            break
        done = end
        if progress is not None:
            progress(done - first, rows - first)
    return Published(first, done, rows)


class _Pace:
    """Which rows are due, when recorded time runs `speed` times as fast as the clock."""

    def __init__(self, frame: pd.DataFrame, first: int, speed: float | None, clock: Clock) -> None:
        self._speed = speed
        self._clock = clock
        self._begun = clock.now()
        self._rows = len(frame)
        self._micros = frame["event_time"].to_numpy("datetime64[us]").view(np.int64)
        self._origin = int(self._micros[first]) if first < self._rows else 0

    def due(self) -> int:
        """The number of rows, from the first of the file, whose moment has come."""
        if self._speed is None:
            return self._rows
        elapsed = (self._clock.now() - self._begun) / timedelta(microseconds=1)
        moment = self._origin + elapsed * self._speed
        return int(np.searchsorted(self._micros, moment, side="right"))

    def seconds_until(self, row: int) -> float:
        """How long until `row` is due, at most a second at a time."""
        if self._speed is None:
            return 0.0
        due_at = (int(self._micros[row]) - self._origin) / self._speed
        elapsed = (self._clock.now() - self._begun) / timedelta(microseconds=1)
        return min(1.0, max(0.001, (due_at - elapsed) / 1e6))


def _publish(
    publisher: Publisher,
    topic: str,
    messages: list[Message],
    clock: Clock,
    stop: Stop,
    patience: float,
) -> bool:
    """Publish until it is durable; False if told to stop before it was."""
    until: datetime = clock.now() + timedelta(seconds=patience)
    wait = FIRST_WAIT
    while True:
        try:
            publisher.send(topic, messages)
        except Unavailable:
            if clock.now() >= until:
                raise
            if stop.wait(wait):
                return False
            wait = min(2 * wait, LONGEST_WAIT)
        else:
            return True
