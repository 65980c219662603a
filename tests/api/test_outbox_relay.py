"""The outbox keeps up with a flood of dead letters."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import outbox
from fraudwatch.casework.models import OutboxRow
from fraudwatch.clock import FixedClock
from fraudwatch.telemetry import REGISTRY
from streams.dead_letters import MESSAGE_ID
from streams.file_lines import decode_line, partition_path
from streams.files import FilePublisher
from tests.api.seed import NOW


def test_relay_goes_on_until_nothing_waits_and_no_longer_than_it_may(
    sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """A batch of duplicates makes 2,000 messages: of 500 a batch, the rest stayed behind."""
    path = partition_path(tmp_path, "letters", 0)
    path.parent.mkdir()
    path.touch()
    publisher = FilePublisher(tmp_path, FixedClock(NOW))
    ids = [f"m-{n}".encode() for n in range(2 * outbox.CHUNK + 1)]
    with sessions.begin() as session:
        session.execute(
            insert(OutboxRow),
            [
                {"topic": "letters", "message_id": i.decode(), "payload": b"", "created_at": NOW}
                for i in ids
            ],
        )

    def published() -> list[bytes]:
        return [dict(decode_line(line)[2])[MESSAGE_ID] for line in path.read_bytes().splitlines()]

    assert outbox.relay(sessions, publisher, seconds=0)
    assert published() == ids[: outbox.CHUNK]
    assert REGISTRY.get_sample_value("fraudwatch_outbox_backlog_messages") == outbox.CHUNK + 1
    assert not outbox.relay(sessions, publisher, monotonic=lambda: 0.0)
    assert published() == ids
    assert REGISTRY.get_sample_value("fraudwatch_outbox_backlog_messages") == 0
