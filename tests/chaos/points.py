"""Named points on a worker's way, and what a worker does to itself when it comes to one.

A point is named by what the worker is about and the step it is before or after, for example
``process before update stream_offsets`` or ``idle after publish decisions``. Nothing of this is in
the program: SQL is seen at the driver, polling and publishing by wrapping what is handed in.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from streams.source import Assignment, Message, Publisher, RecordBatch, Source

ACTS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP, "term": signal.SIGTERM}
SEVERED = {"cut": socket.SHUT_RDWR, "deafen": socket.SHUT_RD}
"""Acts on the connection that is at the point. A deaf worker's next words are heard, and it does
not hear the answer: after `before commit` it cannot know whether its batch has happened."""
_STEP = re.compile(
    r"\s*(?:(INSERT INTO|UPDATE|DELETE FROM|COPY)\s+\"?(\w+)|(SELECT)\b.*?\bFROM\s+\"?(\w+))",
    re.IGNORECASE | re.DOTALL,
)
_DAY = re.compile(r"^ledger_\d{8}_\d+$")


class Points:
    """Knows what each thread is about, and carries out orders.

    `folder/orders` holds a file per order: ``{"point": …, "nth": …, "act": …}``. The first worker
    that comes to the point for the nth time since it started takes the order, by moving the file
    to `folder/taken`. `folder/census` gets every point that ever arose.
    """

    def __init__(self, folder: Path) -> None:
        self._orders = folder / "orders"
        self._taken = folder / "taken"
        self._census = folder / "census"
        self._counts: Counter[str] = Counter()
        self._about = threading.local()

    @contextmanager
    def about(self, what: str) -> Iterator[None]:
        """Within, points of this thread arise under this name."""
        outer = getattr(self._about, "what", None)
        self._about.what = what
        try:
            yield
        finally:
            self._about.what = outer

    def reached(self, step: str, connection: psycopg.Connection[Any] | None = None) -> None:
        """This thread is at a step, with this connection. It may not come back from here."""
        what = getattr(self._about, "what", None)
        if what is None:
            return
        point = f"{what} {step}"
        self._counts[point] += 1
        if self._counts[point] == 1:
            with self._census.open("a") as census:
                census.write(point + "\n")
        for path in self._orders.iterdir():
            self._obey(path, point, connection)

    def _obey(self, path: Path, point: str, connection: psycopg.Connection[Any] | None) -> None:
        try:
            order = json.loads(path.read_bytes())
            if order["point"] != point or self._counts[point] < order["nth"]:
                return
            path.rename(self._taken / f"{path.name}.{os.getpid()}")
        except FileNotFoundError:
            return  # taken by another worker, or withdrawn
        if order["act"] in ACTS:
            os.kill(os.getpid(), ACTS[order["act"]])
        elif connection is not None:
            with socket.socket(fileno=os.dup(connection.fileno())) as end:
                end.shutdown(SEVERED[order["act"]])


def has_connection(point: str) -> bool:
    """Whether a worker at this point is about to speak to the database, or has just done so."""
    return " publish " not in point and not point.endswith("after poll")


def step_of(query: object) -> str | None:
    """`update stream_offsets` of a statement; None for what names no table."""
    found = _STEP.match(query if isinstance(query, str) else "")
    if found is None:
        return None
    verb, table, select, source = found.groups()
    # A table of a day of the ledger is the ledger: points have the same names every day.
    named = _DAY.sub("ledger", table or source)
    return f"{(verb or select).split()[0].lower()} {named}"


def watch_driver(points: Points) -> None:
    """Every statement and commit of this process becomes a point, before and after."""

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(cursor: Any, query: object, *args: object, **options: object) -> Any:
            step = step_of(query)
            if step is None:
                return original(cursor, query, *args, **options)
            points.reached(f"before {step}", cursor.connection)
            result = original(cursor, query, *args, **options)
            points.reached(f"after {step}", cursor.connection)
            return result

        return call

    copy = psycopg.Cursor.copy

    @contextmanager
    def copied(cursor: Any, statement: Any, *args: Any, **options: Any) -> Iterator[Any]:
        step = step_of(statement)
        points.reached(f"before {step}", cursor.connection)
        with copy(cursor, statement, *args, **options) as writer:
            yield writer
            points.reached(f"within {step}", cursor.connection)
        points.reached(f"after {step}", cursor.connection)

    commit = psycopg.Connection.commit

    def committed(connection: Any) -> None:
        points.reached("before commit", connection)
        commit(connection)
        points.reached("after commit", connection)

    for name in ("execute", "executemany"):
        setattr(psycopg.Cursor, name, around(getattr(psycopg.Cursor, name)))
    setattr(psycopg.Cursor, "copy", copied)  # noqa: B010 - a method is replaced, for mypy's peace
    setattr(psycopg.Connection, "commit", committed)  # noqa: B010


class PointedSource:
    """A source whose polls are points.

    `serial` gives one partition's batch at a time: the reference run.
    """

    def __init__(self, source: Source, points: Points, about: str, *, serial: bool) -> None:
        self._source = source
        self._points = points
        self._about = about
        self._serial = serial
        self._waiting: list[RecordBatch] = []

    @property
    def topic(self) -> str:
        return self._source.topic

    def changes(self) -> Assignment:
        return self._source.changes()

    def start(self, offsets: Mapping[int, int]) -> None:
        self._waiting = [b for b in self._waiting if b.partition not in offsets]
        self._source.start(offsets)

    def poll(self, timeout: float) -> list[RecordBatch]:
        batches = self._waiting or self._source.poll(timeout)
        if batches:
            with self._points.about(self._about):
                self._points.reached("after poll")
        if not self._serial:
            return batches
        first, self._waiting = batches[:1], batches[1:]
        return first

    def pause(self) -> None:
        self._source.pause()

    def resume(self) -> None:
        self._source.resume()

    def ends(self) -> dict[int, int]:
        return self._source.ends()

    def committed(self, offsets: Mapping[int, int]) -> None:
        self._source.committed(offsets)

    def close(self) -> None:
        self._source.close()


class PointedPublisher:
    """A publisher whose calls are points; `roles` names topics for them."""

    def __init__(self, publisher: Publisher, points: Points, roles: Mapping[str, str]) -> None:
        self._publisher = publisher
        self._points = points
        self._roles = roles

    @contextmanager
    def _around(self, topic: str) -> Iterator[None]:
        role = self._roles.get(topic, topic)
        self._points.reached(f"before publish {role}")
        yield
        self._points.reached(f"after publish {role}")

    def publish_all(self, topic: str, messages: Mapping[int, Sequence[Message]]) -> None:
        with self._around(topic):
            self._publisher.publish_all(topic, messages)

    def publish(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        with self._around(topic):
            self._publisher.publish(topic, partition, messages)

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        with self._around(topic):
            self._publisher.send(topic, messages)

    def close(self) -> None:
        self._publisher.close()
