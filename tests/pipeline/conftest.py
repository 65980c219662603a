"""Installations for the tests of the forward path."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text

from fraudwatch.clock import FixedClock
from tests.pipeline.worlds import NOW, Installation, Trained, train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("models"))


@pytest.fixture
def install(
    database_server: URL, tmp_path: Path, trained: Trained
) -> Iterator[Callable[[], Installation]]:
    """Makes installations, each with a database and a stream folder of its own."""
    made: list[tuple[Installation, str]] = []
    admin = create_engine(database_server, isolation_level="AUTOCOMMIT")

    def make() -> Installation:
        name = f"t_{uuid.uuid4().hex}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_fraudwatch"))
        folder = tmp_path / name
        folder.mkdir()
        found = Installation(database_server.set(database=name), folder, trained, FixedClock(NOW))
        made.append((found, name))
        return found

    yield make
    for installation, name in made:
        installation.close()
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()
