"""Partitions are added: found out, refused, and done so that no answer changes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text

from fraudwatch.casework import dead_letters, layouts, outbox
from fraudwatch.casework.audit import By
from fraudwatch.casework.dead_letters import Selection
from fraudwatch.casework.layouts import Layout
from fraudwatch.casework.models import DeadLetter, Snapshot
from fraudwatch.casework.verify import verify
from fraudwatch.errors import ConfigurationError, Fenced
from fraudwatch.growth import grow
from fraudwatch.pipeline import ForwardPath
from fraudwatch.replay import Replay
from fraudwatch.settings import Settings
from streams.carriers import open_publisher, open_source
from streams.growth import add_partitions, partitions_there, standstill
from streams.partitioner import partitions_of
from streams.source import Message
from streams.topics import create_topics
from tests.pipeline.worlds import KEY, NOW, Installation

Install = Callable[[], Installation]
FEW, MANY = 2, 5


class Stream:
    """An installation on a stream of its own."""

    def __init__(self, here: Installation, url: str, partitions: int) -> None:
        name = uuid.uuid4().hex[:8]
        names = (
            "transactions",
            "labels",
            "decisions",
            "outcomes",
            "dead_letters",
            "audit_heads",
        )
        self.here = here
        self.settings: Settings = here.settings.model_copy(
            update={
                "stream_url": url,
                "partitions": partitions,
                **{f"topic_{topic}": f"{topic}-{name}" for topic in names},
            }
        )
        here.settings = self.settings
        here.register()
        create_topics(self.settings)
        with here.sessions.begin() as session:
            layouts.confirm(session, self.topic, partitions_there(self.settings))

    @property
    def topic(self) -> str:
        return self.settings.topic_transactions

    def send(self, messages: Sequence[Message]) -> None:
        with closing(open_publisher(self.settings, self.here.clock)) as publisher:
            publisher.send(self.topic, messages)

    def work(self) -> ForwardPath:
        """A worker that reads everything there is and stops."""
        with (
            closing(open_publisher(self.settings, self.here.clock)) as publisher,
            closing(open_source(self.settings, self.topic, "workers")) as source,
        ):
            worker = self.here.worker(publisher)
            reached: dict[int, int] = {}
            while len(reached) < partitions_there(self.settings) or reached != source.ends():
                changes = source.changes()
                if changes.assigned:
                    source.start(worker.assign(changes.assigned))
                if batches := source.poll(0.2):
                    worker.process(batches)
                    worker.idle()
                reached = {p: memory.next_offset for p, memory in worker.memory.items()}
            worker.close()
        return worker

    def grow(self, partitions: int = MANY, **options: bool) -> Layout:
        settings = self.settings.model_copy(update={"consumer_group": "workers"})
        return grow(settings, self.here.sessions, partitions, **options)

    def decided(self) -> list[dict[str, Any]]:
        """What was decided, whatever the partition and offset."""
        rows = sorted(self.here.ledger(), key=lambda row: str(row["transaction_id"]))
        return [{k: v for k, v in r.items() if k not in ("partition", "offset")} for r in rows]


def files(folder: Path) -> str:
    return (folder / "stream").as_uri()


def halves(here: Installation) -> tuple[Sequence[Message], Sequence[Message]]:
    messages = here.trained.messages[:300]
    return messages[:150], messages[150:]


@pytest.mark.parametrize("carrier", ["files", "kafka"])
def test_after_growth_everything_is_as_if_it_had_always_been_so(
    install: Install, carrier: str, request: pytest.FixtureRequest
) -> None:
    """Decisions, cases and each partition's memory, from the snapshot and from the ledger."""
    here, other = install(), install()
    urls = [files(here.folder), files(other.folder)]
    if carrier == "kafka":
        urls = [f"kafka://{request.getfixturevalue('kafka_broker').bootstrap}"] * 2
    grown, reference = Stream(here, urls[0], FEW), Stream(other, urls[1], MANY)
    first, second = halves(grown.here)
    grown.send(first)
    grown.work()
    unheard_of = grown.settings.model_copy(update={"consumer_group": uuid.uuid4().hex})
    with standstill(unheard_of) as still:
        assert sum(still.ends.values()) == len(first)
    layout = grown.grow()
    assert (layout.generation, layout.partitions) == (1, MANY)
    assert partitions_there(grown.settings) == MANY
    grown.send(second)
    worker = grown.work()

    reference.send(first)
    reference.send(second)
    expected = reference.work()
    assert grown.decided() == reference.decided()
    assert grown.here.cases() == reference.here.cases()
    states = reference.here.states(expected)
    assert grown.here.states(worker) == states
    with grown.here.sessions.begin() as session:
        assert verify(session, grown.topic).ok
    with grown.here.sessions() as session:
        again = Replay(session, grown.topic, here.open_model, KEY).run()
        assert (again.rows, again.different) == (len(first) + len(second), 0)
    with grown.here.sessions.begin() as session:
        session.execute(delete(Snapshot))
    restarted = grown.here.worker()
    restarted.assign(frozenset(range(MANY)))
    assert grown.here.states(restarted) == states


def test_the_first_snapshot_stands_at_the_growth_and_a_damaged_one_is_made_up_for(
    install: Install,
) -> None:
    """Replaying a partition alone across the growth would give accounts half of their past."""
    here = install()
    stream = Stream(here, files(here.folder), FEW)
    stream.send(halves(here)[0])
    stream.work()
    layout = stream.grow()
    worker = here.worker()
    worker.assign(frozenset(range(MANY)))
    assert all(memory.rows_since_snapshot == 0 for _, memory in worker.memory.items())
    assert {p: m.next_offset for p, m in worker.memory.items()} == dict(layout.bases)
    with here.sessions.begin() as session:
        session.execute(text("UPDATE snapshots SET sha256 = repeat('0', 64)"))
    again = here.worker()
    again.assign(frozenset(range(MANY)))
    assert here.states(again) == here.states(worker)
    assert sum(len(memory.state) for _, memory in worker.memory.items()) > MANY


def test_added_partitions_are_refused_with_the_procedure(install: Install) -> None:
    """At the start by their number, while a worker runs when one of them is assigned."""
    here = install()
    stream = Stream(here, files(here.folder), FEW)
    stream.send(halves(here)[0])
    stream.work()
    add_partitions(stream.settings, FEW + 1)
    worker = here.worker()
    with pytest.raises(ConfigurationError, match="fraudwatch grow"):
        worker.assign(frozenset({FEW}))
    with (
        here.sessions.begin() as session,
        pytest.raises(ConfigurationError, match="fraudwatch grow"),
    ):
        layouts.confirm(session, stream.topic, partitions_there(stream.settings))
    with here.sessions.begin() as session, pytest.raises(ConfigurationError, match="made anew"):
        layouts.confirm(session, stream.topic, FEW - 1)


def test_growth_waits_for_what_is_unread_and_for_workers_to_stop(install: Install) -> None:
    here = install()
    stream = Stream(here, files(here.folder), FEW)
    stream.send(halves(here)[0])
    with pytest.raises(ConfigurationError, match=r"150 messages .* are not decided"):
        stream.grow()
    stream.work()
    with closing(open_source(stream.settings, stream.topic, "workers")) as source:
        assert source.changes().assigned
        with pytest.raises(ConfigurationError, match="stop all workers"):
            stream.grow()
    with pytest.raises(ConfigurationError, match="only more"):
        stream.grow(FEW)
    assert partitions_there(stream.settings) == FEW
    # As after a crash between the carrier's part and the database's: it is done again.
    add_partitions(stream.settings, MANY)
    assert stream.grow().partitions == MANY


def test_partitions_added_by_other_means_can_be_adopted(install: Install) -> None:
    """What was sent since lies where the new number sends it: nothing of it may be decided before
    the pasts have moved."""
    here, other = install(), install()
    stream, reference = (
        Stream(here, files(here.folder), FEW),
        Stream(other, files(other.folder), MANY),
    )
    first, second = halves(here)
    stream.send(first)
    stream.work()
    add_partitions(stream.settings, MANY)
    stream.send(second)
    with pytest.raises(ConfigurationError, match="--adopt"):
        stream.grow()
    stream.grow(adopt=True)
    worker = stream.work()
    reference.send(first)
    reference.send(second)
    expected = reference.work()
    assert stream.decided() == reference.decided()
    assert here.states(worker) == other.states(expected)


def test_a_worker_that_remembers_the_time_before_is_fenced(install: Install) -> None:
    """A frozen worker that nobody saw must neither write a batch nor a snapshot afterwards."""
    here = install()
    stream = Stream(here, files(here.folder), FEW)
    first, second = halves(here)
    stream.send(first)
    stream.work()
    zombie = here.worker()
    zombie.assign(frozenset(range(FEW)))
    stream.grow()
    stream.send(second)
    with closing(open_source(stream.settings, stream.topic, "others")) as source:
        source.start(
            {p: zombie.memory[p].next_offset for p in source.changes().assigned if p < FEW}
        )
        batches = source.poll(1.0)
    with pytest.raises(Fenced):
        zombie.process(batches)
    zombie.assign(frozenset(range(FEW)))
    zombie.memory[0].generation = 0
    with here.sessions.begin() as session, pytest.raises(Fenced):
        zombie.memory.save(session, 0)


def test_a_replay_follows_its_account_to_the_partition_that_it_moved_to(install: Install) -> None:
    """It went back to where it came from: there its account would begin a second past."""
    here = install()
    stream = Stream(here, files(here.folder), FEW)
    movers = [
        (message, int(before), int(after))
        for message, before, after in zip(
            here.trained.messages,
            *(partitions_of([m.key or b"" for m in here.trained.messages], n) for n in (FEW, MANY)),
            strict=True,
        )
        if before != after
    ]
    (good, old, new), (bad, *_) = movers[0], movers[1]
    limit = len(good.value) + 300
    # Under another key than the account: it is the account that has moved.
    with closing(open_publisher(stream.settings, here.clock)) as publisher:
        publisher.publish(stream.topic, old, [Message(b"k", good.value.ljust(limit))])
        publisher.publish(stream.topic, old, [Message(bad.key, bad.value.ljust(2 * limit))])
    here.settings = stream.settings.model_copy(update={"max_message_bytes": limit - 1})
    stream.work()
    stream.grow()
    here.settings = stream.settings.model_copy(update={"max_message_bytes": limit})
    with here.sessions.begin() as session:
        chosen, who = Selection(topic=stream.topic), By("ola", "larger ones are allowed now")
        assert dead_letters.replay(session, here.settings, chosen, who, NOW).messages == 2
    with closing(open_publisher(stream.settings, here.clock)) as publisher:
        outbox.drain(here.sessions, publisher)
    stream.work()
    assert [row["partition"] for row in here.ledger()] == [new]
    with here.sessions() as session:
        letters = [session.get_one(DeadLetter, (stream.topic, old, offset)) for offset in (0, 1)]
        first, second = (dead_letters.chain(session, here.settings, one) for one in letters)
        assert (first.goes_on_in, first.decided_at) == (new, here.ledger()[0]["offset"])
        again = session.get_one(
            DeadLetter, (stream.topic, second.goes_on_in, second.next_dead_letter)
        )
        assert (again.replay_of, again.reason, again.raw) == (1, "oversized", letters[1].raw)
        assert second.goes_on_in == movers[1][2]
    with here.sessions() as session:
        assert verify(session, stream.topic).ok
