"""What streams cost a message: reading and publishing, on Kafka and on files, in one run.

``python -m benchmarks.streams [--bootstrap host:port] [--rows N] [--rounds N]``; without
``--bootstrap`` a broker of the tests is started. CPU of this process alone; each way is compared
with another one of the same round.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from statistics import median

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from benchmarks.parts import make_topics, set_heap_aside
from benchmarks.table import Figure, Noise, aligned
from fraudwatch.clock import SystemClock
from streams.file_lines import partition_path
from streams.files import FilePublisher, FileSource
from streams.kafka import KafkaSource
from streams.kafka_publisher import KafkaPublisher
from streams.source import Message, Publisher, Source
from tests.kafka_broker import Broker

PARTITIONS = 4
BATCH = 2000
ROWS, ROUNDS = 100_000, 3
INPUT = f"streams: {ROWS:,} numbered messages of about 400 bytes"
BULK, BY_KEY, PLAIN = "publishing in bulk", "publishing by key", "KafkaProducer.send"
READ, BARE = "our poll()", "bare poll()"
FILE_READ, FILE_WRITE = "reading files", "writing files"
RATIOS = (
    (PLAIN, BULK),
    (BY_KEY, BULK),
    (READ, BARE),
    (BULK, BARE),
    (FILE_READ, BARE),
    (FILE_WRITE, BARE),
)
TRANSACTION = (
    b'{"transaction_id": "%012d", "account_id": "account-%06d", "event_time": '
    b'"2026-01-05T10:11:12.345678+00:00", "amount": "123.45", "currency": "EUR", "merchant_id": '
    b'"merchant-004711", "merchant_category": "5411", "channel": "card_present", "country": "DE", '
    b'"device_id": "device-0815", "attributes": {"score": 0.25, "terminal": "t-12345", "note": '
    b'"nothing to see here, but as long as usual"}}'
)

Costs = Mapping[str, float]  # CPU microseconds a message, by way


def cost(rows: int, work: Callable[[], object]) -> float:
    """CPU microseconds of this process a message."""
    set_heap_aside()
    began = time.process_time()
    work()
    return (time.process_time() - began) / rows * 1e6


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


def on_kafka(bootstrap: str, messages: list[Message]) -> dict[str, float]:
    rows, few = len(messages), messages[: len(messages) // 4]
    topics = [f"bench-{uuid.uuid4().hex[:8]}" for _ in range(3)]
    costs = {}
    make_topics(bootstrap, topics, PARTITIONS)
    with closing(KafkaPublisher(bootstrap, SystemClock())) as bulk:
        publish_all(bulk, topics[0], messages[:BATCH])
        costs[BULK] = cost(rows, lambda: publish_all(bulk, topics[1], messages))
        costs[BY_KEY] = cost(rows, lambda: send(bulk, topics[0], messages))
    with closing(KafkaPublisher(bootstrap, SystemClock(), bulk=False)) as plain:
        publish_all(plain, topics[0], messages[:BATCH])
        costs[PLAIN] = cost(len(few), lambda: publish_all(plain, topics[2], few))
    with closing(KafkaSource(bootstrap, topics[1], topics[1], max_rows=BATCH)) as source:
        costs[READ] = cost(rows, lambda: read_all(source, rows))
    costs[BARE] = cost(rows, lambda: read_by_client(bootstrap, topics[1], rows))
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.delete_topics(topics)
    return costs


def on_files(messages: list[Message]) -> dict[str, float]:
    rows = len(messages)
    with tempfile.TemporaryDirectory(prefix="fraudwatch-bench-") as folder:
        for number in range(PARTITIONS):
            path = partition_path(Path(folder), "t", number)
            path.parent.mkdir(exist_ok=True)
            path.touch()
        publisher = FilePublisher(Path(folder), SystemClock())
        costs = {FILE_WRITE: cost(rows, lambda: publish_all(publisher, "t", messages))}
        with closing(FileSource(Path(folder), "t", "g", max_rows=BATCH)) as source:
            costs[FILE_READ] = cost(rows, lambda: read_all(source, rows))
    return costs


@contextmanager
def broker_of_our_own() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="fraudwatch-bench-kafka-") as folder:
        broker = Broker(Path(folder))
        broker.start()
        try:
            yield broker.bootstrap
        finally:
            broker.stop()


def measure(
    noise: Noise, rows: int = ROWS, rounds: int = ROUNDS, bootstrap: str = ""
) -> list[Figure]:
    """All ways in each round; a first round warms up and is left out."""
    messages = [
        Message(
            b"account-%06d" % (number % 5000),
            TRANSACTION % (number, number % 5000),
            (("transaction_id", b"%012d" % number),),
        )
        for number in range(rows)
    ]
    with nullcontext(bootstrap) if bootstrap else broker_of_our_own() as address:
        costs: list[Costs] = []
        for number in range(rounds + 1):
            noise.sample()
            costs.append(on_files(messages) | on_kafka(address, messages))
            shown = ", ".join(f"{name} {found:.2f}" for name, found in costs[-1].items())
            print(f"round {number}, us CPU a message: {shown}", flush=True)
    return [ratio(costs[1:], above, below) for above, below in RATIOS]


def ratio(costs: Sequence[Costs], above: str, below: str) -> Figure:
    return Figure(
        f"{above} / {below}, CPU a message",
        tuple(found[above] / found[below] for found in costs),
        "x",
        None,
        beside=" / ".join(f"{median(f[name] for f in costs):.2f} us" for name in (above, below)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    print(aligned(measure(Noise(), **vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
