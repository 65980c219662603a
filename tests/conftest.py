"""Shared fixtures: a real PostgreSQL for every test that asks, a fresh database for each."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import db
from fraudwatch.casework.embedded import start_embedded, stop_embedded
from tests.parts import skip_or_fail

__all__ = ["skip_or_fail"]

# No test asserts how long anything takes: machines that test are busy.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

pytest_plugins = ["tests.kafka_broker", "tests.kafka_secure", "tests.keycloak"]


@pytest.fixture(scope="session")
def database_server() -> Iterator[URL]:
    """A PostgreSQL for this test run, with a migrated template database."""
    folder = Path(tempfile.mkdtemp(prefix="fraudwatch-test-"))
    folder.chmod(0o755)
    url = start_embedded(folder).set(drivername="postgresql+psycopg")
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        # Databases come and go with each test; nothing here needs to survive a power cut.
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
        connection.execute(text("CREATE DATABASE template_fraudwatch"))
    template = db.open_engine(url.set(database="template_fraudwatch"))
    db.migrate(template)
    template.dispose()
    yield url
    admin.dispose()
    stop_embedded(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(database_server: URL) -> Iterator[URL]:
    """The URL of a fresh, migrated database."""
    name = f"t_{uuid.uuid4().hex}"
    admin = create_engine(database_server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_fraudwatch"))
    yield database_server.set(database=name)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def engine(database_url: URL) -> Iterator[Engine]:
    engine = db.open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    return db.session_factory(engine)
