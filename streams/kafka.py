"""The Kafka carrier's reading side. Everything that kafka-python 3.0.12 does unexpectedly is met
here (its publishing side is in `streams.kafka_publisher`):

- An error while messages are unpacked makes the next `poll()` spin for ever, so no deserializers
  are given and `streams.kafka_records` returns a damaged batch instead of raising.
- Rebalance listeners run on the client's IO thread: ours only pauses, seeks and queues; the
  owner learns of it through `changes()`.
- What was fetched before a pause is parked, and after a pause of all partitions never taken up
  again, because a used-up leftover of the last fetch sits in its place: `poll()` clears it.
- A rebalance outlasts a short `poll()`. The client then forgets it (nothing is read any more, the
  group expels the member) or, when it ended between two polls, begins another one, again and
  again. So our `poll()` reminds it and stays until the rebalance is over, for some seconds at
  most; nothing could be read in that time anyway.
- `poll()` never says that the brokers are away; we look whether any connection is up. Nor does it
  say that another member took our static name (then it spins, without heartbeats), or that the
  brokers refuse us: we look at that too, whenever nothing came.
- Naming an unknown topic creates it with the broker's defaults, unless this is forbidden.
- A group that is rebalanced with the eager protocol revokes everything and assigns it again;
  positions of partitions that stay are kept by the client, so only what really moved is reported.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from queue import SimpleQueue

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import FencedInstanceIdError, OffsetOutOfRangeError
from kafka.structs import OffsetAndMetadata

from fraudwatch.errors import ConfigurationError, Unavailable
from streams.kafka_client import ClientFactory, kafka_errors, partition_count
from streams.kafka_records import PartitionRecords, Row
from streams.kafka_security import NO_SECURITY, Security
from streams.source import Assignment, Damaged, RecordBatch, unknown_topic

logger = logging.getLogger(__name__)

AWAY_SECONDS = 1.0
"""Without a connection for this long, the brokers are away."""
REQUEST_SECONDS = 15
REBALANCE_SECONDS = 5.0
REJOIN_POLL_MS = 50
CLOSE_SECONDS = 5
LOOKUP_SECONDS = 5
QUIET_SECONDS = 5.0
"""After so long without a message the broker is asked for the ends, since what the client knows of
them comes with messages: a client that no longer fetches would show no lag, and a frozen broker
would be noticed by a request's time-out alone."""
GROUP_SECONDS = 10.0
MAX_POLL_SECONDS = 300
"""A rebalance ends when all members have joined, or after this: whoever did not poll is out."""


class _Ownership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Keeps new partitions from being read before `start` and queues what changed.

    Called on the client's IO thread while the owner waits in `poll()`.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        self.events: SimpleQueue[Assignment] = SimpleQueue()
        self._consumer = consumer
        self._owned: set[TopicPartition] = set()

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Every rebalance begins with this; what is really gone shows in the assignment."""

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self._change(self._owned - lost)

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        for partition in assigned - self._owned:
            self._consumer.pause(partition)
            # Any position will do: without one the client would ask for a committed offset.
            self._consumer.seek(partition, 0)
        self._change(set(assigned))

    def _change(self, owned: set[TopicPartition]) -> None:
        assigned = frozenset(tp.partition for tp in owned - self._owned)
        revoked = frozenset(tp.partition for tp in self._owned - owned)
        self._owned = owned
        if assigned or revoked:
            self.events.put(Assignment(assigned, revoked))


class KafkaSource:
    """`streams.source.Source` over Kafka: one member of a consumer group.

    `worker_id` makes it a static member: a restart within `session_seconds` causes no rebalance.
    Raises `Unavailable` when no broker answers and `ConfigurationError` for an unknown topic or
    when the brokers refuse us.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        group: str,
        *,
        security: Security = NO_SECURITY,
        worker_id: str = "",
        max_rows: int = 2000,
        session_seconds: float = 45,
        connect_seconds: float = 15,
    ) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._doing = f"Read and Describe on topic {topic} and Read on group {group}"
        self._max_rows = max_rows
        self._next: dict[int, int] = {}
        self._assigned: set[int] = set()
        self._revoked: set[int] = set()
        self._paused = False
        self._expired: dict[int, Damaged] = {}
        self._heard = self._settled = self._delivered = self._asked_at = time.monotonic()
        self._asked: dict[int, int] = {}
        self._clients = ClientFactory()
        with self._clients.closed_on_error(), self._errors():
            self._consumer = KafkaConsumer(
                bootstrap_servers=bootstrap.split(","),
                bootstrap_timeout_ms=int(connect_seconds * 1000),
                kafka_client=self._clients,
                client_id=f"fraudwatch-{worker_id}" if worker_id else "fraudwatch",
                group_id=group,
                group_instance_id=worker_id or None,
                partition_assignment_strategy=[StickyPartitionAssignor],
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                fetch_max_wait_ms=100,
                session_timeout_ms=int(session_seconds * 1000),
                heartbeat_interval_ms=int(min(3, session_seconds / 3) * 1000),
                max_poll_interval_ms=MAX_POLL_SECONDS * 1000,
                request_timeout_ms=REQUEST_SECONDS * 1000,
                # the default grows to 30 s: too long to notice that a broker is back
                reconnect_backoff_max_ms=1000,
                metrics_enabled=False,
                **security.options,
            )
            if not partition_count(self._clients.made[0], topic, connect_seconds):
                raise unknown_topic(topic, bootstrap)
            self._consumer._fetcher.PartitionRecords = PartitionRecords  # noqa: SLF001 - see there
            self._ownership = _Ownership(self._consumer)
            self._consumer.subscribe(topics=[topic], listener=self._ownership)

    @property
    def topic(self) -> str:
        return self._topic

    def _errors(self) -> AbstractContextManager[None]:
        return kafka_errors(self._bootstrap, doing=self._doing)

    def _partition(self, number: int) -> TopicPartition:
        return TopicPartition(self._topic, number)

    def changes(self) -> Assignment:
        self._take_events()
        change = Assignment(frozenset(self._assigned), frozenset(self._revoked))
        self._assigned, self._revoked = set(), set()
        return change

    def _take_events(self) -> None:
        while not self._ownership.events.empty():
            event = self._ownership.events.get()
            for number in event.revoked:
                self._next.pop(number, None)
                self._expired.pop(number, None)
                if number in self._assigned:  # came and went before the owner heard of it
                    self._assigned.discard(number)
                else:
                    self._revoked.add(number)
            self._assigned |= event.assigned

    def start(self, offsets: Mapping[int, int]) -> None:
        owned = self._consumer.assignment()
        for number, offset in offsets.items():
            partition = self._partition(number)
            if partition not in owned:
                continue
            self._consumer.seek(partition, offset)
            self._next[number] = offset
            self._expired.pop(number, None)
            if not self._paused:
                self._consumer.resume(partition)

    def poll(self, timeout: float) -> list[RecordBatch]:
        records: Mapping[TopicPartition, list[Row | Damaged]] = {}
        try:
            with self._errors():
                records = self._poll_client(timeout)
                if not records:
                    self._clients.require_access(self._topic)
                    self._require_name()
        except OffsetOutOfRangeError as error:
            for partition, offset in error.args[0].items():
                self._pass_over(partition.partition, offset)
        self._take_events()
        batches = [] if self._paused else self._batches(records)
        if batches:
            self._delivered = time.monotonic()
        else:
            self._check_connection()
            self._check_group()
        return batches

    def _poll_client(self, timeout: float) -> Mapping[TopicPartition, list[Row | Damaged]]:
        """The client's `poll`, with what it forgets (see the top of this file)."""
        fetcher, coordinator = self._consumer._fetcher, self._consumer._coordinator  # noqa: SLF001
        if not fetcher._next_partition_records:  # noqa: SLF001
            fetcher._next_partition_records = None  # noqa: SLF001
        give_up = time.monotonic() + REBALANCE_SECONDS
        milliseconds = max(0, int(timeout * 1000))
        while True:
            if coordinator.rejoining:
                coordinator.request_rejoin()
            records: Mapping[TopicPartition, list[Row | Damaged]] = self._consumer.poll(
                timeout_ms=milliseconds, max_records=self._max_rows
            )
            if records or not coordinator.rejoining or time.monotonic() > give_up:
                return records
            milliseconds = REJOIN_POLL_MS

    def _require_name(self) -> None:
        """Raise `FencedInstanceIdError` when another member has taken our name: the client stops
        its heartbeats then and says nothing."""
        coordinator = self._consumer._coordinator  # noqa: SLF001
        with coordinator._lock:  # noqa: SLF001
            silent = not coordinator._heartbeat_enabled and not coordinator.rejoining  # noqa: SLF001
            if silent and coordinator.stable():
                raise FencedInstanceIdError

    def _batches(self, records: Mapping[TopicPartition, list[Row | Damaged]]) -> list[RecordBatch]:
        batches = []
        positions = self._consumer._subscription.assignment  # noqa: SLF001 - position() may block
        for number, first in list(self._next.items()):
            partition = self._partition(number)
            state = positions.get(partition)
            if state is None or state.position is None:
                continue
            # Beyond the last message: aborted and control records move the position as well.
            end = state.position.offset
            if end <= first:
                continue
            items = records.get(partition, ())
            rows = [item for item in items if not isinstance(item, Damaged)]
            damaged = [item for item in items if isinstance(item, Damaged)]
            if number in self._expired:
                damaged.insert(0, self._expired.pop(number))
            headers = [row[4] for row in rows]
            batches.append(
                RecordBatch(
                    self._topic,
                    number,
                    first,
                    end,
                    [row[0] for row in rows],
                    [row[2] for row in rows],
                    [row[3] for row in rows],
                    [row[1] for row in rows],
                    tuple(damaged),
                    headers if any(headers) else [],
                )
            )
            self._next[number] = end
        return batches

    def _pass_over(self, number: int, offset: int) -> None:
        """The broker no longer has `offset`: go on with its oldest message, and say so."""
        partition = self._partition(number)
        with self._errors():
            oldest = self._consumer.beginning_offsets(
                [partition], timeout_ms=LOOKUP_SECONDS * 1000
            )[partition]
        if offset > oldest:
            raise ConfigurationError(
                f"{self._topic}-{number} ends before offset {offset}, which was to be read next: "
                "the topic was made anew or lost messages. Find out which; then use a new topic."
            )
        logger.warning(
            "messages were deleted before they were read",
            extra={"data": {"partition": number, "offset": offset, "next": oldest}},
        )
        self._consumer.seek(partition, oldest)
        if offset > 0:
            self._expired[number] = Damaged(
                offset,
                oldest,
                "deleted by the topic's retention before it was read",
                expired=True,
            )

    def _check_connection(self) -> None:
        if self._paused or self._clients.connected:
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > AWAY_SECONDS:
            raise Unavailable(
                f"Kafka at {self._bootstrap} does not answer{self._clients.why_away()}"
            )

    def _check_group(self) -> None:
        if self._paused or not self._consumer._coordinator.rejoining:  # noqa: SLF001
            self._settled = time.monotonic()
        elif GROUP_SECONDS < time.monotonic() - self._settled < MAX_POLL_SECONDS + GROUP_SECONDS:
            raise Unavailable("the group is rebalanced: other members have not joined it yet")

    def pause(self) -> None:
        self._paused = True
        self._consumer.pause(*self._consumer.assignment())

    def resume(self) -> None:
        self._paused = False
        owned = self._consumer.assignment()
        self._consumer.resume(*(owned & {self._partition(number) for number in self._next}))

    def ends(self) -> dict[int, int]:
        owned = self._consumer.assignment()
        now = time.monotonic()
        if now - self._delivered <= QUIET_SECONDS:
            ends = {tp.partition: self._consumer.highwater(tp) for tp in owned}
        else:
            if now - self._asked_at > QUIET_SECONDS:
                self._asked, self._asked_at = {}, now
            ends = {tp.partition: self._asked.get(tp.partition) for tp in owned}
        unknown = [self._partition(number) for number, end in ends.items() if end is None]
        if unknown:
            with self._errors():
                found = self._consumer.end_offsets(unknown, timeout_ms=LOOKUP_SECONDS * 1000)
            self._asked.update({partition.partition: end for partition, end in found.items()})
        return {number: self._asked[number] if end is None else end for number, end in ends.items()}

    def committed(self, offsets: Mapping[int, int]) -> None:
        owned = self._consumer.assignment()
        commits = {
            self._partition(number): OffsetAndMetadata(offset, "", -1)
            for number, offset in offsets.items()
            if self._partition(number) in owned
        }
        if commits:
            self._consumer.commit_async(commits, _log_failed_commit)

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_SECONDS * 1000)


def _log_failed_commit(_offsets: object, answer: object) -> None:
    if isinstance(answer, Exception):
        logger.debug("offsets were not committed for lag tools: %s", answer)
