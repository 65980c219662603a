"""The database: the embedded server or one of your own, migrations, sessions.

Commit happens at one edge: once per request (`routes`) or batch (`pipeline`). Services flush.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import scope
from fraudwatch.casework.embedded import start_embedded
from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"

# A frozen worker must not hold the row of its partition's offset: the server ends it.
_SERVER_LIMITS = (
    "-c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=30s"
    " -c timezone=UTC"
)


def database_url(settings: Settings) -> URL:
    """The configured server, or the embedded one, as a psycopg URL.

    Raises `ConfigurationError`, without the URL (it may hold a password), when it is none.
    """
    if not settings.database_url:
        return start_embedded(settings.data_dir).set(drivername="postgresql+psycopg")
    try:
        url = make_url(settings.database_url)
    except (ArgumentError, ValueError):  # the second for a port that is no number
        url = None
    if url is None or url.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError("FRAUDWATCH_DATABASE_URL must be postgresql://user@host:port/name")
    return url.set(drivername="postgresql+psycopg")


def open_engine(url: URL, *, pool_size: int = 10) -> Engine:
    """An engine whose connections cannot hang for ever."""
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=10,
        hide_parameters=True,  # values of rows must not get into logs
        connect_args={
            "options": _SERVER_LIMITS,
            "connect_timeout": 5,
            "application_name": f"fraudwatch-{os.getpid()}",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            # what was sent and not acknowledged by then: the connection is gone
            "tcp_user_timeout": 20_000,
        },
    )


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions whose objects stay readable after the commit."""
    sessions = sessionmaker(engine, expire_on_commit=False)
    event.listen(sessions, "do_orm_execute", scope.apply)
    return sessions


def _alembic(engine: Engine) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = engine
    return config


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest version; several processes may call it at once."""
    command.upgrade(_alembic(engine), "head")


def require_schema(engine: Engine) -> None:
    """Raise `ConfigurationError` unless the schema is at the version of this program."""
    head = ScriptDirectory.from_config(_alembic(engine)).get_current_head()
    with connect_errors(), engine.connect() as connection:
        found = None
        if inspect(connection).has_table("alembic_version"):
            found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found != head:
        raise ConfigurationError(
            f"the database schema is at {found or 'nothing'}, this program needs {head}: "
            "run `fraudwatch migrate`"
        )


def open_database(settings: Settings, *, pool_size: int = 10) -> Engine:
    """The database, at this program's schema version.

    Raises `ConfigurationError` when it does not answer or is at another version.
    """
    engine = open_engine(database_url(settings), pool_size=pool_size)
    try:
        require_schema(engine)
    except Unavailable as error:
        raise _no_answer(engine, error) from error
    return engine


def migrate_database(settings: Settings) -> None:
    """Bring the configured database's schema to this program's version."""
    engine = open_engine(database_url(settings), pool_size=1)
    try:
        with connect_errors():
            migrate(engine)
    except Unavailable as error:
        raise _no_answer(engine, error) from error
    finally:
        engine.dispose()


def open_sessions(settings: Settings) -> sessionmaker[Session]:
    """Sessions on the database, for commands that do one thing."""
    return session_factory(open_database(settings, pool_size=1))


@contextmanager
def database(settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Sessions on the database while the block runs, for commands that do one thing."""
    engine = open_database(settings, pool_size=1)
    try:
        yield session_factory(engine)
    finally:
        engine.dispose()


@contextmanager
def connect_errors() -> Iterator[None]:
    """Turn "the server is away" into `Unavailable`; let every other database error through.

    SQLSTATE classes: 08 connection, 53 resources (disk full, too many connections), 55P03 lock
    timeout, 57 operator intervention (shutdown, cancelled by timeout), 25P03 idle transaction
    ended, 40 serialisation and deadlock.
    """
    try:
        yield
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        gone = isinstance(error, OperationalError | InterfaceError) and not state
        if gone or error.connection_invalidated or _transient(state):
            raise Unavailable(f"database: {type(error.orig).__name__} {state}") from error
        raise
    except psycopg.Error as error:
        # Raised where COPY goes through the driver, past SQLAlchemy.
        state = error.sqlstate or ""
        if (isinstance(error, psycopg.OperationalError) and not state) or _transient(state):
            raise Unavailable(f"database: {type(error).__name__} {state}") from error
        raise


def _transient(state: str) -> bool:
    return state[:2] in {"08", "53", "57", "40"} or state in {"55P03", "25P03"}


def _no_answer(engine: Engine, error: Unavailable) -> ConfigurationError:
    address = engine.url.render_as_string(hide_password=True)
    cause = str(error.__cause__ or error).strip().splitlines()[0]
    return ConfigurationError(
        f"no answer from the database at {address}: {cause}; is it running, and is "
        "FRAUDWATCH_DATABASE_URL right?"
    )
