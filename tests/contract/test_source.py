"""What both carriers promise (`streams/source.py`): one suite on files and on a real Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fraudwatch.errors import ConfigurationError, Invalid
from streams.partitioner import partitions_of
from streams.source import MAX_MESSAGE_BYTES, Message
from tests.contract.carriers import Carrier, Files, Kafka, Reader, poll_until
from tests.kafka_broker import Broker

ODD_VALUES = [
    b"",
    b'{"amount": "12.30"}',
    "Grüße an 東京 🏦 \u2028".encode(),
    b"two\nlines\r\n",
    bytes(range(256)),
    b'"quoted" \\ and {"base64": "QUJD"}',
    b"x" * 300_000,
]


@pytest.fixture(params=["files", pytest.param("kafka", marks=pytest.mark.kafka)])
def carrier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Carrier]:
    with ExitStack() as stack:
        if request.param == "files":
            yield Files(tmp_path / "stream", stack)
        else:
            broker: Broker = request.getfixturevalue("kafka_broker")
            yield Kafka(broker.bootstrap, stack)


def numbered(count: int, first: int = 0) -> list[Message]:
    return [Message(b"key", b"%d" % number) for number in range(first, first + count)]


def test_messages_arrive_whole_and_in_order(carrier: Carrier) -> None:
    """Keys, values and headers survive byte for byte, whatever they hold."""
    topic = carrier.new_topic(2)
    messages = [
        Message(key, value, (("transaction_id", b"t-%d" % n), ("raw", b"\xff\x00\n")))
        for n, value in enumerate(ODD_VALUES)
        for key in (b"account-1", None, b"", b"\xfe\n")
    ]
    carrier.publisher().publish(topic, 1, messages)
    reader = Reader(carrier.source(topic))
    rows = reader.read(len(messages))
    assert rows == [(1, n, m.key, m.value) for n, m in enumerate(messages)]
    headers = [pairs for batch in reader.batches for pairs in batch.headers]
    assert headers == [message.headers for message in messages]
    assert all(at > 1_700_000_000_000 for batch in reader.batches for at in batch.timestamps_ms)


def test_headers_are_left_out_where_no_message_has_one(carrier: Carrier) -> None:
    topic = carrier.new_topic(1)
    carrier.publisher().publish(topic, 0, numbered(3))
    reader = Reader(carrier.source(topic))
    reader.read(3)
    assert [batch.headers for batch in reader.batches] == [[]] * len(reader.batches)


def test_each_partition_keeps_its_order(carrier: Carrier) -> None:
    topic = carrier.new_topic(3)
    publisher = carrier.publisher()
    for first in range(0, 30, 10):
        publisher.publish_all(topic, {n: numbered(10, first) for n in range(3)})
    reader = Reader(carrier.source(topic))
    reader.read(90)
    expected = [b"%d" % number for number in range(30)]
    assert [reader.values(n) for n in range(3)] == [expected] * 3


def test_reading_starts_where_it_is_told_to(carrier: Carrier) -> None:
    topic = carrier.new_topic(2)
    carrier.publisher().publish_all(topic, {0: numbered(20), 1: numbered(20)})
    reader = Reader(carrier.source(topic), {0: 13, 1: 20})
    assert [row[:2] for row in reader.read(7)] == [(0, offset) for offset in range(13, 20)]
    assert reader.poll(0.3) == []


@pytest.mark.parametrize("offset", [0, 1, 7, 19])
def test_a_partition_can_be_rewound(carrier: Carrier, offset: int) -> None:
    """Fenced workers read again from the offset in the database, whatever was read ahead."""
    topic = carrier.new_topic(1)
    carrier.publisher().publish(topic, 0, numbered(20))
    reader = Reader(carrier.source(topic, max_rows=8))
    reader.read(8)
    reader.start({0: offset})
    rows = reader.read(20 - offset)
    assert [row[1] for row in rows] == list(range(offset, 20))


def test_an_offset_beyond_the_end_is_refused(carrier: Carrier) -> None:
    """A topic that was made anew must not be read as if it were the old one."""
    topic = carrier.new_topic(1)
    carrier.publisher().publish(topic, 0, numbered(5))
    reader = Reader(carrier.source(topic), {0: 6})
    with pytest.raises(ConfigurationError, match="offset 6"):
        reader.until(lambda: False)


def test_messages_that_come_later_are_followed(carrier: Carrier) -> None:
    topic = carrier.new_topic(1)
    publisher = carrier.publisher()
    reader = Reader(carrier.source(topic))
    reader.until(lambda: reader.owned == {0})
    assert reader.poll(0) == []
    assert reader.poll(0.3) == []
    for first in (0, 3, 6):
        publisher.publish(topic, 0, numbered(3, first))
        reader.read(3)
    assert reader.values(0) == [b"%d" % number for number in range(9)]


def test_a_poll_returns_no_more_rows_than_configured(carrier: Carrier) -> None:
    topic = carrier.new_topic(2)
    carrier.publisher().publish_all(topic, {0: numbered(50), 1: numbered(50)})
    reader = Reader(carrier.source(topic, max_rows=7))
    sizes: list[int] = []
    while sum(sizes) < 100:
        sizes.append(sum(len(batch) for batch in reader.poll(0.2)))
    assert max(sizes) <= 7
    assert {row[0] for row in reader.rows()} == {0, 1}


def test_a_full_partition_does_not_starve_another(carrier: Carrier) -> None:
    topic = carrier.new_topic(2)
    carrier.publisher().publish_all(topic, {0: numbered(500), 1: numbered(5)})
    reader = Reader(carrier.source(topic, max_rows=50))
    reader.until(lambda: len(reader.values(1)) == 5 and len(reader.values(0)) >= 50)


def test_nothing_is_delivered_while_paused(carrier: Carrier) -> None:
    topic = carrier.new_topic(2)
    publisher = carrier.publisher()
    publisher.publish_all(topic, {0: numbered(10), 1: numbered(10)})
    reader = Reader(carrier.source(topic, max_rows=4))
    reader.read(4)
    reader.source.pause()
    assert [reader.poll(0) for _ in range(20)] == [[]] * 20
    publisher.publish_all(topic, {0: numbered(2, 10), 1: numbered(2, 10)})
    assert reader.poll(0.2) == []
    reader.source.resume()
    reader.until(lambda: len(reader.rows()) == 24)
    assert reader.values(0) == reader.values(1) == [b"%d" % number for number in range(12)]


def test_partitions_wait_for_their_start(carrier: Carrier) -> None:
    """Nothing is read before the offsets are known, so nothing is read twice or skipped."""
    topic = carrier.new_topic(1)
    carrier.publisher().publish(topic, 0, numbered(5))
    source = carrier.source(topic)
    assigned: frozenset[int] = frozenset()
    while not assigned:
        assert source.poll(0.1) == []
        assigned = source.changes().assigned
    source.pause()
    source.resume()
    assert [source.poll(0.1) for _ in range(3)] == [[]] * 3
    reader = Reader(source)
    reader.start({0: 2})
    assert [row[1] for row in reader.read(3)] == [2, 3, 4]


def test_ends_tell_how_far_a_partition_reaches(carrier: Carrier) -> None:
    topic = carrier.new_topic(2)
    publisher = carrier.publisher()
    publisher.publish(topic, 1, numbered(4))
    reader = Reader(carrier.source(topic))
    reader.until(lambda: reader.owned == {0, 1})
    assert reader.source.ends() == {0: 0, 1: 4}
    publisher.publish(topic, 1, numbered(3, 4))
    reader.until(lambda: reader.next_offset(1) == 7)
    assert reader.source.ends() == {0: 0, 1: 7}


def test_committed_offsets_change_nothing_that_is_read(carrier: Carrier) -> None:
    topic = carrier.new_topic(1)
    carrier.publisher().publish(topic, 0, numbered(5))
    first = Reader(carrier.source(topic))
    first.read(5)
    first.source.committed({0: 5, 99: 1})
    first.source.close()
    second = Reader(carrier.source(topic), {0: 1})
    assert [row[1] for row in second.read(4)] == [1, 2, 3, 4]


def test_members_of_a_group_share_partitions(carrier: Carrier) -> None:
    """Never two readers of one partition; when one ends, the other takes what it had."""
    topic = carrier.new_topic(4)
    carrier.publisher().publish_all(topic, {n: numbered(5) for n in range(4)})
    one, two = Reader(carrier.source(topic)), Reader(carrier.source(topic))
    poll_until([one, two], lambda: len(one.owned | two.owned) == 4)
    for _ in range(20):
        one.poll()
        two.poll()
        assert not one.owned & two.owned
    poll_until([one, two], lambda: len(one.rows()) + len(two.rows()) >= 20)
    other = carrier.source(topic, "another-group")
    assert Reader(other).read(20), "groups do not share partitions"
    one.source.close()
    two.until(lambda: two.owned == {0, 1, 2, 3})


def test_keys_choose_the_partition_as_in_other_kafka_clients(carrier: Carrier) -> None:
    topic = carrier.new_topic(3)
    keys = [f"account-{number}".encode() for number in range(50)]
    carrier.publisher().send(topic, [Message(key, b"v") for key in keys])
    reader = Reader(carrier.source(topic))
    found = {row[2]: row[0] for row in reader.read(50)}
    assert found == dict(zip(keys, partitions_of(keys, 3).tolist(), strict=True))


def test_messages_without_key_are_spread(carrier: Carrier) -> None:
    topic = carrier.new_topic(3)
    carrier.publisher().send(topic, [Message(None, b"v")] * 9)
    reader = Reader(carrier.source(topic))
    reader.read(9)
    assert [len(reader.values(number)) for number in range(3)] == [3, 3, 3]


def test_publishing_nothing_is_allowed(carrier: Carrier) -> None:
    topic = carrier.new_topic(1)
    publisher = carrier.publisher()
    publisher.send(topic, [])
    publisher.publish_all(topic, {0: []})
    publisher.publish(topic, 0, numbered(1))
    assert len(Reader(carrier.source(topic)).read(1)) == 1


def test_a_large_load_is_cut_into_what_the_carrier_takes(carrier: Carrier) -> None:
    topic = carrier.new_topic(2)
    messages = [Message(b"k", b"%07d" % n + b"." * 20_000) for n in range(150)]
    carrier.publisher().publish_all(topic, {0: messages, 1: messages})
    reader = Reader(carrier.source(topic))
    reader.read(300)
    expected = [message.value for message in messages]
    assert reader.values(0) == reader.values(1) == expected


def test_a_message_above_the_limit_is_refused_before_anything_is_written(
    carrier: Carrier,
) -> None:
    topic = carrier.new_topic(1)
    publisher = carrier.publisher()
    with pytest.raises(Invalid, match=str(MAX_MESSAGE_BYTES)):
        publisher.publish(topic, 0, [*numbered(1), Message(None, bytes(MAX_MESSAGE_BYTES + 1))])
    publisher.publish(topic, 0, [Message(None, bytes(MAX_MESSAGE_BYTES))])
    [row] = Reader(carrier.source(topic)).read(1)
    assert row[1] == 0


def test_an_unknown_topic_is_named_with_what_to_do(carrier: Carrier) -> None:
    carrier.new_topic(1)
    publisher = carrier.publisher()
    with pytest.raises(ConfigurationError, match=r"'nowhere'.*fraudwatch topics"):
        carrier.source("nowhere")
    with pytest.raises(ConfigurationError, match=r"'nowhere'.*fraudwatch topics"):
        publisher.send("nowhere", numbered(1))
    with pytest.raises(ConfigurationError, match=r"'nowhere'.*fraudwatch topics"):
        carrier.source("nowhere")  # asking did not create it


def test_an_unknown_partition_is_refused(carrier: Carrier) -> None:
    topic = carrier.new_topic(2)
    with pytest.raises(ConfigurationError, match="2 partitions"):
        carrier.publisher().publish_all(topic, {0: numbered(1), 2: numbered(1)})
    reader = Reader(carrier.source(topic))
    reader.until(lambda: reader.owned == {0, 1})
    assert reader.poll(0.3) == []
