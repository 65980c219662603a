"""The schema that migrations make is the one the models describe, and it refuses what it must."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from fraudwatch.casework.models import Base


def test_migrations_make_the_tables_that_the_models_describe(engine: Engine) -> None:
    """A column added to the models alone would work in no installed database."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


@pytest.mark.parametrize(
    "table", ["ledger", "audit_log", "case_events", "labels", "outcomes", "dead_letters"]
)
def test_records_are_never_removed(engine: Engine, table: str) -> None:
    with engine.begin() as connection, pytest.raises(DBAPIError, match="never changed or removed"):
        connection.execute(text(f"DELETE FROM {table}"))
