"""`verify` finds every kind of offset that is missing, doubled or out of place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, text
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework.ledger_tables import make_tables
from fraudwatch.casework.models import DeadLetter, LabelRow, LedgerRow, StreamGap, StreamOffset
from fraudwatch.casework.verify import Proof, verify

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def ledger_row(partition: int, offset: int) -> dict[str, object]:
    return {
        "partition": partition,
        "offset": offset,
        "transaction_id": f"t-{partition}-{offset}",
        "account_id": "a",
        "event_time": NOW,
        "amount": 1,
        "currency": "EUR",
        "payload": b"{}",
        "features": b"",
        "features_version": "f",
        "outcome": 0,
        "rule": 0,
        "policy_id": 1,
        "profile_version": "",
        "scored_at": NOW,
    }


def dead_letter(offset: int, end: int, topic: str = "transactions") -> dict[str, object]:
    return {
        "topic": topic,
        "partition": 0,
        "offset": offset,
        "next_offset": end,
        "reason": "damaged",
        "raw": b"",
    }


@pytest.fixture
def sound(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """Offsets 2 to 9: rows 2, 3, 6, 8; a damaged range 4-5; 7 empty."""
    with sessions.begin() as session:
        make_tables(session, [NOW.date()], NOW.date())
        session.execute(
            insert(StreamOffset).values(
                topic="transactions",
                partition=0,
                first_offset=2,
                next_offset=9,
                published_offset=6,
            )
        )
        session.execute(insert(LedgerRow), [ledger_row(0, offset) for offset in (2, 3, 6, 8)])
        session.execute(insert(DeadLetter), [dead_letter(4, 6)])
        session.execute(
            insert(StreamGap).values(
                topic="transactions", partition=0, first_offset=7, next_offset=8, reason="empty"
            )
        )
    return sessions


def proof(sessions: sessionmaker[Session]) -> Proof:
    with sessions() as session:
        return verify(session, "transactions")


def test_a_sound_partition_adds_up(sound: sessionmaker[Session]) -> None:
    found = proof(sound)
    (partition,) = found.partitions
    assert found.ok
    assert (partition.read, partition.rows, partition.dead_letters, partition.empty) == (7, 4, 2, 1)
    assert (partition.missing, partition.doubled, partition.unpublished) == (0, 0, 3)
    assert found.as_dict()["ok"] is True


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE stream_offsets SET next_offset = 12", {"missing": 3}),
        ("UPDATE stream_offsets SET first_offset = 0", {"missing": 2}),
        ("UPDATE stream_gaps SET first_offset = 6", {"doubled": 1}),
        ("UPDATE stream_gaps SET next_offset = 9", {"doubled": 1}),
        ("DELETE FROM stream_gaps", {"missing": 1}),
        ("UPDATE stream_gaps SET reason = 'expired'", {"expired": 1}),
        (
            "UPDATE stream_offsets SET next_offset = 8, published_offset = 6",
            {"beyond": 1, "missing": 0},
        ),
    ],
)
def test_faults_are_found(sound: sessionmaker[Session], change: str, fault: dict[str, int]) -> None:
    with sound.begin() as session:
        session.execute(text(change))
    found = proof(sound)
    (partition,) = found.partitions
    assert not found.ok
    assert {name: getattr(partition, name) for name in fault} == fault


def test_rows_of_a_partition_that_was_never_read_are_found(sound: sessionmaker[Session]) -> None:
    with sound.begin() as session:
        session.execute(insert(LedgerRow), [ledger_row(7, 0)])
    assert not proof(sound).ok


@pytest.mark.parametrize(
    ("moments", "doubled"),
    [
        ([timedelta(hours=2, minutes=50), timedelta(hours=3, minutes=40)], 1),  # one table, 2 hours
        ([timedelta(hours=2, minutes=50), timedelta(hours=4)], 0),  # another transaction
        ([timedelta(hours=23, minutes=30), timedelta(hours=24, minutes=20)], 1),  # over midnight
        ([timedelta(hours=23, minutes=10), timedelta(hours=24, minutes=20)], 0),
    ],
)
def test_an_id_that_was_decided_twice_is_found(
    sound: sessionmaker[Session], moments: list[timedelta], doubled: int
) -> None:
    with sound.begin() as session:
        make_tables(session, [NOW.date() + timedelta(days=1)], NOW.date())
        session.execute(text("UPDATE stream_offsets SET next_offset = 11"))
        session.execute(
            insert(LedgerRow),
            [
                ledger_row(0, 9 + number) | {"transaction_id": "twice", "event_time": NOW + moment}
                for number, moment in enumerate(moments)
            ],
        )
    found = proof(sound)
    assert (found.doubled_transactions, found.ok) == (doubled, not doubled)


def test_labels_are_accounted_for_like_transactions(sound: sessionmaker[Session]) -> None:
    with sound.begin() as session:
        session.execute(
            insert(StreamOffset).values(
                topic="labels", partition=0, first_offset=0, next_offset=2, published_offset=0
            )
        )
        session.execute(
            insert(LabelRow).values(
                transaction_id="t",
                fraud=True,
                source="chargeback",
                precedence=30,
                known_at=NOW,
                topic="labels",
                partition=0,
                offset=0,
            )
        )
    assert [(p.topic, p.missing) for p in proof(sound).partitions] == [
        ("labels", 1),
        ("transactions", 0),
    ]
    with sound.begin() as session:
        session.execute(insert(DeadLetter), [dead_letter(1, 2, "labels")])
    assert proof(sound).ok
