"""What streams cost a message: reading and publishing, on Kafka and on files, in one run.

``python -m benchmarks.streams [--bootstrap host:port] [--rows 200000]``; without ``--bootstrap``
a broker of the tests is started. Prints CPU microseconds of this process and messages a second;
compare the ratios of one run, not figures of two machines.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from fraudwatch.clock import SystemClock
from streams.file_lines import partition_path
from streams.files import FilePublisher, FileSource
from streams.kafka import KafkaSource
from streams.kafka_publisher import KafkaPublisher
from streams.source import Message, Publisher, Source
from tests.kafka_broker import Broker

PARTITIONS = 4
BATCH = 2000
TRANSACTION = (
    b'{"transaction_id": "%012d", "account_id": "account-%06d", "event_time": '
    b'"2026-01-05T10:11:12.345678+00:00", "amount": "123.45", "currency": "EUR", "merchant_id": '
    b'"merchant-004711", "merchant_category": "5411", "channel": "card_present", "country": "DE", '
    b'"device_id": "device-0815", "attributes": {"score": 0.25, "terminal": "t-12345", "note": '
    b'"nothing to see here, but as long as usual"}}'
)


def measure(name: str, rows: int, work: Callable[[], object]) -> None:
    """Print what `work` on so many rows costs."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{name:44}{cpu / rows * 1e6:8.2f} us CPU a row {rows / wall:12,.0f} rows/s")


def publish_all(publisher: Publisher, topic: str, messages: list[Message]) -> None:
    """As the forward path does: after each batch, to all partitions at once."""
    for first in range(0, len(messages), BATCH):
        part = messages[first : first + BATCH]
        size = BATCH // PARTITIONS
        publisher.publish_all(
            topic, {n: part[n * size : (n + 1) * size] for n in range(PARTITIONS)}
        )


def send(publisher: Publisher, topic: str, messages: list[Message]) -> None:
    """As producers do: by key."""
    for first in range(0, len(messages), BATCH):
        publisher.send(topic, messages[first : first + BATCH])


def read_all(source: Source, rows: int) -> None:
    seen = 0
    while seen < rows:
        assigned = source.changes().assigned
        if assigned:
            source.start(dict.fromkeys(assigned, 0))
        seen += sum(len(batch) for batch in source.poll(0.2))


def read_by_client(bootstrap: str, topic: str, rows: int) -> None:
    with closing(
        KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, max_poll_records=BATCH)
    ) as consumer:
        partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        seen = 0
        while seen < rows:
            found = consumer.poll(timeout_ms=200)
            seen += sum(len(records) for records in found.values())


def on_kafka(bootstrap: str, messages: list[Message]) -> None:
    rows = len(messages)
    topics = [f"bench-{uuid.uuid4().hex[:8]}" for _ in range(3)]
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.create_topics(
            {t: {"num_partitions": PARTITIONS, "replication_factor": 1} for t in topics},
            wait_for_metadata=True,
        )
        with closing(KafkaPublisher(bootstrap, SystemClock())) as bulk:
            publish_all(bulk, topics[0], messages[:BATCH])
            measure("kafka publish_all, bulk", rows, lambda: publish_all(bulk, topics[1], messages))
            measure("kafka send by key, bulk", rows, lambda: send(bulk, topics[0], messages))
        few = messages[: rows // 4]
        with closing(KafkaPublisher(bootstrap, SystemClock(), bulk=False)) as plain:
            publish_all(plain, topics[0], messages[:BATCH])
            measure(
                "kafka publish_all, KafkaProducer",
                len(few),
                lambda: publish_all(plain, topics[2], few),
            )
        with closing(KafkaSource(bootstrap, topics[1], topics[1], max_rows=BATCH)) as source:
            measure("kafka poll", rows, lambda: read_all(source, rows))
        measure(
            "kafka poll, the client's own", rows, lambda: read_by_client(bootstrap, topics[1], rows)
        )
        admin.delete_topics(topics)


def on_files(messages: list[Message]) -> None:
    rows = len(messages)
    with tempfile.TemporaryDirectory(prefix="fraudwatch-bench-") as folder:
        for number in range(PARTITIONS):
            path = partition_path(Path(folder), "t", number)
            path.parent.mkdir(exist_ok=True)
            path.touch()
        publisher = FilePublisher(Path(folder), SystemClock())
        measure("file publish_all", rows, lambda: publish_all(publisher, "t", messages))
        with closing(FileSource(Path(folder), "t", "g", max_rows=BATCH)) as source:
            measure("file poll", rows, lambda: read_all(source, rows))


@contextmanager
def broker_of_our_own() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="fraudwatch-bench-kafka-") as folder:
        broker = Broker(Path(folder))
        broker.start()
        try:
            yield broker.bootstrap
        finally:
            broker.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--rows", type=int, default=200_000)
    options = parser.parse_args()
    messages = [
        Message(
            b"account-%06d" % (number % 5000),
            TRANSACTION % (number, number % 5000),
            (("transaction_id", b"%012d" % number),),
        )
        for number in range(options.rows)
    ]
    on_files(messages)
    if options.bootstrap:
        on_kafka(options.bootstrap, messages)
    else:
        with broker_of_our_own() as bootstrap:
            on_kafka(bootstrap, messages)


if __name__ == "__main__":
    main()
