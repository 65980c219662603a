"""What only Kafka has: transactions, damage on disk, retention, outages, groups, two writers."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from fraudwatch.clock import SystemClock
from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.settings import Settings, load_settings
from streams import kafka as kafka_source
from streams.carriers import open_publisher, open_source
from streams.kafka import KafkaSource
from streams.kafka_publisher import KafkaPublisher
from streams.source import Message
from streams.topics import create_topics, topics
from tests.contract.carriers import PATIENCE, Kafka, Reader, poll_until
from tests.kafka_broker import Broker, free_ports

pytestmark = pytest.mark.kafka


@pytest.fixture
def kafka(kafka_broker: Broker) -> Iterator[Kafka]:
    with ExitStack() as stack:
        yield Kafka(kafka_broker.bootstrap, stack)


# kafka-python leaves a socket whose connection is refused to the garbage collector.
leaves_sockets = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def collected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Collects what the clients of a test left, while the warning is still ignored.

    Log records would keep it alive: they hold the errors, those their frames, those the sockets.
    """
    caplog.set_level(logging.CRITICAL, logger="kafka")
    yield
    gc.collect()


def numbered(count: int, first: int = 0) -> list[Message]:
    return [Message(b"key", b"%d" % number) for number in range(first, first + count)]


def wait_for(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def transactions(kafka: Kafka, topic: str, *, commit: list[bool]) -> None:
    """One transaction of three messages for each entry, committed or aborted."""
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=topic, max_block_ms=20_000
    )
    with closing(producer):
        producer.init_transactions()
        for number, keeps in enumerate(commit):
            producer.begin_transaction()
            for part in range(3):
                producer.send(topic, b"%d-%d" % (number, part), partition=0)
            producer.flush()
            if keeps:
                producer.commit_transaction()
            else:
                producer.abort_transaction()


@pytest.mark.parametrize("commit", [[True, False, True], [False], [True]])
def test_aborted_transactions_leave_gaps_that_are_read_past(
    kafka: Kafka, commit: list[bool]
) -> None:
    """Their offsets, and those of control records, are in neither list, but are passed, also
    where nothing follows them: lag must come to zero."""
    topic = kafka.new_topic(1)
    transactions(kafka, topic, commit=commit)
    reader = Reader(kafka.source(topic))
    reader.until(lambda: reader.next_offset(0) == 4 * len(commit))
    expected = [
        (4 * number + part, b"%d-%d" % (number, part))
        for number, keeps in enumerate(commit)
        for part in range(3)
        if keeps
    ]
    assert [(row[1], row[3]) for row in reader.rows()] == expected
    assert reader.source.ends() == {0: 4 * len(commit)}
    assert not any(batch.damaged for batch in reader.batches)


def test_messages_deleted_before_they_were_read_are_reported(kafka: Kafka) -> None:
    """Retention must not swallow messages in silence."""
    topic = kafka.new_topic(1)
    kafka.publisher().publish(topic, 0, numbered(10))
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.delete_records({TopicPartition(topic, 0): 6})
    reader = Reader(kafka.source(topic), {0: 2})
    assert [row[1] for row in reader.read(4)] == [6, 7, 8, 9]
    [damaged] = [d for batch in reader.batches for d in batch.damaged]
    assert (damaged.first_offset, damaged.next_offset) == (2, 6)
    assert "retention" in damaged.reason
    fresh = Reader(kafka.source(topic, "new"), {0: 0})
    assert [row[1] for row in fresh.read(4)] == [6, 7, 8, 9]
    assert not any(batch.damaged for batch in fresh.batches), "0 is the oldest there is"


def test_tombstones_are_empty_values(kafka: Kafka) -> None:
    topic = kafka.new_topic(1)
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
        producer.send(topic, key=b"k", value=None).get(timeout=20)
    reader = Reader(kafka.source(topic))
    assert reader.read(1) == [(0, 0, b"k", b"")]


@pytest.mark.parametrize("codec", [None, "gzip", "lz4", "zstd"])
def test_what_other_producers_compress_is_read(kafka: Kafka, codec: str | None) -> None:
    topic = kafka.new_topic(1)
    values = [b"%d" % number * 50 for number in range(200)]
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type=codec)
    with closing(producer):
        for value in values:
            producer.send(topic, value, key=b"k", headers=[("h", b"1")])
        producer.flush(20)
    reader = Reader(kafka.source(topic, max_rows=70))
    reader.read(200)
    assert reader.values(0) == values
    assert {headers for batch in reader.batches for headers in batch.headers} == {(("h", b"1"),)}


def test_bulk_and_plain_publishing_write_the_same(kafka: Kafka) -> None:
    """The bulk way uses parts of the client that are not public: it must do what the public
    one does, as the client's own consumer sees it."""
    topics = {bulk: kafka.new_topic(3) for bulk in (True, False)}
    messages = [
        Message(
            None if number % 7 == 0 else b"account-%d" % (number % 40),
            bytes([number % 256]) * (number * 37 % 3000),
            (("transaction_id", b"%d" % number), ("odd", b"\xff\x00")) if number % 3 else (),
        )
        for number in range(2000)
    ]
    seen = {}
    for bulk, topic in topics.items():
        publisher = kafka.publisher(bulk=bulk)
        publisher.publish_all(topic, {0: messages[:900], 2: messages[900:1000]})
        publisher.send(topic, messages[1000:])
        seen[bulk] = read_by_client(kafka, topic, len(messages))
    assert seen[True] == seen[False]


def read_by_client(kafka: Kafka, topic: str, count: int) -> list[tuple[object, ...]]:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", group_id=None
    )
    with closing(consumer):
        records: list[tuple[object, ...]] = []
        while len(records) < count:
            found = consumer.poll(timeout_ms=int(PATIENCE * 1000))
            assert found, "waited in vain"
            records += [
                (r.partition, r.offset, r.key, r.value, tuple(r.headers), r.timestamp_type)
                for rows in found.values()
                for r in rows
            ]
    return sorted(records, key=lambda record: record[:2])


@pytest.mark.parametrize("bulk", [True, False])
def test_both_ways_of_publishing_name_unknown_topics(kafka: Kafka, bulk: bool) -> None:
    publisher = kafka.publisher(bulk=bulk, timeout=2)
    with pytest.raises(ConfigurationError, match="fraudwatch topics"):
        publisher.send("nowhere-at-all", numbered(1))


def test_committed_offsets_are_seen_by_lag_tools(kafka: Kafka) -> None:
    topic = kafka.new_topic(1)
    kafka.publisher().publish(topic, 0, numbered(5))
    reader = Reader(kafka.source(topic, "lag"))
    reader.read(5)
    reader.source.committed({0: 5})
    partition = TopicPartition(topic, 0)
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:

        def committed() -> bool:
            reader.poll(0)
            group = f"lag-{topic}"
            offsets = admin.list_group_offsets([group])[group]
            return partition in offsets and offsets[partition].offset == 5

        wait_for(committed)


def test_a_paused_member_takes_part_in_rebalances(kafka: Kafka) -> None:
    """While the database is away the worker only calls `poll(0)`: the group must go on."""
    topic = kafka.new_topic(2)
    kafka.publisher().publish_all(topic, {0: numbered(5), 1: numbered(5)})
    one = Reader(kafka.source(topic))
    one.read(10)
    one.source.pause()
    two = Reader(kafka.source(topic))

    def shared() -> bool:
        one.poll(0)
        return len(one.owned) == len(two.owned) == 1

    poll_until([two], shared)
    two.source.close()

    def back() -> bool:
        assert one.poll(0) == []
        time.sleep(0.02)
        return one.owned == {0, 1}

    wait_for(back)
    one.source.resume()
    one.until(lambda: len(one.rows()) >= 15)


def test_a_partition_that_stays_is_not_reported_as_moved(kafka: Kafka) -> None:
    """Dropping and loading state of a partition that never left would stop it for nothing."""
    topic = kafka.new_topic(4)
    one = Reader(kafka.source(topic))
    one.until(lambda: len(one.owned) == 4)
    source = kafka.source(topic)
    lost: set[int] = set()
    gained: set[int] = set()
    taken: frozenset[int] = frozenset()
    deadline = time.monotonic() + PATIENCE
    while len(taken) < 2:
        assert time.monotonic() < deadline
        source.poll(0.05)
        taken |= source.changes().assigned
        one.source.poll(0.05)
        changes = one.source.changes()
        lost |= changes.revoked
        gained |= changes.assigned
    assert lost == taken
    assert gained == set()


def test_a_static_member_that_restarts_causes_no_rebalance(kafka: Kafka) -> None:
    topic = kafka.new_topic(4)
    one = Reader(kafka.source(topic, worker_id="w1", session_seconds=30))
    two = Reader(kafka.source(topic, worker_id="w2", session_seconds=30))
    poll_until([one, two], lambda: len(one.owned) == len(two.owned) == 2)
    had, moved = set(two.owned), one.moves
    two.source.close()
    again = Reader(kafka.source(topic, worker_id="w2", session_seconds=30))
    again.until(lambda: again.owned == had)
    kafka.publisher().publish_all(topic, {number: numbered(1) for number in range(4)})
    poll_until([one, again], lambda: len(one.rows()) == len(again.rows()) == 2)
    assert one.moves == moved, "the other one kept what it had, all the time"


def test_ends_are_asked_for_when_nothing_comes(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that stopped fetching would go on to show no lag, and nobody would know."""
    topic = kafka.new_topic(1)
    publisher = kafka.publisher()
    publisher.publish(topic, 0, numbered(5))
    reader = Reader(kafka.source(topic))
    reader.read(5)
    reader.source.pause()
    publisher.publish(topic, 0, numbered(5))
    assert reader.source.ends() == {0: 5}
    monkeypatch.setattr(kafka_source, "QUIET_SECONDS", 0.0)
    assert reader.source.ends() == {0: 10}


def test_a_rebalance_that_waits_for_others_is_told(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read meanwhile: it must not look like a worker that hangs."""
    topic = kafka.new_topic(2)
    one, two = Reader(kafka.source(topic)), Reader(kafka.source(topic))
    one.until(lambda: len(one.owned) == 2)
    monkeypatch.setattr(kafka_source, "GROUP_SECONDS", 0.3)
    monkeypatch.setattr(kafka_source, "REBALANCE_SECONDS", 0.1)
    with pytest.raises(Unavailable, match="other members"):
        two.until(lambda: False)
    monkeypatch.undo()
    poll_until([one, two], lambda: len(one.owned) == len(two.owned) == 1)


def test_a_session_time_that_the_broker_does_not_take_is_told(kafka: Kafka) -> None:
    reader = Reader(kafka.source(kafka.new_topic(1), session_seconds=7200))
    with pytest.raises(ConfigurationError, match="FRAUDWATCH_SESSION_SECONDS"):
        reader.until(lambda: False)


def test_two_workers_with_one_name_are_told(kafka: Kafka) -> None:
    topic = kafka.new_topic(1)
    one = Reader(kafka.source(topic, worker_id="w1"))
    one.until(lambda: one.owned == {0})
    two = Reader(kafka.source(topic, worker_id="w1"))
    with pytest.raises(ConfigurationError, match="FRAUDWATCH_WORKER_ID"):
        poll_until([two, one], lambda: False)


@leaves_sockets
@pytest.mark.usefixtures("collected")
def test_no_broker_at_all_is_unavailable() -> None:
    """For each of the three that connect, within the time given."""
    [port] = free_ports(1)
    nowhere = f"127.0.0.1:{port}"
    with pytest.raises(Unavailable):
        KafkaSource(nowhere, "topic", "g", connect_seconds=1)
    for bulk in (True, False):
        with (
            closing(KafkaPublisher(nowhere, SystemClock(), timeout=1, bulk=bulk)) as publisher,
            pytest.raises(Unavailable),
        ):
            publisher.publish("topic", 0, numbered(1))


@leaves_sockets
@pytest.mark.usefixtures("collected")
def test_a_broker_that_goes_away_and_comes_back(
    own_kafka_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, started again, frozen, thawed: errors are `Unavailable`, nothing is lost."""
    broker = own_kafka_broker
    with ExitStack() as stack:
        kafka = Kafka(broker.bootstrap, stack)
        topic = kafka.new_topic(2)
        publisher = kafka.publisher(timeout=3)
        publisher.publish_all(topic, {0: numbered(5), 1: numbered(5)})
        reader = Reader(kafka.source(topic))
        reader.read(10)

        broker.kill()
        with pytest.raises(Unavailable):
            reader.until(lambda: False)
        with pytest.raises(Unavailable):
            publisher.publish(topic, 0, numbered(5, 5))
        broker.start()

        def read_on() -> bool:
            try:
                reader.poll(0.2)
            except Unavailable:
                return False
            return len(reader.owned) == 2 and b"9" in reader.values(0)

        wait_for(lambda: published(publisher, topic, numbered(5, 5)))
        wait_for(read_on)

        broker.freeze()
        with pytest.raises(Unavailable):
            publisher.publish(topic, 0, numbered(1, 10))
        assert reader.poll(0) == []
        # its connections are open and its silence is no news: so it is asked
        monkeypatch.setattr(kafka_source, "QUIET_SECONDS", 0.0)
        monkeypatch.setattr(kafka_source, "LOOKUP_SECONDS", 1)
        with pytest.raises(Unavailable):
            reader.source.ends()
        broker.thaw()
        wait_for(lambda: published(publisher, topic, [Message(None, b"last")]))
        reader.until(lambda: b"last" in reader.values(0))


def published(publisher: KafkaPublisher, topic: str, messages: list[Message]) -> bool:
    try:
        publisher.publish(topic, 0, messages)
    except Unavailable:
        return False
    return True


def test_a_batch_damaged_on_disk_is_passed_over(kafka_broker: Broker) -> None:
    """Its offsets are reported with what stood there; what follows is read."""
    broker = kafka_broker
    with ExitStack() as stack:
        kafka = Kafka(broker.bootstrap, stack)
        topic = kafka.new_topic(1)
        publisher = kafka.publisher()
        ends = []
        for first in range(0, 15, 5):
            publisher.publish(topic, 0, numbered(5, first))
            ends.append(broker.segment(topic, 0).stat().st_size)
        with broker.segment(topic, 0).open("r+b") as segment:
            segment.seek(ends[1] - 3)
            byte = segment.read(1)
            segment.seek(ends[1] - 3)
            segment.write(bytes([byte[0] ^ 1]))
        reader = Reader(kafka.source(topic, max_rows=3))
        rows = reader.read(10)
        assert [row[1] for row in rows] == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
        [damaged] = [d for batch in reader.batches for d in batch.damaged]
        assert (damaged.first_offset, damaged.next_offset) == (5, 10)
        assert len(damaged.raw) == ends[1] - ends[0]
        # from the middle of the damaged batch: only what was asked for
        middle = Reader(kafka.source(topic, "middle"), {0: 7})
        assert [row[1] for row in middle.read(5)] == [10, 11, 12, 13, 14]
        [damaged] = [d for batch in middle.batches for d in batch.damaged]
        assert (damaged.first_offset, damaged.next_offset) == (7, 10)


def test_topics_are_created_once_and_checked(kafka_broker: Broker) -> None:
    settings = topic_settings(kafka_broker, partitions=2)
    names = [topic.name for topic in topics(settings)]
    assert create_topics(settings) == dict.fromkeys(names, "created")
    assert create_topics(settings) == dict.fromkeys(names, "present")
    with pytest.raises(ConfigurationError, match="has 2 partitions, not 3"):
        create_topics(settings.model_copy(update={"partitions": 3}))
    with closing(KafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)) as admin:
        described = {t["name"]: len(t["partitions"]) for t in admin.describe_topics(names)}
    assert described == dict.fromkeys(names, 2)
    with (
        closing(open_publisher(settings, SystemClock())) as publisher,
        closing(open_source(settings, settings.topic_labels, "g-labels")) as source,
    ):
        publisher.send(settings.topic_labels, numbered(3))
        assert len(Reader(source).read(3)) == 3


def topic_settings(broker: Broker, partitions: int) -> Settings:
    prefix = f"t{time.time_ns()}."
    return load_settings(
        stream_url=f"kafka://{broker.bootstrap}",
        partitions=partitions,
        topic_transactions=prefix + "transactions",
        topic_labels=prefix + "labels",
        topic_decisions=prefix + "decisions",
        topic_outcomes=prefix + "outcomes",
        topic_dead_letters=prefix + "dead-letters",
        topic_audit_heads=prefix + "audit-heads",
    )
