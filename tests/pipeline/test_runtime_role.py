"""A database role that runs the whole service and cannot touch what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from fraudwatch.casework import audit, db, grants, looks
from fraudwatch.casework.app import create_app
from fraudwatch.casework.context import Services
from fraudwatch.casework.models import AuditRow, Case, LookRow
from fraudwatch.casework.verify import verify
from fraudwatch.cli import app
from fraudwatch.domain.access import Role
from fraudwatch.errors import Invalid
from fraudwatch.profile_keeper import refresh_profiles
from fraudwatch.settings import load_settings
from tests.api.cases import FRAUD, act
from tests.api.conftest import Api
from tests.api.seed import PASSWORDS, Seed
from tests.pipeline.worlds import NOW, PARTITIONS, Installation, batches

ROLE = "fraudwatch_runs"
RECORDS = ("ledger", "ledger_kept", "case_events", "labels", "outcomes", "dead_letters", "deciders")
FORBIDDEN = (
    *(f"DELETE FROM {table}" for table in (*RECORDS, "audit_log", "looks", "audit_pending")),
    *(f"TRUNCATE {table}" for table in ("ledger", "audit_log", "looks")),
    "UPDATE ledger SET risk = 0",
    "UPDATE audit_log SET actor = 'x'",
    "UPDATE looks_pending SET actor = 'x'",
    "INSERT INTO audit_log SELECT * FROM audit_log LIMIT 0",
    "INSERT INTO looks SELECT * FROM looks LIMIT 0",
    "INSERT INTO ledger_archives SELECT * FROM ledger_archives LIMIT 0",
    "ALTER TABLE ledger DISABLE TRIGGER append_only",
    "DROP TRIGGER chain ON audit_pending",
    "DROP TABLE ledger",
    "ALTER TABLE cases DROP CONSTRAINT ck_cases_person",
    "CREATE TABLE public.other (id int)",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql"
    " AS $$ BEGIN RETURN NULL; END $$",
    "SET session_replication_role = replica",
    "UPDATE alembic_version SET version_num = '0001'",
)


@pytest.fixture
def role(install: Callable[[], Installation]) -> Iterator[Installation]:
    """An installation that connects as the role; its owner's engine is `owner`."""
    here = install()
    owner = here.engine
    with owner.begin() as connection:
        connection.execute(text(f"CREATE ROLE {ROLE} LOGIN"))
    with db.session_factory(owner).begin() as session:
        grants.grant(session, ROLE)
        assert grants.renew(session) == [ROLE]
    here.engine = db.open_engine(owner.url.set(username=ROLE))
    here.sessions = db.session_factory(here.engine)
    yield here
    here.engine.dispose()
    with owner.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {ROLE}"))
        connection.execute(text(f"DROP ROLE {ROLE}"))
    owner.dispose()


def work_as(here: Installation) -> None:
    """A worker with a model: batches of several days, alerts, snapshots, profiles, the outbox."""
    here.register()
    worker = here.worker()
    worker.assign(frozenset(range(PARTITIONS)))
    for polled in batches(here.trained.messages, np.random.default_rng(1), 300):
        worker.process(polled)
    worker.idle()
    worker.close()
    with here.sessions.begin() as session:
        refresh_profiles(session, "transactions", NOW)
    with here.sessions.begin() as session:
        assert verify(session, "transactions").ok
    here.published_outbox()


def decide_as(here: Installation) -> None:
    """People: sign in, claim, decide, steer; looks are sealed."""
    settings = load_settings(secret_key="0123456789abcdef" * 4)
    services = Services(settings, here.engine, here.sessions, here.clock, PASSWORDS, here.publisher)
    api = Api(create_app(services), services, here.clock)
    with here.sessions.begin() as session:
        seed = Seed(session, NOW)
        seed.user("ada")
        case = session.query(Case).order_by(Case.id).first()
        assert case is not None
        number = case.id
    browser, csrf = api.browser("ada")
    browser.headers["x-csrf-token"] = csrf
    for what, body in (("claim", {}), ("notes", {"text": "x"}), ("resolve", FRAUD)):
        done = act(browser, number, what, **body)
        assert done.status_code == 200, done.text
    assert api.program(Role.AUDITOR).get("/v1/audit/verify").json()["ok"]
    api.app.state.asking.close()
    with here.sessions.begin() as session:
        assert looks.seal(session) > 0
    with here.sessions() as session:
        assert session.query(AuditRow).filter_by(action="case.resolve").count() == 1
        assert audit.verify(session).ok
        assert looks.verify(session).ok
        assert session.query(LookRow).filter_by(actor="ada").count() > 0


def refused(engine: Engine, statement: str) -> bool:
    try:
        with engine.begin() as connection:
            connection.execute(text(statement))
    except ProgrammingError as error:
        return "permission denied" in str(error) or "must be owner" in str(error)
    return False


def test_the_role_runs_the_service_and_changes_no_record(role: Installation) -> None:
    work_as(role)
    decide_as(role)
    assert [statement for statement in FORBIDDEN if not refused(role.engine, statement)] == []
    days = "SELECT relid::regclass::text FROM pg_partition_tree('ledger') WHERE isleaf"
    with role.engine.connect() as connection:
        tables = connection.scalars(text(days)).all()
    assert len(tables) > 2
    for table in tables:
        assert refused(role.engine, f"UPDATE {table} SET risk = 0")
        assert refused(role.engine, f"DROP TABLE {table}")
    # The owner's door for erasures is none for the role.
    with role.sessions() as session:
        session.execute(text("SET LOCAL fraudwatch.erasing = 'yes'"))
        with pytest.raises(ProgrammingError, match="permission denied"):
            session.execute(text("DELETE FROM case_events"))


def test_a_role_that_nothing_would_hold_is_refused(
    sessions: sessionmaker[Session], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sessions() as session:
        with pytest.raises(Invalid, match="there is no database role"):
            grants.grant(session, "nobody at all")
        with pytest.raises(Invalid, match="superuser or owns the tables"):
            grants.grant(session, "postgres")
    monkeypatch.setenv("FRAUDWATCH_DATABASE_URL", engine.url.render_as_string(False))
    result = CliRunner().invoke(app, ["db", "grant", "nobody"])
    assert isinstance(result.exception, Invalid)
