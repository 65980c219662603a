"""A person's data: all of it is found, and gone after an erasure, while every proof stays whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select, text
from typer.testing import CliRunner

from fraudwatch.casework import audit, erasure, looks, persons
from fraudwatch.casework.app import create_app
from fraudwatch.casework.archive_rows import read_archives
from fraudwatch.casework.audit import By
from fraudwatch.casework.context import Services
from fraudwatch.casework.export import export
from fraudwatch.casework.models import (
    AuditRow,
    Case,
    CaseEvent,
    DeadLetter,
    KeptRow,
    LedgerRow,
    LookRow,
    OutboxRow,
    Snapshot,
)
from fraudwatch.casework.retention import Days, retain
from fraudwatch.casework.verify import verify
from fraudwatch.cli import app
from fraudwatch.domain.access import Role
from fraudwatch.errors import Conflict, Invalid, NotFound
from fraudwatch.replay import Replay
from tests.api.cases import FRAUD, act
from tests.api.conftest import Api
from tests.api.seed import PASSWORDS, Seed
from tests.pipeline import old_days
from tests.pipeline.worlds import KEY, NOW, PARTITIONS, Installation, batches

TOPIC = "transactions"
BY = By("ola", "asked for by the customer")
SECRET = "a note about the customer"
ALL = frozenset(range(PARTITIONS))


def case_decided(here: Installation) -> tuple[str, int]:
    """A stream decided, a case of it decided by a person who noted something; account and case."""
    here.register()
    outcomes = here.folder / here.settings.topic_outcomes / "partition-0.jsonl"
    outcomes.parent.mkdir(parents=True)
    outcomes.touch()
    worker = here.worker()
    worker.assign(ALL)
    for polled in batches(here.trained.messages, np.random.default_rng(1), 300):
        worker.process(polled)
    worker.close()
    services = Services(
        here.settings.model_copy(update={"secret_key": here.settings.secret_key}),
        here.engine,
        here.sessions,
        here.clock,
        PASSWORDS,
        here.publisher,
    )
    api = Api(create_app(services), services, here.clock)
    with here.sessions.begin() as session:
        Seed(session, NOW).user("ada")
        case = session.scalars(select(Case).order_by(Case.id).limit(1)).one()
        account, number = case.account_id, case.id
        session.execute(
            insert(DeadLetter).values(
                topic="other",
                partition=0,
                offset=0,
                next_offset=1,
                reason="test",
                raw=f'{{"account_id": "{account}"'.encode(),
            )
        )
    browser, csrf = api.browser("ada")
    browser.headers["x-csrf-token"] = csrf
    for what, body in (("claim", {}), ("notes", {"text": SECRET}), ("resolve", FRAUD)):
        assert act(browser, number, what, **body).status_code == 200
    assert api.program(Role.ANALYST).get(f"/v1/accounts/{account}").status_code == 200
    api.app.state.asking.close()
    with here.sessions.begin() as session:
        looks.seal(session)
    return account, number


def others(here: Installation, account: str) -> list[dict[str, Any]]:
    return [row for row in here.ledger() if row["account_id"] != account]


def test_a_person_is_found_erased_and_every_proof_stays_whole(
    install: Callable[[], Installation], tmp_path: Path
) -> None:
    here = install()
    here.settings = here.settings.model_copy(
        update={"secret_key": type(here.settings.secret_key)(KEY.decode())}
    )
    account, case_id = case_decided(here)
    before, rows = others(here, account), len(here.ledger())
    theirs = rows - len(before)
    with here.sessions.begin() as session:
        found = export(session, KEY, BY, NOW, account_id=account)
    json.dumps(found)
    own = [t for t in found["transactions"] if t["received"]["account_id"] == account]
    assert len(own) == theirs
    for table in ("cases", "case_events", "alerts", "labels", "outcomes", "outbox", "dead_letters"):
        assert found["tables"][table], table
    assert SECRET in json.dumps(found["tables"]["case_events"])
    assert {look["actor"] for look in found["looks"]} == {"ada", "analyst-user"}

    with pytest.raises(Conflict, match="wait to leave"):
        erasure.erase(here.sessions, tmp_path, BY, NOW, account_id=account)
    here.published_outbox()
    done = erasure.erase(here.sessions, tmp_path, BY, NOW, account_id=account)

    assert (done.left, done.rows["ledger"], done.rows["cases"]) == ([], theirs, 1)
    assert others(here, done.pseudonym) == before
    with here.sessions() as session:
        assert session.get_one(Case, case_id).account_id == done.pseudonym
        events = session.scalars(select(CaseEvent).where(CaseEvent.case_id == case_id)).all()
        assert SECRET not in json.dumps([event.data for event in events])
        assert session.scalars(select(DeadLetter)).one().raw == b""
        assert not session.scalars(select(OutboxRow).where(OutboxRow.key == account)).all()
        told = session.scalars(select(AuditRow).where(AuditRow.action == "privacy.erase")).one()
        assert (told.data["by"], told.data["rows"]["ledger"]) == ("ola", theirs)
        assert account not in json.dumps(told.data)
        checks = audit.verify(session), looks.verify(session)
        assert [check.ok for check in checks] == [True, True]
        assert session.scalars(select(LookRow)).first() is not None
    with here.sessions() as session:
        assert verify(session, TOPIC).ok
    with here.sessions() as session:
        again = Replay(session, TOPIC, here.open_model, KEY).run()
    assert (again.different, again.first) == (0, ())
    assert again.erased >= theirs
    assert again.rows + again.erased == rows
    with here.sessions() as session, pytest.raises(NotFound, match="nothing is held"):
        persons.find(session, account_id=account)
    restarted = here.worker()
    assert sum(restarted.assign(ALL).values()) == rows
    with here.sessions() as session:
        assert session.scalars(select(Snapshot)).first() is not None


def test_files_of_the_archive_are_written_anew(sessions: old_days.Sessions, tmp_path: Path) -> None:
    old_days.fill(sessions)
    assert old_days.run(sessions, tmp_path) == 2
    with sessions() as session:
        old = {one.id: one for one in read_archives(session)}
        person = persons.find(session, account_id="a-1")
    assert {one.table for one in person.held} == {"archive", "ledger"}
    before = old_days.seen(sessions)
    stray = tmp_path / "2026-03-01-1-0123abcd.parquet"
    stray.write_bytes(b"left by a run that was cut short")
    done = erasure.erase(sessions, tmp_path, BY, NOW, account_id="a-1")
    assert len(done.archives) == 2
    with sessions() as session:
        new = {one.id: one for one in read_archives(session)}
    with sessions() as session:
        assert verify(session, TOPIC).ok
    for number, one in new.items():
        assert one.path.is_file()
        assert one.path.with_suffix(".json").is_file()
        assert one.sha256 in one.path.with_suffix(".json").read_text()
        assert one.sha256 != old[number].sha256
        assert b"a-1\x00" not in one.path.read_bytes()
        assert not old[number].path.exists()
    assert not stray.exists()
    for partition, after in zip(before, old_days.seen(sessions), strict=True):
        for was, now in zip(partition, after, strict=True):
            if was[3] != "a-1":
                assert now == was
            else:
                assert now[3] == done.pseudonym
                assert (now[:3], now[4:12], now[13:]) == (was[:3], was[4:12], was[13:])
                assert b"a-1" not in now[12]
    with sessions() as session:
        kept = session.scalars(select(KeptRow)).all()
        assert [row.account_id for row in kept if row.account_id == "a-1"] == []
        assert audit.verify(session).ok


def test_a_customer_has_all_their_accounts_and_nobody_elses(
    sessions: old_days.Sessions,
) -> None:
    with sessions.begin() as session:
        seed = Seed(session, NOW)
        seed.transaction("acc-1")
        seed.transaction("acc-2")
        session.flush()
        person = persons.find(session, customer_id="customer-of-acc-1")
        assert (sorted(person.accounts), len(person.held)) == (["acc-1"], 1)
        with pytest.raises(NotFound):
            persons.find(session, customer_id="customer-of-acc")
        for wrong in ({}, {"account_id": "acc-1", "customer_id": "x"}):
            with pytest.raises(Invalid):
                persons.find(session, **wrong)
        # As the counterparty of somebody else's payment.
        person = persons.find(session, account_id="counterparty-77")
        assert len(person.held) == 2
        assert person.transactions == frozenset()


def test_an_open_case_is_decided_first(sessions: old_days.Sessions, tmp_path: Path) -> None:
    with sessions.begin() as session:
        Seed(session, NOW).case("acc-1")
    with pytest.raises(Conflict, match="is open"):
        erasure.erase(sessions, tmp_path, BY, NOW, account_id="acc-1")


def test_what_is_old_goes_and_the_chains_say_where_they_begin(
    sessions: old_days.Sessions,
) -> None:
    days = Days(notes=30, sessions=30, looks=30, audit=60)
    for age in (90, 45, 1):
        at = NOW - timedelta(days=age)
        with sessions.begin() as session:
            for number in range(3):
                audit.append(
                    session, at=at, actor=None, action="test", subject=f"case:{number}", data={}
                )
            session.execute(
                text(
                    "INSERT INTO looks_pending (at, actor, action, subject, data, digest)"
                    " SELECT at, actor, action, subject, data, digest FROM audit_pending"
                )
            )
        with sessions.begin() as session:
            looks.seal(session)
    with sessions.begin() as session:
        assert retain(session, days, BY, NOW) == {"notes": 0, "sessions": 0, "looks": 6, "audit": 3}
    with sessions() as session:
        check, seen = audit.verify(session), looks.verify(session)
        assert (check.ok, check.expired, check.rows) == (True, 3, 9)
        assert (seen.ok, seen.expired, seen.rows) == (True, 6, 3)
        session.execute(text("ALTER TABLE audit_log DISABLE TRIGGER ALL"))
        session.execute(text("DELETE FROM audit_log WHERE id = 4"))
        assert audit.verify(session).broken_at == 4
    with sessions.begin() as session:
        assert not any(retain(session, days, BY, NOW).values())


def test_the_commands_print_and_erase(
    sessions: old_days.Sessions,
    engine: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, value in {
        "DATABASE_URL": engine.url.render_as_string(False),
        "DATA_DIR": str(tmp_path),
        "SECRET_KEY": KEY.decode(),
    }.items():
        monkeypatch.setenv(f"FRAUDWATCH_{name}", value)
    with sessions.begin() as session:
        Seed(session, NOW).transaction("acc-000000000111")
    who = ["--account", "acc-000000000111", "--by", "ola", "--why", "asked"]
    shown = CliRunner().invoke(app, ["privacy", "export", *who])
    assert json.loads(shown.stdout)["transactions"][0]["received"]["ip"] == "192.0.2.17"
    done = CliRunner().invoke(app, ["privacy", "erase", *who])
    assert (done.exit_code, "ledger: 1 rows" in done.stdout) == (0, True)
    with sessions() as session:
        row = session.scalars(select(LedgerRow)).one()
        for gone in (
            b"192.0.2.17",
            b"48.8",
            b"somebody@",
            b"acc-0",
            b"customer-of",
            b"counterparty-",
        ):
            assert gone not in row.payload
        assert b'"score"' in row.payload
    assert CliRunner().invoke(app, ["privacy", "retain"]).stdout == "sessions: 0\n"
