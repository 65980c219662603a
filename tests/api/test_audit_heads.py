"""Heads leave the database by topic and file, and show later what the database itself cannot."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from fraudwatch.casework import audit, audit_heads, looks, outbox
from fraudwatch.casework.audit_chain import Head
from fraudwatch.casework.audit_heads import Heads
from fraudwatch.casework.audit_keeper import AuditKeeper
from fraudwatch.casework.models import OutboxRow
from fraudwatch.cli import app
from fraudwatch.clock import FixedClock
from fraudwatch.errors import Invalid
from fraudwatch.settings import Settings, load_settings
from streams.carriers import open_publisher
from streams.source import Message
from streams.topics import create_topics
from tests.api.seed import NOW
from tests.api.test_audit_chain import change, look, rewrite, tamper
from tests.contract.test_source_kafka import topic_settings
from tests.kafka_broker import Broker


@pytest.fixture
def here(database_url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation on files, for commands as well."""
    monkeypatch.setenv("FRAUDWATCH_DATABASE_URL", database_url.render_as_string(False))
    monkeypatch.setenv("FRAUDWATCH_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("FRAUDWATCH_AUDIT_HEADS_FILE", str(tmp_path / "heads.jsonl"))
    settings = load_settings()
    create_topics(settings)
    return settings


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["audit", *arguments])
    return result.exit_code, result.output


def write(sessions: sessionmaker[Session], first: int, until: int) -> None:
    for number in range(first, until):
        with sessions.begin() as session:
            change(session, number)
            look(session, number)


def test_a_rewritten_chain_is_found_by_file_and_topic(
    here: Settings, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """The whole way: rows, heads out, rows, heads out, everything rewritten by a superuser."""
    keeper = AuditKeeper(sessions, here, FixedClock(NOW))
    for first in (1, 4):
        write(sessions, first, first + 3)
        keeper.tick()
        keeper.tell()
    assert outbox.drain(sessions, open_publisher(here, FixedClock(NOW))) == 2
    file = str(tmp_path / "heads.jsonl")
    assert len(audit_heads.read_file(Path(file))) == len(audit_heads.read_topic(here)) == 2
    code, told = run("verify", "--heads", file, "--heads", "topic")
    assert code == 0, told
    assert "changes: 8 rows" in told
    assert "looks: 6 rows" in told
    assert "compared with 4 heads" in told

    with sessions.begin() as session:
        rewrite(session, "looks", 2)
        rewrite(session, "audit_log", 2)
    code, told = run("verify")
    assert (code, "changes: 8 rows" in told) == (1, True)  # the mark of looks shows these
    assert "looks: row 3: its hash was" in told
    for place in (file, "topic"):
        code, told = run("verify", "--heads", place)
        assert code == 1
        assert "changes: row 4: its hash was" in told
        assert "after row 0, the last that agrees" in told


def test_heads_leave_only_when_something_was_added(
    here: Settings, sessions: sessionmaker[Session]
) -> None:
    times = iter([0.0, 0.0, 1.0, 61.0, 61.0, 122.0, 122.0])
    keeper = AuditKeeper(sessions, here, FixedClock(NOW), monotonic=lambda: next(times))
    write(sessions, 1, 2)
    keeper.tick()
    keeper.tick()
    keeper.tick()
    with sessions() as session:
        assert session.query(OutboxRow).count() == 1
    write(sessions, 2, 3)
    keeper.tick()
    with sessions() as session:
        assert session.query(OutboxRow).count() == 2
        assert (audit.verify(session).rows, looks.verify(session).rows) == (4, 2)


def test_cron_takes_heads_to_a_file(
    here: Settings, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    write(sessions, 1, 3)
    file = tmp_path / "elsewhere.jsonl"
    assert run("heads", "--file", str(file)) == (0, "")
    code, told = run("heads")
    assert code == 0
    assert [one.line().decode() for one in audit_heads.read_file(file)] != []
    assert audit_heads.read_file(file)[0].changes.hash in told
    with sessions.begin() as session:
        tamper(session, "audit_log", ["DELETE FROM {t} WHERE id > 1"])
    code, told = run("verify", "--heads", str(file))
    assert code == 1
    assert "changes: row 2: was removed, and all up to row 3" in told


def test_what_is_no_file_of_heads_is_told(here: Settings, tmp_path: Path) -> None:
    file = tmp_path / "other.jsonl"
    file.write_text("{}\n")
    with pytest.raises(Invalid, match="number 1 is no head"):
        audit_heads.read_file(file)
    with pytest.raises(Invalid, match="No such file"):
        audit_heads.read_file(tmp_path / "none")


@pytest.mark.kafka
def test_heads_are_read_back_from_kafka(kafka_broker: Broker) -> None:
    settings = topic_settings(kafka_broker, partitions=2)
    create_topics(settings)
    heads = [Heads(NOW, Head(n, "aa" * 32), Head(2 * n, "bb" * 32)) for n in (1, 2, 3)]
    with closing(open_publisher(settings, FixedClock(NOW))) as publisher:
        for one in heads:
            publisher.send(settings.topic_audit_heads, [Message(None, one.line())])
    assert sorted(audit_heads.read_topic(settings), key=lambda one: one.changes) == heads
    assert audit_heads.of_looks(heads)[0] == Head(2, "bb" * 32)
