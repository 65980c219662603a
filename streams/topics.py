"""The topics of fraudwatch: names, keys, how long they are kept; and making them on a carrier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import TopicAlreadyExistsError

from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.settings import Settings
from streams.file_lines import partition_count, partition_path
from streams.kafka_client import ClientFactory, kafka_errors

CONNECT_MS = 15_000
DAY_MS = 86_400_000
CREATED, PRESENT = "created", "present"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be. `key` is what its messages are keyed by, empty for none."""

    name: str
    key: str
    partitions: int
    retention_days: int


def topics(settings: Settings) -> tuple[Topic, ...]:
    """The five topics. None is compacted: each message is a fact, not the newest state of a key.

    Transactions and decisions are kept for two weeks (the ledger keeps them for good), labels and
    outcomes for longer, since consumers of rare events may be away for longer.
    """
    count = settings.partitions
    return (
        Topic(settings.topic_transactions, "account_id", count, 14),
        # A decision goes to the partition number that its transaction came from.
        Topic(settings.topic_decisions, "account_id", count, 14),
        Topic(settings.topic_outcomes, "account_id", count, 90),
        Topic(settings.topic_labels, "transaction_id", count, 90),
        Topic(settings.topic_dead_letters, "", count, 90),
    )


def create_topics(settings: Settings) -> dict[str, str]:
    """Make what lacks; per topic name ``"created"`` or ``"present"``. Can be run again.

    Raises `ConfigurationError` when a topic has another number of partitions than
    `FRAUDWATCH_PARTITIONS` says (an account would move to another partition), before any is
    made; `Unavailable` when the carrier is away.
    """
    carrier, place = settings.stream
    wanted = topics(settings)
    if len({topic.name for topic in wanted}) < len(wanted):
        raise ConfigurationError("two topics have the same name (FRAUDWATCH_TOPIC_…)")
    if carrier == "kafka":
        return _create_on_kafka(place, wanted, settings.replication)
    return _create_in_folder(Path(place), wanted)


def _check_counts(wanted: tuple[Topic, ...], present: Mapping[str, int]) -> None:
    wrong = [
        f"{topic.name} has {present[topic.name]} partitions, not {topic.partitions}"
        for topic in wanted
        if present.get(topic.name, topic.partitions) != topic.partitions
    ]
    if wrong:
        raise ConfigurationError(
            f"{'; '.join(wrong)}. Set FRAUDWATCH_PARTITIONS to what is there, or use new topics: "
            "a key must stay in its partition."
        )


def _create_in_folder(folder: Path, wanted: tuple[Topic, ...]) -> dict[str, str]:
    counts = {topic.name: partition_count(folder, topic.name) for topic in wanted}
    present = {name: count for name, count in counts.items() if count}
    _check_counts(wanted, present)
    try:
        for topic in wanted:
            (folder / topic.name).mkdir(parents=True, exist_ok=True)
            # The first file last: a topic that has it has them all.
            for number in reversed(range(topic.partitions)):
                partition_path(folder, topic.name, number).touch()
    except OSError as error:
        raise Unavailable(f"the stream folder {folder}: {error.strerror or error}") from error
    return {topic.name: PRESENT if topic.name in present else CREATED for topic in wanted}


def _create_on_kafka(bootstrap: str, wanted: tuple[Topic, ...], replication: int) -> dict[str, str]:
    clients = ClientFactory()
    with clients.closed_on_error(), kafka_errors(bootstrap):
        admin = KafkaAdminClient(
            bootstrap_servers=bootstrap.split(","),
            bootstrap_timeout_ms=CONNECT_MS,
            kafka_client=clients,
        )
    try:
        with kafka_errors(bootstrap):
            names = [topic.name for topic in wanted]
            present = {
                found["name"]: len(found["partitions"])
                for found in admin.describe_topics(names)
                if not found["error_code"]
            }
            _check_counts(wanted, present)
            missing = {
                topic.name: {
                    "num_partitions": topic.partitions,
                    "replication_factor": replication,
                    "configs": {"retention.ms": str(topic.retention_days * DAY_MS)},
                }
                for topic in wanted
                if topic.name not in present
            }
            if missing:
                try:
                    admin.create_topics(missing, timeout_ms=CONNECT_MS)
                except TopicAlreadyExistsError:
                    # Another one made them in this moment: look whether they are as they should be.
                    return _create_on_kafka(bootstrap, wanted, replication)
                admin.wait_for_topics(list(missing), timeout_ms=CONNECT_MS)
    finally:
        admin.close()
    return {name: CREATED if name in missing else PRESENT for name in names}
