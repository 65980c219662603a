"""Live views: what happens to cases, as server-sent events.

The database rings (NOTIFY, migration 0013) and each stream then reads the new events itself, by id
and through the rights of its reader. A ring that is missed costs seconds, never an event. Events
are hints to look again: they name the case and what happened, and nothing of persons.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import UTC
from threading import Event, Lock, Thread
from time import monotonic as monotonic_clock
from typing import Any

import msgspec
from fastapi.concurrency import run_in_threadpool
from psycopg import Error as DriverError
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import scope
from fraudwatch.casework.models import Case, CaseEvent
from fraudwatch.domain.access import Actor
from fraudwatch.errors import Busy

log = logging.getLogger(__name__)

CHANNEL = "fraudwatch_events"
MOST_STREAMS = 200
MOST_EVENTS = 500
_ROOM = 1000
"""Ids below the newest that are looked at again: a transaction may commit later than one with a
higher id."""


class Bell:
    """Rings in every waiting stream when the database tells of events. Starts when first needed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._stop = Event()
        self._thread: Thread | None = None

    def listen(self) -> asyncio.Event:
        """An event of this loop that is set at each ring; give it back with `leave`."""
        heard = asyncio.Event()
        with self._lock:
            self._waiting.add((asyncio.get_running_loop(), heard))
            if self._thread is None:
                self._thread = Thread(target=self._run, name="bell", daemon=True)
                self._thread.start()
        return heard

    def leave(self, heard: asyncio.Event) -> None:
        """Ring no more in it."""
        with self._lock:
            self._waiting = {pair for pair in self._waiting if pair[1] is not heard}

    def close(self) -> None:
        """End the thread; returns when it has ended."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._hear()
            except (DBAPIError, DriverError) as error:
                log.warning("live views are slower: %s", type(error).__name__)
                self._stop.wait(2)

    def _hear(self) -> None:
        connection = self._engine.raw_connection()
        driver: Any = connection.driver_connection
        connection.detach()
        try:
            driver.rollback()
            driver.autocommit = True
            driver.execute(f"LISTEN {CHANNEL}")
            while not self._stop.is_set():
                for _ in driver.notifies(timeout=0.5, stop_after=1):
                    self._ring()
        finally:
            driver.close()

    def _ring(self) -> None:
        with self._lock:
            waiting = list(self._waiting)
        for loop, heard in waiting:
            with suppress(RuntimeError):  # its loop has ended
                loop.call_soon_threadsafe(heard.set)


class Live:
    """The streams of one API process."""

    def __init__(
        self,
        engine: Engine,
        sessions: sessionmaker[Session],
        *,
        seconds: float = 120,
        quiet: float = 5,
        gap: float = 0.5,
        monotonic: Callable[[], float] = monotonic_clock,
    ) -> None:
        """A stream ends after `seconds`: the client comes again and its rights are looked at anew.
        It looks every `quiet` seconds without a ring, and at most every `gap` seconds with."""
        self._bell = Bell(engine)
        self._sessions = sessions
        self._seconds = seconds
        self._quiet = quiet
        self._gap = gap
        self._monotonic = monotonic
        self._open = 0

    def close(self) -> None:
        """End the listening."""
        self._bell.close()

    def require_room(self) -> None:
        """Raises `Busy` when there are as many streams as there may be."""
        if self._open >= MOST_STREAMS:
            raise Busy("too many live views are open", retry_seconds=30)

    async def stream(self, actor: Actor, after: int | None) -> AsyncIterator[bytes]:
        """The events after that id, or from now on, as lines of `text/event-stream`."""
        self._open += 1
        heard = self._bell.listen()
        try:
            end = self._monotonic() + self._seconds
            yield b"retry: 2000\n\n"
            newest = await run_in_threadpool(self._newest)
            floor = newest if after is None else min(after, newest)
            sent: set[int] = set(await run_in_threadpool(self._known, floor))
            while True:
                heard.clear()
                rows = await run_in_threadpool(self._read, actor, floor, sent)
                for row in rows:
                    yield _line(row)
                sent |= {row.id for row in rows}
                floor = max([floor, *sent])
                sent = {id_ for id_ in sent if id_ > floor - _ROOM}
                left = end - self._monotonic()
                if left <= 0:
                    return
                if len(rows) < MOST_EVENTS:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(heard.wait(), min(self._quiet, left))
                    yield b": \n\n"
                await asyncio.sleep(min(self._gap, max(0.0, left)))
        finally:
            self._bell.leave(heard)
            self._open -= 1

    def _newest(self) -> int:
        with self._sessions() as session:
            return session.scalar(select(func.max(CaseEvent.id))) or 0

    def _known(self, floor: int) -> Sequence[int]:
        """Ids below the floor that are there already, and so are not news."""
        query = select(CaseEvent.id).where(CaseEvent.id > floor - _ROOM, CaseEvent.id <= floor)
        with self._sessions() as session:
            return session.scalars(query).all()

    def _read(self, actor: Actor, floor: int, sent: set[int]) -> Sequence[CaseEvent]:
        with self._sessions() as session:
            scope.narrow(session, actor)
            return session.scalars(
                select(CaseEvent)
                .join(Case, Case.id == CaseEvent.case_id)
                .where(CaseEvent.id > floor - _ROOM, CaseEvent.id.not_in(sent))
                .order_by(CaseEvent.id)
                .limit(MOST_EVENTS)
            ).all()


def _line(row: CaseEvent) -> bytes:
    data = msgspec.json.encode(
        {"case_id": row.case_id, "kind": row.kind, "at": row.at.astimezone(UTC)}
    )
    return f"id: {row.id}\nevent: case\ndata: ".encode() + data + b"\n\n"
