"""Hostile batches through a real broker to the worker's path: nothing ends it, all is counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from kafka.errors import KafkaError, UnknownError
from sqlalchemy import select

from fraudwatch.casework.models import DeadLetter
from fraudwatch.casework.verify import verify
from fraudwatch.errors import Unavailable
from streams.kafka_client import kafka_errors
from streams.source import RAW_LIMIT, Message
from tests.contract.carriers import Kafka, Reader
from tests.fuzz.__main__ import lifted
from tests.fuzz.path import captured_logs, resident_mb
from tests.fuzz.raw_batches import CODECS, PACK, raw_batch, record, send_raw, varint
from tests.kafka_broker import Broker
from tests.pipeline.worlds import Installation

# kafka-python leaves a socket that a broker closes, after what it refuses, to the collector.
pytestmark = [
    pytest.mark.kafka,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Install = Callable[[], Installation]
MB = 1024 * 1024
LARGE_TOPIC = {"max.message.bytes": str(30 * MB)}
BOMB = 160 * MB


@pytest.fixture
def kafka(kafka_broker: Broker) -> Iterator[Kafka]:
    with ExitStack() as stack:
        yield Kafka(kafka_broker.bootstrap, stack)


@cache
def bomb(codec: int) -> bytes:
    """A batch of one record, some hundred times larger than it looks."""
    return raw_batch(record(0, bytes(BOMB)), 1, codec)


def good(value: bytes, codec: int = 0) -> bytes:
    return raw_batch(record(0, value), 1, codec)


def read_to(kafka: Kafka, topic: str, end: int) -> Reader:
    reader = Reader(kafka.source(topic))
    reader.until(lambda: reader.next_offset(0) == end)
    return reader


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_bomb_is_one_damaged_range_and_memory_stays(kafka: Kafka, codec: int) -> None:
    """The broker takes it: it looks at each record, not at how much memory a reader needs."""
    topic = kafka.new_topic(1, LARGE_TOPIC)
    assert len(bomb(codec)) < BOMB / 15
    send_raw(kafka.bootstrap, topic, [good(b"before"), bomb(codec), good(b"after", codec)])
    before = resident_mb()
    reader = read_to(kafka, topic, 3)
    assert reader.values(0) == [b"before", b"after"]
    [lost] = [d for batch in reader.batches for d in batch.damaged]
    assert (lost.first_offset, lost.next_offset) == (1, 2)
    assert "unpacks to more" in lost.reason
    assert resident_mb() - before < 150


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_what_any_producer_packs_is_read(kafka: Kafka, codec: int) -> None:
    """Snappy as well, for which the client brings no library."""
    topic = kafka.new_topic(1)
    values = [b"%d" % number * 50 for number in range(200)]
    records = b"".join(record(number, value) for number, value in enumerate(values))
    send_raw(kafka.bootstrap, topic, [raw_batch(records, 200, codec)])
    assert read_to(kafka, topic, 200).values(0) == values


def test_batches_that_say_one_thing_and_hold_another(kafka: Kafka) -> None:
    """Whatever of them a broker takes is read or a damaged range; the worker goes on."""
    topic = kafka.new_topic(1)
    odd = [
        raw_batch(record(0, b"v", headers=varint(2**40)), 1),
        raw_batch(record(0, b"v", headers=varint(1) + varint(-3) + varint(0)), 1),
        raw_batch(record(0, b"v", headers=varint(1) + varint(1) + b"\xff" + varint(0)), 1),
        raw_batch(record(7, b"v"), 1),
        raw_batch(record(0, b"v") * 2, 2),
        raw_batch(record(0, b"v"), 2),
        raw_batch(record(0, b"v") + record(1, b"w"), 1),
        raw_batch(record(0, b"v")[:-2], 1),
        raw_batch(b"", 1),
        raw_batch(b"", 0),
        raw_batch(record(0, b"v"), 1, magic=1),
        raw_batch(record(0, b"v"), 1, magic=7),
        raw_batch(record(0, b"v"), 1, 5, packed=record(0, b"v")),
        *(raw_batch(b"", 1, codec, packed=b"\xff" * 40) for codec in CODECS.values()),
        *(raw_batch(b"", 1, codec, packed=PACK[codec](record(0, b"v"))[:-3])
          for codec in CODECS.values()),
        b"\x00" * 61,
        os.urandom(200),
    ]  # fmt: skip
    taken = 0
    for batch in odd:
        try:
            send_raw(kafka.bootstrap, topic, [batch])
            taken += 1
        except KafkaError:
            continue
    send_raw(kafka.bootstrap, topic, [good(b"the last")])
    reader = Reader(kafka.source(topic))
    reader.until(lambda: b"the last" in reader.values(0))
    covered = {row[1] for row in reader.rows()}
    for batch_read in reader.batches:
        for lost in batch_read.damaged:
            covered |= set(range(lost.first_offset, lost.next_offset))
    assert covered <= set(range(reader.next_offset(0)))
    assert taken < len(odd), "a broker refuses most of it"


@pytest.mark.parametrize(
    ("place", "octets"),
    [
        (16, b"\x07"),  # magic
        (17, b"\x00\x00\x00\x00"),  # checksum
        (21, b"\x00\x07"),  # codec
        (23, b"\x7f\xff\xff\xff"),  # the last offset's difference
        (23, b"\xff\xff\xff\xff"),
        (57, b"\x7f\xff\xff\xff"),  # number of records
        (57, b"\xff\xff\xff\xff"),
        (61, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),  # the first record's length
    ],
)
def test_damage_on_disk_is_passed_over(
    kafka_broker: Broker, kafka: Kafka, place: int, octets: bytes
) -> None:
    """Each field of a batch's header: what follows is read, what is lost is reported."""
    topic = kafka.new_topic(1)
    batches = [raw_batch(b"".join(record(n, b"%d" % n) for n in range(5)), 5) for _ in range(3)]
    ends = []
    for batch in batches:
        send_raw(kafka.bootstrap, topic, [batch])
        ends.append(kafka_broker.segment(topic, 0).stat().st_size)
    overwrite(kafka_broker.segment(topic, 0), ends[0] + place, octets)
    reader = Reader(kafka.source(topic))
    reader.until(lambda: reader.next_offset(0) == 15)
    lost = [d for batch in reader.batches for d in batch.damaged]
    assert all(5 <= d.first_offset < d.next_offset <= 10 for d in lost), "good ones are lost"
    missing = {offset for d in lost for offset in range(d.first_offset, d.next_offset)}
    assert {row[1] for row in reader.rows()} == set(range(15)) - missing
    assert missing, "it was damaged"


def test_a_broker_that_cannot_read_its_own_log_is_waited_for() -> None:
    """It answers with an unknown error and no more; a restart of ours would not help it."""
    with pytest.raises(Unavailable, match="see its log"), kafka_errors("127.0.0.1:1"):
        raise UnknownError


def overwrite(path: Path, at: int, octets: bytes) -> None:
    with path.open("r+b") as segment:
        segment.seek(at)
        segment.write(octets)


def test_bombs_and_ten_megabytes_end_as_dead_letters(kafka: Kafka, install: Install) -> None:
    """From the broker through the worker's path to the database: every offset accounted for."""
    here = lifted(install())
    here.register()
    topic = kafka.new_topic(1, LARGE_TOPIC)
    here.settings = here.settings.model_copy(update={"topic_transactions": topic})
    message: Message = here.trained.messages[0]
    huge = b'{"pii": "' + b"x" * (10 * MB) + b'"}'
    sent = [good(message.value)]
    for codec in CODECS.values():
        sent += [bomb(codec), good(huge, codec)]
    sent += [good(huge), good(b""), good(message.value)]
    send_raw(kafka.bootstrap, topic, sent)
    worker = here.worker()
    with captured_logs() as logs:
        reader = Reader(kafka.source(topic))
        worker.assign(frozenset({0}))
        while reader.next_offset(0) < len(sent):
            found = reader.poll()
            if found:
                worker.process(found)
            worker.idle()
        logs.check()
        assert logs.seen >= 4
    with here.sessions() as session:
        dead = session.scalars(select(DeadLetter).order_by(DeadLetter.offset)).all()
    with here.sessions() as session:
        assert verify(session, topic).ok
    assert [letter.reason for letter in dead] == [
        *["damaged", "oversized"] * 4,
        "oversized",
        "not_json",
        "duplicate",
    ]
    assert max(len(letter.raw) for letter in dead) == RAW_LIMIT
    assert len(here.published_outbox()) == len(dead)
