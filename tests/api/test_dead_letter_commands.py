"""The operator's commands about dead letters and gaps, on a real database."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import typer
from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner, Result

from fraudwatch.casework import db
from fraudwatch.casework.models import AuditRow, DeadLetter, OutboxRow, StreamGap, StreamOffset
from fraudwatch.cli.dead_letters import dead_letters, gaps
from fraudwatch.errors import FraudwatchError, Invalid
from tests.api.test_dead_letters import SECRET, letter

Run = Callable[..., Result]
BY = ("--by", "ola", "--why", "mended")


@pytest.fixture
def run(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls a command on the test's database; a process of its own would take seconds for each."""
    monkeypatch.setattr(db, "open_sessions", lambda _settings: sessions)
    monkeypatch.setenv("COLUMNS", "200")

    def call(app: typer.Typer, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return call


@pytest.fixture
def rows(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    with sessions.begin() as session:
        session.execute(
            insert(StreamOffset).values(
                topic="transactions", partition=1, first_offset=0, next_offset=9, published_offset=9
            )
        )
        session.execute(insert(DeadLetter), [letter(5), letter(6, reason="duplicate"), letter(7)])
        session.add(
            StreamGap(
                topic="transactions", partition=1, first_offset=0, next_offset=5, reason="expired"
            )
        )
    return sessions


def test_letters_are_listed_shown_and_replayed(run: Run, rows: sessionmaker[Session]) -> None:
    listed = run(dead_letters, "list", "--topic", "transactions").stdout
    assert "unknown_currency" in listed
    assert "000111" not in listed
    shown = json.loads(run(dead_letters, "show", "transactions", "1", "5").stdout)
    assert (shown["reason"], shown["size"], shown["replayed_at"]) == (
        "unknown_currency",
        len(SECRET),
        None,
    )
    chosen = ("replay", "--reason", "unknown_currency", *BY)
    assert "2 dead letters" in run(dead_letters, *chosen, "--dry-run").stdout
    assert "2 dead letters" in run(dead_letters, *chosen).stdout
    assert "0 dead letters" in run(dead_letters, *chosen).stdout
    refused = run(dead_letters, "replay", "--topic", "transactions", *BY)
    assert refused.exit_code == 1
    assert "1 refused: duplicate" in refused.stderr
    with rows() as session:
        assert session.query(OutboxRow).count() == 2


def test_raw_bytes_need_a_name_and_a_reason(run: Run, rows: sessionmaker[Session]) -> None:
    place = ("show", "transactions", "1", "5", "--raw")
    assert isinstance(run(dead_letters, *place).exception, Invalid)
    assert run(dead_letters, *place, *BY).stdout_bytes == SECRET
    with rows() as session:
        assert [row.action for row in session.query(AuditRow)] == ["dead-letter.reveal"]


def test_a_replay_of_everything_has_to_be_meant(run: Run, rows: sessionmaker[Session]) -> None:
    assert isinstance(run(dead_letters, "replay", *BY).exception, Invalid)
    wrong = run(dead_letters, "replay", "--since", "yesterday", *BY).exception
    assert isinstance(wrong, FraudwatchError)
    assert "is no time" in str(wrong)
    naive = run(dead_letters, "list", "--since", "2026-03-02T00:00:00").exception
    assert "add Z" in str(naive)


def test_bad_messages_are_accepted_and_losses_acknowledged(
    run: Run, rows: sessionmaker[Session]
) -> None:
    assert run(dead_letters, "accept", "transactions", "1", "500", *BY).exit_code == 0
    assert "5" in run(gaps, "list").stdout
    assert run(gaps, "acknowledge", "transactions", "1", "0", *BY).exit_code == 0
    assert "ola: mended" in run(gaps, "list").stdout
    with rows() as session:
        told = [row.action for row in session.query(AuditRow).order_by(AuditRow.id)]
    assert told == ["dead-letters.accept", "gap.acknowledge"]
