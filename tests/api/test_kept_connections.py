"""Connections that are kept: what holds in them, and that none outlives an error."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import db
from fraudwatch.casework.kept_connections import KeptConnections
from fraudwatch.errors import Fenced, Unavailable

_ROW = (
    "INSERT INTO stream_offsets (topic, partition, first_offset, next_offset, published_offset)"
    " VALUES ('t', {0}, 0, 0, 0)"
)


def pid(session: Session) -> int:
    return int(session.execute(text("SELECT pg_backend_pid()")).scalar_one())


def shown(session: Session) -> list[str]:
    names = ("enable_seqscan", "synchronous_commit")
    return [str(session.execute(text(f"SHOW {name}")).scalar_one()) for name in names]


def partitions(sessions: sessionmaker[Session]) -> list[int]:
    with sessions() as session:
        return list(session.scalars(text("SELECT partition FROM stream_offsets ORDER BY 1")))


def test_statements_alone_commit_at_once_and_a_transaction_as_a_whole(
    sessions: sessionmaker[Session],
) -> None:
    """A batch waits for the disk; what is done around it looks up by index and does not."""
    kept = KeptConnections(sessions)
    with kept.alone() as session:
        session.execute(text(_ROW.format(1)))
        assert partitions(sessions) == [1]
        assert shown(session) == ["off", "off"]
    with kept.transaction() as session:
        session.execute(text(_ROW.format(2)))
        assert partitions(sessions) == [1]
        assert shown(session) == ["on", "on"]
    assert partitions(sessions) == [1, 2]
    with pytest.raises(DBAPIError), kept.transaction() as session:
        session.execute(text(f"{_ROW.format(3)}, ('t', 2, 0, 0, 0)"))
    assert partitions(sessions) == [1, 2]
    kept.close()


def test_connections_are_kept_until_an_error_and_never_given_back(
    engine: Engine, sessions: sessionmaker[Session]
) -> None:
    """A pool that got one back would hand out its settings to others."""
    kept = KeptConnections(sessions)
    with kept.alone() as session:
        first = pid(session)
    with kept.transaction() as session:
        other = pid(session)
    with kept.alone() as session:
        assert pid(session) == first != other
    with pytest.raises(Fenced), kept.alone():
        raise Fenced(frozenset())
    with kept.alone() as session:
        assert pid(session) not in (first, other)
    kept.close()
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    with sessions() as session:
        assert shown(session) == ["on", "on"]


def test_a_server_that_went_away_costs_one_error(
    engine: Engine, sessions: sessionmaker[Session]
) -> None:
    """Both connections are given up: else each would fail in its turn."""
    kept = KeptConnections(sessions)
    with kept.transaction() as session:
        pid(session)
    with kept.alone() as session:
        pid(session)
    with db.connect_errors(), engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    with pytest.raises(Unavailable), kept.alone() as session:
        pid(session)
    with kept.transaction() as session:
        pid(session)
    with kept.alone() as session:
        pid(session)
    kept.close()
