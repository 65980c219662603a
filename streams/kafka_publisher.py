"""The Kafka carrier's writing side.

`KafkaProducer.send` costs 30-46 us of CPU a message: a future, a lock and an accumulator for each.
The forward path publishes every decision and does not need them, for the ledger is its outbox:
after an error it publishes the same again. So `_BulkWriter` builds one ready-made record batch a
partition and sends one request a leader (about 3 us a message). It uses parts of kafka-python
3.0.12 that are not its public face, here and nowhere else; the version is pinned, and
`_PlainWriter` over `KafkaProducer` does the same, which a test compares on a real broker.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from kafka import KafkaProducer, TopicPartition
from kafka.errors import (
    KafkaTimeoutError,
    NoError,
    RetriableError,
    UnknownTopicOrPartitionError,
    for_code,
)
from kafka.net.compat import KafkaNetClient
from kafka.protocol.producer import ProduceRequest

from fraudwatch.clock import Clock
from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.telemetry import PUBLISHED
from streams.kafka_client import (
    ClientFactory,
    kafka_errors,
    left_ms,
    make_client,
    partition_count,
    require_access,
)
from streams.kafka_security import NO_SECURITY, Security
from streams.partitioner import spread
from streams.record_batches import record_batches
from streams.source import MAX_MESSAGE_BYTES, Message, check_sizes, unknown_topic

ALL_REPLICAS = -1
BATCH_BYTES = MAX_MESSAGE_BYTES
"""Size of a batch before compression; a broker takes 1,048,588 bytes by default."""
REQUEST_BYTES = 16 << 20
RETRY_SECONDS = 0.1
REQUEST_MS = 10_000
LOOKUP_SECONDS = 5
TIMEOUT_SECONDS = 12
"""Well below `watchdog_seconds`, so that a worker whose broker is silent waits for it and is not
taken for one that hangs; and below the time that PostgreSQL lets a transaction be idle, for the
outbox is drained within one."""


class _Writer(Protocol):
    def partitions(self, topic: str, seconds: float) -> int: ...

    def write(
        self, topic: str, messages: Mapping[int, Sequence[Message]], at_ms: int, seconds: float
    ) -> None: ...

    def close(self) -> None: ...


class KafkaPublisher:
    """`streams.source.Publisher` over Kafka: returns when all replicas in sync have the messages.

    Gives up with `Unavailable` after `timeout` seconds; what was sent by then may be there.
    Connects on first use.
    """

    def __init__(
        self,
        bootstrap: str,
        clock: Clock,
        *,
        security: Security = NO_SECURITY,
        timeout: float = TIMEOUT_SECONDS,
        bulk: bool = True,
    ) -> None:
        self._bootstrap = bootstrap
        self._clock = clock
        self._timeout = timeout
        self._lock = threading.Lock()
        self._turns = itertools.count()
        self._writer: _Writer = (
            _BulkWriter(bootstrap, security) if bulk else _PlainWriter(bootstrap, security, timeout)
        )

    def publish_all(self, topic: str, messages: Mapping[int, Sequence[Message]]) -> None:
        for batch in messages.values():
            check_sizes(batch)
        deadline = time.monotonic() + self._timeout
        with self._lock, self._errors(topic):
            count = self._partitions(topic, deadline)
            if not all(0 <= partition < count for partition in messages):
                raise ConfigurationError(f"topic {topic!r} has {count} partitions, not more")
            self._write(topic, messages, deadline)

    def publish(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        self.publish_all(topic, {partition: messages})

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        check_sizes(messages)
        deadline = time.monotonic() + self._timeout
        with self._lock, self._errors(topic):
            count = self._partitions(topic, deadline)
            self._write(topic, spread(messages, count, self._turns), deadline)

    def _write(
        self, topic: str, messages: Mapping[int, Sequence[Message]], deadline: float
    ) -> None:
        at_ms = int(self._clock.now().timestamp() * 1000)
        self._writer.write(topic, messages, at_ms, deadline - time.monotonic())
        PUBLISHED.labels(topic).inc(sum(map(len, messages.values())))

    def _errors(self, topic: str) -> AbstractContextManager[None]:
        return kafka_errors(self._bootstrap, doing=f"Write and Describe on topic {topic}")

    def _partitions(self, topic: str, deadline: float) -> int:
        count = self._writer.partitions(topic, deadline - time.monotonic())
        if not count:
            raise unknown_topic(topic, self._bootstrap)
        return count

    def close(self) -> None:
        with self._lock:
            self._writer.close()


class _BulkWriter:
    """Record batches straight to their leaders; one request in flight a leader, so order holds.

    Single-threaded: the client's loop runs only inside these methods.
    """

    def __init__(self, bootstrap: str, security: Security) -> None:
        self._bootstrap = bootstrap
        self._client: KafkaNetClient = make_client(
            bootstrap_servers=bootstrap.split(","),
            client_id="fraudwatch-publisher",
            request_timeout_ms=REQUEST_MS,
            reconnect_backoff_max_ms=1000,
            **security.options,
        )

    def partitions(self, topic: str, seconds: float) -> int:
        return partition_count(self._client, topic, seconds)

    def _refresh(self, deadline: float) -> None:
        self._wait(self._client.cluster.request_update(), deadline)

    def _wait(self, future: Any, deadline: float) -> Any:
        self._client.poll(timeout_ms=left_ms(deadline), future=future)
        require_access(self._client)
        if not future.is_done:
            raise Unavailable(f"Kafka at {self._bootstrap} does not answer in time")
        if future.failed():
            raise future.exception
        return future.value

    def write(
        self, topic: str, messages: Mapping[int, Sequence[Message]], at_ms: int, seconds: float
    ) -> None:
        deadline = time.monotonic() + seconds
        waiting = {
            partition: deque(record_batches(batch, at_ms, BATCH_BYTES))
            for partition, batch in messages.items()
            if batch
        }
        while waiting:
            failure = self._round(topic, waiting, deadline)
            waiting = {partition: batches for partition, batches in waiting.items() if batches}
            if failure is None:
                continue
            if time.monotonic() + RETRY_SECONDS > deadline:
                raise Unavailable(f"Kafka at {self._bootstrap}: {failure!r}")
            # Leaders move and brokers come back: look again, a little later.
            self._client.poll(timeout_ms=RETRY_SECONDS * 1000)
            self._refresh(deadline)

    def _round(
        self, topic: str, waiting: Mapping[int, deque[bytes]], deadline: float
    ) -> Exception | None:
        """Send the next batch of each partition; drops what arrived, returns why some did not."""
        failure: Exception | None = None
        requests: dict[int, dict[int, bytes]] = {}
        for partition, batches in waiting.items():
            leader = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
            if leader is None or leader < 0:
                failure = UnknownTopicOrPartitionError(f"{topic}-{partition} has no leader")
                continue
            request = requests.setdefault(leader, {})
            if sum(map(len, request.values())) < REQUEST_BYTES:
                request[partition] = batches[0]
        futures = [
            self._client.send(leader, _produce_request(topic, request))
            for leader, request in requests.items()
        ]
        for future in futures:
            try:
                answer = self._wait(future, deadline)
            except RetriableError as error:
                failure = error
                continue
            for part in answer.responses[0].partition_responses:
                error_class = for_code(part.error_code)
                if error_class is NoError:
                    waiting[part.index].popleft()
                elif issubclass(error_class, RetriableError):
                    failure = error_class(f"{topic}-{part.index}")
                else:
                    raise error_class(f"{topic}-{part.index}: {part.error_message or ''}")
        return failure

    def close(self) -> None:
        self._client.close()


def _produce_request(topic: str, batches: Mapping[int, bytes]) -> ProduceRequest:
    data = ProduceRequest.TopicProduceData
    return ProduceRequest(
        transactional_id=None,
        acks=ALL_REPLICAS,
        timeout_ms=REQUEST_MS,
        topic_data=[
            data(
                name=topic,
                partition_data=[
                    data.PartitionProduceData(index=partition, records=records)
                    for partition, records in batches.items()
                ],
            )
        ],
        # 3: the first with record format 2; 9: the last one that names topics by their names
        min_version=3,
        max_version=9,
    )


class _PlainWriter:
    """The same through `KafkaProducer`, by its public face alone."""

    def __init__(self, bootstrap: str, security: Security, timeout: float) -> None:
        self._options = {
            "bootstrap_servers": bootstrap.split(","),
            "client_id": "fraudwatch-publisher",
            "acks": "all",
            "compression_type": "lz4",
            "linger_ms": 5,
            "batch_size": 131_072,
            "delivery_timeout_ms": int(timeout * 1000),
            "request_timeout_ms": min(REQUEST_MS, int(timeout * 1000) - 5),
            "max_block_ms": int(min(timeout, LOOKUP_SECONDS) * 1000),
            "bootstrap_timeout_ms": int(timeout * 1000),
            "metrics_enabled": False,
            **security.options,
        }
        self._clients = ClientFactory()
        self._producer: KafkaProducer | None = None

    def _connected(self) -> KafkaProducer:
        if self._producer is None:
            self._clients = ClientFactory()
            with self._clients.closed_on_error():
                self._producer = KafkaProducer(kafka_client=self._clients, **self._options)
        return self._producer

    def partitions(self, topic: str, seconds: float) -> int:  # noqa: ARG002 - has its own limit
        producer = self._connected()
        try:
            return len(producer.partitions_for(topic))
        except KafkaTimeoutError:
            # Its answer to an unknown topic, after all the time it has.
            if self._clients.connected:
                return 0
            raise

    def write(
        self, topic: str, messages: Mapping[int, Sequence[Message]], at_ms: int, seconds: float
    ) -> None:
        deadline = time.monotonic() + seconds
        producer = self._connected()
        futures = [
            producer.send(
                topic,
                value=message.value,
                key=message.key,
                headers=list(message.headers),
                partition=partition,
                timestamp_ms=at_ms,
            )
            for partition, batch in messages.items()
            for message in batch
        ]
        producer.flush(timeout=max(0.1, deadline - time.monotonic()))
        for future in futures:
            future.get(timeout=max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close(timeout=5)
