"""Late truth from the labels topic: each message once, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import select

from fraudwatch.casework.label_intake import LabelIntake
from fraudwatch.casework.models import DeadLetter, LabelRow
from fraudwatch.casework.verify import verify
from fraudwatch.errors import Fenced
from streams.simulator.live import label_message
from streams.source import Message, RecordBatch
from tests.pipeline.worlds import NOW, Installation

Install = Callable[[], Installation]


def label_batch(first: int, messages: list[Message]) -> RecordBatch:
    n = len(messages)
    return RecordBatch(
        "fraudwatch.labels",
        0,
        first,
        first + n,
        list(range(first, first + n)),
        [message.key for message in messages],
        [message.value for message in messages],
        [0] * n,
    )


def intake(here: Installation) -> LabelIntake:
    found = LabelIntake(here.sessions, here.settings, here.clock)
    assert set(found.assign(frozenset({0}))) == {0}
    return found


def test_labels_come_in_once_and_bad_ones_are_put_aside(install: Install) -> None:
    here = install()
    first = intake(here)
    messages = [label_message("t-1", NOW), Message(b"t-2", b'{"fraud": 1}')]
    first.process([label_batch(0, messages)])
    first.process([label_batch(0, [*messages, label_message("t-3", NOW)])])
    with here.sessions() as session:
        labels = session.scalars(select(LabelRow).order_by(LabelRow.offset)).all()
        dead = session.scalars(select(DeadLetter)).all()
    with here.sessions() as session:
        assert verify(session, "transactions").ok
    assert [(row.transaction_id, row.fraud, row.source, row.known_at) for row in labels] == [
        ("t-1", True, "chargeback", NOW),
        ("t-3", True, "chargeback", NOW),
    ]
    assert [(row.topic, row.offset) for row in dead] == [("fraudwatch.labels", 1)]
    told = json.loads(here.published_outbox()[0])
    assert told["topic"] == "fraudwatch.labels"


def test_of_two_readers_one_is_fenced(install: Install) -> None:
    here = install()
    one, two = intake(here), intake(here)
    messages = [label_message("t-1", NOW)]
    one.process([label_batch(0, messages)])
    with pytest.raises(Fenced):
        two.process([label_batch(0, messages)])
    with here.sessions() as session:
        assert len(session.scalars(select(LabelRow)).all()) == 1
