"""Adding partitions to the topics, on either carrier. Keys move when that happens: what must be
true before and after is the business of `fraudwatch.growth`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import GroupIdNotFoundError

from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.settings import Settings
from streams.file_lines import LineIndex, partition_count, partition_path
from streams.files import lock_path, try_lock
from streams.kafka_client import CONNECT_MS, describe_topics, kafka_errors, open_admin
from streams.kafka_security import kafka_security
from streams.source import unknown_topic
from streams.topics import topics


@dataclass(frozen=True, slots=True)
class Standstill:
    """Nobody reads the topic of transactions: for each of its partitions the offset after its last
    message. Holds for files while the block runs; for Kafka it was so at the beginning."""

    ends: dict[int, int]


def partitions_there(settings: Settings) -> int:
    """How many partitions the topic of transactions has.

    Raises `ConfigurationError` for an unknown topic, `Unavailable` when the carrier is away.
    """
    carrier, place = settings.stream
    topic = settings.topic_transactions
    if carrier == "kafka":
        with open_admin(place, kafka_security(settings)) as admin:
            count = _counts(admin, place, [topic]).get(topic, 0)
    else:
        count = partition_count(Path(place), topic)
    if not count:
        raise unknown_topic(topic, place)
    return count


@contextmanager
def standstill(settings: Settings) -> Iterator[Standstill]:
    """For a block in which no worker reads. Raises `ConfigurationError` while one does."""
    carrier, place = settings.stream
    topic, group = settings.topic_transactions, settings.consumer_group
    if carrier == "kafka":
        with open_admin(place, kafka_security(settings)) as admin:
            members = _members(admin, place, group)
            count = _counts(admin, place, [topic]).get(topic, 0)
            asked = {TopicPartition(topic, p): OffsetSpec.LATEST for p in range(count)}
            with kafka_errors(place, doing=f"Describe on topic {topic}"):
                ends = admin.list_partition_offsets(asked, timeout_ms=CONNECT_MS) if asked else {}
        if members:
            raise _read(topic, f"{len(members)} of group {group}")
        yield Standstill({tp.partition: int(found.offset) for tp, found in ends.items()})
    else:
        with _locked(Path(place), topic, group) as count:
            paths = {p: partition_path(Path(place), topic, p) for p in range(count)}
            yield Standstill({p: LineIndex(path).end() for p, path in paths.items()})


def add_partitions(settings: Settings, partitions: int) -> None:
    """Give every topic that has fewer this many partitions. Can be run again."""
    carrier, place = settings.stream
    names = [topic.name for topic in topics(settings)]
    if carrier == "kafka":
        with open_admin(place, kafka_security(settings)) as admin:
            counts = _counts(admin, place, names)
            few = {name: partitions for name, count in counts.items() if count < partitions}
            if few:
                with kafka_errors(place, doing=f"Alter on topic {', '.join(few)}"):
                    admin.create_partitions(few, timeout_ms=CONNECT_MS)
        return
    try:
        for name in names:
            # The lowest last: the new ones are seen all at once.
            count = partition_count(Path(place), name)
            for number in reversed(range(count, partitions) if count else []):
                partition_path(Path(place), name, number).touch()
    except OSError as error:
        raise Unavailable(f"the stream folder {place}: {error.strerror or error}") from error


def _members(admin: KafkaAdminClient, place: str, group: str) -> list[object]:
    with kafka_errors(place, doing=f"Describe on group {group}"), suppress(GroupIdNotFoundError):
        return list(admin.describe_groups([group])[group]["members"])
    return []


def _counts(admin: KafkaAdminClient, place: str, names: list[str]) -> dict[str, int]:
    with kafka_errors(place, doing=f"Describe on topic {', '.join(names)}"):
        found = describe_topics(admin, names)
    return {name: len(topic["partitions"]) for name, topic in found.items()}


@contextmanager
def _locked(folder: Path, topic: str, group: str) -> Iterator[int]:
    """Holds the readers' locks of all partitions; yields how many there are."""
    held: list[int] = []
    try:
        count = partition_count(folder, topic)
        if count:
            lock_path(folder, topic, group, 0).parent.mkdir(exist_ok=True)
        for number in range(count):
            lock = try_lock(lock_path(folder, topic, group, number))
            if lock is None:
                raise _read(topic, f"a worker of group {group}")
            held.append(lock)
        yield count
    finally:
        for lock in held:
            os.close(lock)


def _read(topic: str, who: str) -> ConfigurationError:
    return ConfigurationError(f"topic {topic} is being read ({who}): stop all workers first")
