"""Database connections that are kept, for what is done over and over on the way of an answer.

A session of a pool asks the server whether the connection still lives, begins a transaction and
rolls it back: with one statement in between these are four round trips, and the pool's work in
Python. Here a statement on its own is one round trip. A connection that has died is found by the
first statement that fails on it, which its caller tries again anyway.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, TextClause, text
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework.db import connect_errors

BY_INDEX = "by_index"
"""In the `info` of sessions whose connection looks up by index, always."""


def look_up_by_index(session: Session) -> None:
    """For the rest of the transaction: of a table of today the planner knows nothing yet, and would
    rather read all of it."""
    if BY_INDEX not in session.info:
        session.execute(_by_index("true"))


def always_look_up_by_index(connection: Connection) -> None:
    """For as long as the connection is kept. Begins a transaction where it does not autocommit."""
    connection.execute(_by_index("false"))


class KeptConnections:
    """Sessions over two connections, opened when they are needed. Not thread-safe.

    After any error both are given up, for what ends one ends the other; the next session opens
    another. Raises `Unavailable` when the database is away.
    """

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._engine: Engine = sessions.kw["bind"]
        self._open: dict[str, Connection] = {}
        # Ended with their owner too, and never given back to the pool: they are not as others are.
        weakref.finalize(self, _end_all, self._open)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose transaction commits at the end of the block."""
        with self._session("transaction") as session, session.begin():
            yield session

    @contextmanager
    def alone(self) -> Iterator[Session]:
        """A session in which each statement commits by itself, looks up by index, and does not
        wait for the disk: what it writes may be undone when the server crashes."""
        with self._session("alone", {BY_INDEX: True}) as session:
            yield session

    @contextmanager
    def _session(self, name: str, info: dict[Any, Any] | None = None) -> Iterator[Session]:
        with connect_errors():
            try:
                if name not in self._open:
                    self._open[name] = self._engine.connect()
                    if name == "alone":
                        _set_up_alone(self._open[name])
                with Session(self._open[name], expire_on_commit=False, info=info) as session:
                    yield session
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End the connections; another session opens a new one."""
        _end_all(self._open)


def _set_up_alone(connection: Connection) -> None:
    connection.execution_options(isolation_level="AUTOCOMMIT")
    always_look_up_by_index(connection)
    connection.execute(text("SET synchronous_commit = off"))
    connection.commit()


def _end_all(connections: dict[str, Connection]) -> None:
    while connections:
        _, connection = connections.popitem()
        if not connection.invalidated:
            connection.invalidate()
        connection.close()


def _by_index(local: str) -> TextClause:
    settings = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")
    return text("SELECT " + ", ".join(f"set_config('{name}', 'off', {local})" for name in settings))
