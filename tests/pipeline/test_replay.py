"""A dead letter, replayed: through the outbox to its topic, to its partition, to its end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import event, select

from fraudwatch.casework import dead_letters, outbox
from fraudwatch.casework.audit import By
from fraudwatch.casework.dead_letters import Chain, Selection
from fraudwatch.casework.label_intake import LabelIntake
from fraudwatch.casework.models import DeadLetter
from fraudwatch.casework.verify import verify
from fraudwatch.errors import Unavailable
from streams.files import FileSource
from streams.simulator.live import label_message
from streams.source import Handler, Message
from tests.pipeline.worlds import NOW, PARTITIONS, Installation

Install = Callable[[], Installation]
BY = By("ola", "larger messages are allowed now")


def topics(here: Installation) -> None:
    for topic in (here.settings.topic_transactions, here.settings.topic_labels):
        for partition in range(PARTITIONS):
            path = here.folder / topic / f"partition-{partition}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def take_in(here: Installation, topic: str, handler: Handler) -> None:
    """All that the topic holds and was not read yet."""
    source = FileSource(here.folder, topic, "test", max_rows=1000)
    try:
        source.start(handler.assign(source.changes().assigned))
        while found := source.poll(0.1):
            handler.process(found)
        handler.idle()
    finally:
        source.close()


def letters(here: Installation) -> list[DeadLetter]:
    with here.sessions() as session:
        return list(session.scalars(select(DeadLetter).order_by(DeadLetter.offset)))


def chain(here: Installation, letter: DeadLetter) -> Chain:
    with here.sessions() as session:
        return dead_letters.chain(session, here.settings, letter)


def replay(here: Installation, wanted: Selection) -> None:
    with here.sessions.begin() as session:
        assert dead_letters.replay(session, here.settings, wanted, BY, NOW).dead_letters == 1
    while outbox.drain(here.sessions, here.publisher):
        pass


def test_a_transaction_is_decided_after_the_fix_and_the_chain_shows_it(install: Install) -> None:
    here = install()
    topics(here)
    topic = here.settings.topic_transactions
    large, other = here.trained.messages[:2]
    value = large.value + b" " * 300
    here.publisher.publish(topic, 1, [Message(large.key, value), other])
    here.settings = here.settings.model_copy(update={"max_message_bytes": len(value) - 1})
    take_in(here, topic, here.worker())
    [first] = letters(here)
    assert (first.reason, first.offset, first.key) == ("oversized", 0, large.key)

    replay(here, Selection(topic=topic, reason="oversized"))
    take_in(here, topic, here.worker())
    first, again = letters(here)
    assert (again.reason, again.partition, again.offset, again.replay_of) == ("oversized", 1, 2, 0)
    assert chain(here, first).next_dead_letter == 2

    here.settings = here.settings.model_copy(update={"max_message_bytes": len(value)})
    replay(here, Selection(topic=topic, reason="oversized"))
    take_in(here, topic, here.worker())
    assert len(letters(here)) == 2
    assert [(row["partition"], row["offset"]) for row in here.ledger()] == [(1, 1), (1, 3)]
    assert here.ledger()[1]["payload"] == value
    found = chain(here, again)
    assert (found.decided_at, found.next_dead_letter, found.replayed_by) == (3, None, "ola")
    with here.sessions() as session:
        assert verify(session, topic).ok


def test_what_the_sender_sent_again_meanwhile_is_a_duplicate_of_its_replay(
    install: Install,
) -> None:
    """The chain goes on through a repeat as well: no replay ends unseen."""
    here = install()
    topics(here)
    topic = here.settings.topic_transactions
    message = here.trained.messages[0]
    here.settings = here.settings.model_copy(update={"max_message_bytes": 256})
    here.publisher.publish(topic, 0, [Message(message.key, message.value + b" " * 100)])
    take_in(here, topic, here.worker())
    here.settings = here.settings.model_copy(update={"max_message_bytes": 65_536})
    here.publisher.publish(topic, 0, [message])
    replay(here, Selection(topic=topic))
    take_in(here, topic, here.worker())
    first, repeat = letters(here)
    assert (repeat.reason, repeat.replay_of) == ("duplicate", first.offset)
    found = chain(here, first)
    assert (found.decided_at, found.next_dead_letter) == (1, 2)


def test_a_label_is_replayed_to_its_topic(install: Install) -> None:
    here = install()
    topics(here)
    topic = here.settings.topic_labels
    intake = LabelIntake(here.sessions, here.settings, here.clock)
    future = label_message("t-1", NOW.replace(year=NOW.year + 1))
    here.publisher.publish(topic, 1, [future])
    take_in(here, topic, intake)
    [first] = letters(here)
    assert first.reason == "future_time"
    replay(here, Selection(topic=topic))
    here.clock.moment = NOW.replace(year=NOW.year + 2)
    take_in(here, topic, LabelIntake(here.sessions, here.settings, here.clock))
    found = chain(here, first)
    assert (found.decided_at, found.next_dead_letter) == (1, None)


def test_labels_that_are_tried_again_count_once_towards_the_limit(install: Install) -> None:
    """While the database is away the same batch comes again and again; no limit is passed by it."""
    here = install()
    topics(here)
    here.publisher.publish(here.settings.topic_labels, 0, [Message(None, b"garbage")] * 60)
    intake = LabelIntake(here.sessions, here.settings, here.clock)
    source = FileSource(here.folder, here.settings.topic_labels, "test", max_rows=1000)
    try:
        source.start(intake.assign(source.changes().assigned))
        found = source.poll(0.1)
    finally:
        source.close()

    def fail(*_: object) -> None:
        raise Unavailable("database: away")

    event.listen(here.engine, "commit", fail)
    for _ in range(3):
        with pytest.raises(Unavailable):
            intake.process(found)
    event.remove(here.engine, "commit", fail)
    intake.process(found)
    assert len(letters(here)) == 60
