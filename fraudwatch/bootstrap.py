"""The only file that knows every concrete class: it puts parts together for the commands."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import db
from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.settings import Settings


def open_database(settings: Settings, *, pool_size: int = 10) -> Engine:
    """The database, at this program's schema version.

    Raises `ConfigurationError` when it does not answer or is at another version.
    """
    engine = db.open_engine(db.database_url(settings), pool_size=pool_size)
    try:
        db.require_schema(engine)
    except Unavailable as error:
        raise _no_database(engine, error) from error
    return engine


def migrate_database(settings: Settings) -> None:
    """Bring the schema to this program's version."""
    engine = db.open_engine(db.database_url(settings))
    try:
        with db.connect_errors():
            db.migrate(engine)
    except Unavailable as error:
        raise _no_database(engine, error) from error
    finally:
        engine.dispose()


def open_sessions(settings: Settings) -> sessionmaker[Session]:
    """Sessions on the database, for commands that do one thing."""
    return db.session_factory(open_database(settings, pool_size=1))


def _no_database(engine: Engine, error: Unavailable) -> ConfigurationError:
    address = engine.url.render_as_string(hide_password=True)
    cause = str(error.__cause__ or error).strip().splitlines()[0]
    return ConfigurationError(
        f"no answer from the database at {address}: {cause}; is it running, and is "
        "FRAUDWATCH_DATABASE_URL right?"
    )
