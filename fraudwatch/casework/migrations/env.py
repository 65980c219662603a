"""Alembic's entry: runs on the engine that `fraudwatch.casework.db` passes in."""

from alembic import context
from sqlalchemy import Engine, text

from fraudwatch.casework.models import Base

# Any fixed number will do: processes that start together migrate one after the other.
_MIGRATION_LOCK = 7_264_911

engine: Engine = context.config.attributes["engine"]

with engine.begin() as connection:
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    context.run_migrations()
