"""The schema that migrations make is the one the models describe, and it refuses what it must."""

from __future__ import annotations

from datetime import date

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from fraudwatch.casework.ledger_tables import make_tables
from fraudwatch.casework.models import Base

DAY = date(2026, 3, 1)


def test_migrations_make_the_tables_that_the_models_describe(engine: Engine) -> None:
    """A column added to the models alone would work in no installed database."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        found = connection.scalar(
            text("SELECT pg_get_partkeydef(oid) FROM pg_class WHERE relname = 'ledger'")
        )
        assert found == Base.metadata.tables["ledger"].dialect_options["postgresql"]["partition_by"]


def test_a_table_of_the_ledger_is_like_the_ledger(engine: Engine) -> None:
    """A day that lacks an index would take rows in twice, or be slow to read."""
    with Session(engine) as session:
        (table,) = make_tables(session, [DAY], DAY)
        session.commit()
    found = inspect(engine)
    whole, day = (
        [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)]
        for name in ("ledger", table.name)
    )
    assert whole == day
    checks = [check["sqltext"] for check in found.get_check_constraints(table.name)]
    assert checks == [check["sqltext"] for check in found.get_check_constraints("ledger")] != []
    assert found.get_pk_constraint(table.name)["constrained_columns"] == ["partition", "offset"]
    assert {
        (bool(index["unique"]), *index["expressions"]) for index in found.get_indexes(table.name)
    } == {
        (True, "ledger_hour(event_time)", "ledger_hash(transaction_id)", "transaction_id"),
        (False, "ledger_hour(event_time)", "ledger_hash(account_id)"),
    }


@pytest.mark.parametrize("act", ["UPDATE {} SET risk = 0", "DELETE FROM {}", "TRUNCATE {}"])
def test_rows_of_a_day_are_never_changed(engine: Engine, act: str) -> None:
    with Session(engine) as session:
        (table,) = make_tables(session, [DAY], DAY)
        session.commit()
        with pytest.raises(DBAPIError, match="never changed or removed"):
            session.execute(text(act.format(table.name)))


@pytest.mark.parametrize(
    "table", ["ledger", "audit_log", "case_events", "labels", "outcomes", "dead_letters"]
)
def test_records_are_never_removed(engine: Engine, table: str) -> None:
    with engine.begin() as connection, pytest.raises(DBAPIError, match="never changed or removed"):
        connection.execute(text(f"DELETE FROM {table}"))
