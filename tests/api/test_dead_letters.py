"""Dead letters: found, looked into with a reason, replayed once, and what becomes of them."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import dead_letter_limits, dead_letters, gaps
from fraudwatch.casework.audit import By
from fraudwatch.casework.dead_letters import Replayed, Selection
from fraudwatch.casework.models import (
    AuditRow,
    DeadLetter,
    DeadLetterReplay,
    OutboxRow,
    StreamGap,
    StreamOffset,
)
from fraudwatch.casework.verify import verify
from fraudwatch.domain.access import Role
from fraudwatch.errors import Conflict, DeadLetterLimit, Invalid, NotFound
from fraudwatch.settings import Settings
from streams.dead_letters import DeadLetterGuard
from tests.api.conftest import Api
from tests.api.seed import NOW
from tests.unit.test_dead_letters import bad
from tests.unit.test_kafka_records import numbered

SECRET = b'{"account_id": "acc-000000000111"}'
BY = By("ola", "the currency is known now")


def letter(offset: int, **changes: object) -> dict[str, object]:
    return {
        "topic": "transactions",
        "partition": 1,
        "offset": offset,
        "next_offset": offset + 1,
        "reason": "unknown_currency",
        "raw": SECRET,
        "size": len(SECRET),
        "key": b"acc-000000000111",
        "created_at": NOW,
    } | changes


def put(sessions: sessionmaker[Session], *letters: dict[str, object]) -> None:
    with sessions.begin() as session:
        session.execute(insert(DeadLetter), list(letters))


def replay(
    sessions: sessionmaker[Session], settings: Settings, wanted: Selection, **how: object
) -> Replayed:
    with sessions.begin() as session:
        return dead_letters.replay(session, settings, wanted, BY, NOW, **how)  # type: ignore[arg-type]


def outbox(sessions: sessionmaker[Session]) -> list[tuple[object, ...]]:
    with sessions() as session:
        rows = session.query(OutboxRow).order_by(OutboxRow.id)
        return [(r.topic, r.partition, r.key, r.message_id, r.payload) for r in rows]


def test_a_replay_goes_once_into_its_own_partition_with_its_key(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    """Another partition would give the account two pasts; a second message, a second answer."""
    put(sessions, letter(7), letter(5, key=b"\xff\x00"), letter(9, reason="not_json"))
    wanted = Selection(reason="unknown_currency")
    assert replay(sessions, settings, wanted, dry_run=True).messages == 2
    assert outbox(sessions) == []
    assert replay(sessions, settings, wanted).dead_letters == 2
    assert outbox(sessions) == [
        ("transactions", 1, None, "replay:5", SECRET),
        ("transactions", 1, "acc-000000000111", "replay:7", SECRET),
    ]
    assert replay(sessions, settings, wanted).dead_letters == 0
    assert len(outbox(sessions)) == 2
    with sessions() as session:
        rows = session.query(DeadLetterReplay).order_by(DeadLetterReplay.offset)
        assert [(r.offset, r.replayed_by, r.why) for r in rows] == [
            (5, BY.name, BY.why),
            (7, BY.name, BY.why),
        ]
        [told] = session.query(AuditRow).filter_by(action="dead-letters.replay")
        assert (told.data["dead_letters"], told.data["by"]) == (2, "ola")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"reason": "duplicate"}, "decided already"),
        ({"reason": "oversized", "size": 10_000_000}, "only its first bytes were kept"),
        ({"raw": b"x" * 900_000, "size": 900_000}, "no broker would take it"),
        ({"reason": "damaged", "raw": b"", "size": None}, "not kept as a whole"),
        ({"reason": "damaged", "raw": numbered(9, 7)[:100], "size": None}, "not kept as a whole"),
        ({"reason": "damaged", "raw": numbered(9, 7)[:-1] + b"?"}, "checksum does not fit"),
        ({"topic": "another"}, "not read any more"),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_its_cause(
    sessions: sessionmaker[Session], settings: Settings, changes: dict[str, object], cause: str
) -> None:
    put(sessions, letter(7, **changes))
    done = replay(sessions, settings, Selection())
    assert (done.dead_letters, done.messages, outbox(sessions)) == (0, 0, [])
    [(found, count)] = done.refused.items()
    assert count == 1
    assert cause in found


def test_a_damaged_batch_that_can_be_read_by_now_is_replayed_message_by_message(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    """For example one that was packed with a codec nobody had; only the range that was lost."""
    put(sessions, letter(22, next_offset=24, reason="damaged", raw=numbered(5, 20), size=None))
    done = replay(sessions, settings, Selection())
    assert (done.dead_letters, done.messages) == (1, 2)
    assert [row[4] for row in outbox(sessions)] == [b"2", b"3"]


def test_many_are_replayed_in_parts(sessions: sessionmaker[Session], settings: Settings) -> None:
    put(sessions, *(letter(n, reason="duplicate" if n % 2 else "not_json") for n in range(10)))
    after, sent, parts = None, 0, 0
    while True:
        done = replay(sessions, settings, Selection(), after=after, limit=4)
        sent, parts, after = sent + done.dead_letters, parts + 1, done.last
        if after is None:
            break
    assert (sent, parts) == (5, 3)
    assert [row[3] for row in outbox(sessions)] == [f"replay:{n}" for n in range(0, 10, 2)]


def test_a_replay_and_its_mark_are_never_changed(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    put(sessions, letter(7))
    replay(sessions, settings, Selection())
    for statement in (
        "DELETE FROM dead_letter_replays",
        "UPDATE dead_letter_replays SET replayed_by = 'x'",
        "DELETE FROM dead_letter_accepts",
    ):
        with sessions.begin() as session, pytest.raises(DBAPIError, match="never changed"):
            session.execute(text(statement))


def test_the_content_is_shown_with_a_permission_and_a_reason_only(
    api: Api, sessions: sessionmaker[Session]
) -> None:
    put(sessions, letter(7))
    place = "/v1/dead-letters/transactions/1/7"
    for role in (Role.RISK_OFFICER, Role.AUDITOR):
        for path in ("/v1/dead-letters", place):
            answer = api.program(role).get(path)
            assert answer.status_code == 200
            assert "000000000111" not in answer.text
    assert api.program(Role.AUDITOR).post(f"{place}/reveal", json={"why": "x"}).status_code == 403
    officer = api.program(Role.RISK_OFFICER)
    assert officer.post(f"{place}/reveal", json={"why": " "}).status_code == 422
    assert officer.post(f"{place}/reveal", json={}).status_code == 422
    shown = officer.post(f"{place}/reveal", json={"why": "the sender asks"}).json()
    assert (base64.b64decode(shown["raw"]), shown["complete"]) == (SECRET, True)
    [told] = [row for row in api.rows(AuditRow) if row.action == "dead-letter.reveal"]
    assert (told.actor, told.subject) == (
        "risk_officer-user",
        "dead-letter:transactions:1:7",
    )
    assert told.data == {"by": "risk_officer-user", "why": "the sender asks"}


def test_the_api_lists_by_what_is_asked_and_replays(
    api: Api, sessions: sessionmaker[Session]
) -> None:
    later = NOW + timedelta(hours=1)
    put(
        sessions,
        letter(7),
        letter(8, reason="not_json", created_at=later),
        letter(9, topic="fraudwatch.labels", partition=0),
    )
    officer = api.program(Role.RISK_OFFICER)

    def offsets(**query: str) -> list[int]:
        answer = officer.get("/v1/dead-letters", params=query).json()
        return [item["offset"] for item in answer["items"]]

    assert offsets() == [8, 7, 9]
    assert offsets(reason="not_json") == [8]
    assert offsets(topic="transactions", partition="1") == [8, 7]
    assert offsets(since=later.isoformat()) == [8]
    assert offsets(until=later.isoformat()) == [7, 9]
    page = officer.get("/v1/dead-letters", params={"limit": 2}).json()
    assert offsets(cursor=page["next_cursor"]) == [9]
    asked = {"why": "mended", "topic": "transactions"}
    dry = officer.post("/v1/dead-letters/replay", json=asked | {"dry_run": True}).json()
    assert dry == {"dead_letters": 2, "messages": 2, "refused": {}, "next_cursor": None}
    one = "/v1/dead-letters/transactions/1/7/replay"
    assert officer.post(one, json={"why": "mended"}).json()["dead_letters"] == 1
    assert officer.post(one, json={"why": "mended"}).status_code == 409
    assert officer.post("/v1/dead-letters/replay", json=asked).json()["dead_letters"] == 1
    assert offsets(replayed="true") == [8, 7]
    assert offsets(replayed="false") == [9]
    shown = officer.get("/v1/dead-letters/transactions/1/7").json()
    assert (shown["replayed_by"], shown["why"]) == ("risk_officer-user", "mended")
    assert officer.get("/v1/dead-letters/transactions/1/700").status_code == 404


@pytest.fixture
def partition(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """Offsets 0 to 2,000 of a partition read."""
    with sessions.begin() as session:
        session.execute(
            insert(StreamOffset).values(
                topic="transactions",
                partition=1,
                first_offset=0,
                next_offset=2000,
                published_offset=0,
            )
        )
    return sessions


def guard(sessions: sessionmaker[Session], end: int = 2000) -> DeadLetterGuard:
    with sessions() as session:
        return dead_letter_limits.guard(session, "transactions", 1, end, share=0.2, consecutive=50)


def test_a_restarted_worker_remembers_the_share_of_bad_messages(
    partition: sessionmaker[Session],
) -> None:
    """Stopped and started again by a supervisor, it would else drain a topic by 200 at a time."""
    put(partition, *(letter(n) for n in range(1001, 2000, 5)))
    with pytest.raises(DeadLetterLimit, match="20% of the last 1000"):
        guard(partition).observe([], [bad(2000), bad(2001)])


def test_gaps_and_ranges_are_no_messages_and_repeats_are_good_ones(
    partition: sessionmaker[Session],
) -> None:
    """A topic written with transactions has a control record after each message."""
    put(
        partition,
        *(letter(n) for n in range(0, 1000, 5)),
        letter(1000, next_offset=1990, reason="damaged"),
        *(letter(n, reason="duplicate") for n in range(1990, 1995)),
    )
    with partition.begin() as session:
        gap = StreamGap(
            topic="transactions", partition=1, first_offset=1995, next_offset=2000, reason="empty"
        )
        session.add(gap)
    # 5 repeats, 1 damaged range, 994 messages before offset 1,000 of which 199 were bad
    watch = guard(partition)
    watch.observe([], [bad(2000)])
    with pytest.raises(DeadLetterLimit, match="20% of the last 1000"):
        watch.observe([], [bad(n) for n in range(2001, 2004)])


def test_a_person_accepts_bad_messages_up_to_an_offset(partition: sessionmaker[Session]) -> None:
    put(partition, *(letter(n) for n in range(1950, 2000)))
    flood = [bad(n) for n in range(2000, 2400)]
    with pytest.raises(DeadLetterLimit, match="dead-letters accept transactions 1 2400`"):
        guard(partition).observe([], flood)
    with partition.begin() as session:
        dead_letter_limits.accept(session, "transactions", 1, 2400, BY, NOW)
    watch = guard(partition)
    watch.observe([], flood)
    watch.observe([], [bad(n) for n in range(2400, 2450)])
    with pytest.raises(DeadLetterLimit, match="51 bad messages in a row"):
        watch.observe([], [bad(2450)])
    with partition.begin() as session:
        with pytest.raises(Conflict):
            dead_letter_limits.accept(session, "transactions", 1, 2400, BY, NOW)
        with pytest.raises(NotFound):
            dead_letter_limits.accept(session, "transactions", 7, 2400, BY, NOW)
        [told] = session.query(AuditRow).filter_by(action="dead-letters.accept")
        assert told.data == {"by": "ola", "why": BY.why, "from": 2000, "until": 2400}


def test_what_has_been_read_needs_no_accepting(partition: sessionmaker[Session]) -> None:
    with partition.begin() as session, pytest.raises(Invalid, match="read up to offset 2000"):
        dead_letter_limits.accept(session, "transactions", 1, 1500, BY, NOW)


def test_an_acknowledged_loss_is_shown_and_no_fault_any_more(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        session.execute(
            insert(StreamOffset).values(
                topic="transactions", partition=0, first_offset=0, next_offset=9, published_offset=9
            )
        )
        session.add_all(
            StreamGap(
                topic="transactions", partition=0, first_offset=a, next_offset=b, reason=reason
            )
            for a, b, reason in ((0, 7, "expired"), (7, 9, "empty"))
        )
    with sessions() as session:
        before = verify(session, "transactions")
    assert (before.ok, before.partitions[0].expired) == (False, 7)
    with sessions.begin() as session:
        assert [gap.next_offset for gap in gaps.expired(session)] == [7]
        gaps.acknowledge(session, "transactions", 0, 0, BY, NOW)
    with sessions() as session:
        after = verify(session, "transactions")
        [told] = session.query(AuditRow).filter_by(action="gap.acknowledge")
    assert (after.ok, after.partitions[0].expired, after.partitions[0].acknowledged) == (True, 0, 7)
    assert told.data == {"by": "ola", "why": BY.why, "from": 0, "until": 7}
    with sessions.begin() as session:
        with pytest.raises(Conflict):
            gaps.acknowledge(session, "transactions", 0, 0, BY, NOW)
        with pytest.raises(NotFound):
            gaps.acknowledge(session, "transactions", 0, 7, BY, NOW)
