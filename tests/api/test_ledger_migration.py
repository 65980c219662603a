"""A ledger that was one table becomes one of days, with all its rows, and goes on."""

from __future__ import annotations

import uuid

from alembic import command
from sqlalchemy import URL, create_engine, insert, text
from sqlalchemy.orm import Session

from fraudwatch.casework import db
from fraudwatch.casework.ledger_tables import make_tables, newest_table
from fraudwatch.casework.models import LedgerRow
from tests.api.test_verify import NOW, ledger_row

OLD_ROW = """
    INSERT INTO ledger (partition, "offset", transaction_id, account_id, event_time, amount,
        currency, payload, features, features_version, outcome, rule, policy_id, profile_version,
        scored_at)
    SELECT n % 2, n, 't-' || n, 'a', timestamptz '2026-02-20 12:00+00' + n * interval '1 day', 1,
        'EUR', '{}', '', 'f', 0, 0, 1, '', now() FROM generate_series(0, 5) n
"""
OLD_CASE = """
    INSERT INTO cases (account_id, outcome, amount, alert_count, priority, opened_at, updated_at,
        due_at) VALUES ('a', 1, 1, 1, 1, now(), now(), now());
    INSERT INTO alerts (case_id, partition, "offset", transaction_id, outcome, rule, added_at)
        SELECT id, 1, 3, 't-3', 1, 0, now() FROM cases
"""


def test_rows_there_were_stay_and_new_days_follow(database_server: URL) -> None:
    """An installation that is brought up to date has rows, cases, and a stream that goes on."""
    name = f"t_{uuid.uuid4().hex}"
    admin = create_engine(database_server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = db.open_engine(database_server.set(database=name))
    command.upgrade(db._alembic(engine), "0003")
    with engine.begin() as connection:
        connection.execute(text(OLD_ROW))
        connection.execute(text(OLD_CASE))
    db.migrate(engine)
    with Session(engine) as session:
        assert session.query(LedgerRow).count() == 6
        moment = session.scalar(text("SELECT event_time FROM alerts"))
        assert f"{moment:%Y-%m-%d}" == "2026-02-23"
        newest = newest_table(session)
        assert newest is not None
        assert (f"{newest.first}", f"{newest.until}") == ("2026-02-20", "2026-02-26")
        make_tables(session, [NOW.date()], NOW.date())
        session.execute(insert(LedgerRow), [ledger_row(0, 6)])
        session.commit()
        assert session.query(LedgerRow).count() == 7
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()
