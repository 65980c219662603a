"""Auditors read the log; messages leave once committed, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import outbox
from fraudwatch.casework.models import AuditRow, OutboxRow
from fraudwatch.clock import FixedClock
from fraudwatch.domain.access import Role
from fraudwatch.errors import Unavailable
from streams.dead_letters import MESSAGE_ID
from streams.file_lines import decode_line, partition_path
from streams.files import FilePublisher
from streams.source import Message
from tests.api.cases import act
from tests.api.conftest import Api
from tests.api.seed import NOW


def test_auditors_read_and_check_the_log(api: Api) -> None:
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
    act(api.program(Role.ANALYST), case_id, "claim")
    auditor = api.program(Role.AUDITOR)
    found = auditor.get("/v1/audit", params={"subject": f"case:{case_id}"}).json()
    assert [row["action"] for row in found["items"]] == ["case.claim"]
    assert found["items"][0]["actor"] == "analyst-user"
    first = auditor.get("/v1/audit", params={"limit": 2}).json()
    second = auditor.get("/v1/audit", params={"cursor": first["next_cursor"]}).json()
    ids = [row["id"] for row in first["items"] + second["items"]]
    rows = api.rows(AuditRow)
    assert ids == [row.id for row in reversed(rows)]
    check = auditor.get("/v1/audit/verify").json()
    assert (check["ok"], check["rows"], check["broken_at"]) == (True, len(rows), None)
    assert check["head"] == rows[-1].hash.hex()


def write(sessions: sessionmaker[Session], number: int, topic: str = "outcomes") -> None:
    with sessions.begin() as session:
        outbox.write(
            session,
            topic=topic,
            key="acc-1",
            message_id=f"m-{number}",
            payload={"n": number},
            now=NOW,
        )


@pytest.fixture
def publisher(tmp_path: Path) -> FilePublisher:
    for topic in ("outcomes", "others"):
        path = partition_path(tmp_path, topic, 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return FilePublisher(tmp_path, FixedClock(NOW))


def published(folder: Path, topic: str) -> list[bytes]:
    lines = partition_path(folder, topic, 0).read_bytes().splitlines()
    return [dict(decode_line(line)[2])[MESSAGE_ID] for line in lines]


def test_messages_leave_in_order_and_once(
    sessions: sessionmaker[Session], publisher: FilePublisher, tmp_path: Path
) -> None:
    for number in range(5):
        write(sessions, number, "others" if number == 2 else "outcomes")
    assert outbox.drain(sessions, publisher, limit=3) == 3
    assert outbox.drain(sessions, publisher) == 2
    assert outbox.drain(sessions, publisher) == 0
    assert published(tmp_path, "outcomes") == [b"m-0", b"m-1", b"m-3", b"m-4"]
    assert published(tmp_path, "others") == [b"m-2"]
    with sessions() as session:
        assert all(row.published_at is not None for row in session.query(OutboxRow))


class Away:
    """A publisher whose broker is away."""

    def publish_all(self, topic: str, messages: Mapping[int, Sequence[Message]]) -> None:
        raise Unavailable("broker")

    def publish(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        raise Unavailable("broker")

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        raise Unavailable("broker")

    def close(self) -> None:
        """Nothing to close."""


def test_messages_wait_while_the_publisher_is_away(
    sessions: sessionmaker[Session], publisher: FilePublisher, tmp_path: Path
) -> None:
    write(sessions, 1)
    with pytest.raises(Unavailable):
        outbox.drain(sessions, Away())
    assert outbox.drain(sessions, publisher) == 1
    assert published(tmp_path, "outcomes") == [b"m-1"]


def test_one_drains_at_a_time_and_open_transactions_are_not_waited_for(
    sessions: sessionmaker[Session], publisher: FilePublisher, tmp_path: Path
) -> None:
    """Two at once would let a later message of an account overtake an earlier one."""
    write(sessions, 1)
    with sessions.begin() as other:
        other.execute(text("SELECT pg_advisory_xact_lock(7264913)"))
        assert outbox.drain(sessions, publisher) == 0
    with sessions.begin() as other:
        outbox.write(other, topic="outcomes", key=None, message_id="m-open", payload={}, now=NOW)
        other.flush()
        assert outbox.drain(sessions, publisher) == 1
    assert outbox.drain(sessions, publisher) == 1
    assert published(tmp_path, "outcomes") == [b"m-1", b"m-open"]
