"""The topics of fraudwatch: names, keys, how long they are kept; and making them on a carrier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import (
    AuthorizationError,
    RetriableError,
    TopicAlreadyExistsError,
    for_code,
)

from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.settings import Settings
from streams.file_lines import partition_count, partition_path
from streams.kafka_client import CONNECT_MS, describe_topics, kafka_errors, open_admin
from streams.kafka_security import kafka_security

DAY_MS = 86_400_000
MESSAGE_BYTES = 1_048_588
"""Size of a record batch that a topic takes: a broker's own default, stated because a smaller one
would refuse the batches of `streams.kafka_publisher`."""
CREATED, PRESENT = "created", "present"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be. `key` is what its messages are keyed by, empty for none."""

    name: str
    key: str
    partitions: int
    replication: int
    min_isr: int
    retention_days: float

    @property
    def configuration(self) -> dict[str, str]:
        """What Kafka is told about it. None is compacted: each message is a fact, not the newest
        state of a key; only age deletes it, never size."""
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(round(self.retention_days * DAY_MS)),
            "retention.bytes": "-1",
            "min.insync.replicas": str(self.min_isr),
            "max.message.bytes": str(MESSAGE_BYTES),
            # The broker's time: a sender's clock, right or wrong, neither has messages refused
            # nor deleted before their time.
            "message.timestamp.type": "LogAppendTime",
        }


def topics(settings: Settings) -> tuple[Topic, ...]:
    """The six topics.

    Transactions and decisions are kept for two weeks (the ledger keeps them for good), labels,
    outcomes and dead letters for longer, since consumers of rare events may be away for longer;
    heads of the audit log for as long as it is to be checked against them.
    """
    if settings.min_isr > settings.replication:
        raise ConfigurationError(
            f"FRAUDWATCH_MIN_ISR is {settings.min_isr}, above FRAUDWATCH_REPLICATION "
            f"({settings.replication}): no message could be written"
        )
    often, rare = settings.stream_retention_days, settings.stream_rare_retention_days
    wanted = (
        (settings.topic_transactions, "account_id", often),
        # A decision goes to the partition number that its transaction came from.
        (settings.topic_decisions, "account_id", often),
        (settings.topic_outcomes, "account_id", rare),
        (settings.topic_labels, "transaction_id", rare),
        (settings.topic_dead_letters, "", rare),
        (settings.topic_audit_heads, "", settings.audit_heads_retention_days),
    )
    return tuple(
        Topic(name, key, settings.partitions, settings.replication, settings.min_isr, days)
        for name, key, days in wanted
    )


def create_topics(settings: Settings) -> dict[str, str]:
    """Make what lacks; per topic name ``"created"`` or ``"present"``. Can be run again.

    Raises `ConfigurationError` when a topic has another number of partitions than
    `FRAUDWATCH_PARTITIONS` says (an account would move to another partition), before any is
    made, and when Kafka does not let us; `Unavailable` when the carrier is away.
    """
    carrier, place = settings.stream
    wanted = topics(settings)
    if len({topic.name for topic in wanted}) < len(wanted):
        raise ConfigurationError("two topics have the same name (FRAUDWATCH_TOPIC_…)")
    if carrier == "kafka":
        with open_admin(place, kafka_security(settings)) as admin:
            return _create_on_kafka(admin, place, wanted)
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


def _create_on_kafka(
    admin: KafkaAdminClient, bootstrap: str, wanted: tuple[Topic, ...]
) -> dict[str, str]:
    names = [topic.name for topic in wanted]
    with kafka_errors(bootstrap, doing=f"Describe on topic {', '.join(names)}"):
        found = describe_topics(admin, names)
    present = {name: len(topic["partitions"]) for name, topic in found.items()}
    _check_counts(wanted, present)
    missing = {
        topic.name: {
            "num_partitions": topic.partitions,
            "replication_factor": topic.replication,
            "configs": topic.configuration,
        }
        for topic in wanted
        if topic.name not in present
    }
    if missing:
        with kafka_errors(bootstrap, doing=f"Create on topic {', '.join(missing)}, or on cluster"):
            answer = admin.create_topics(missing, timeout_ms=CONNECT_MS, raise_errors=False)
            if _made_elsewhere(answer["topics"]):
                return _create_on_kafka(admin, bootstrap, wanted)
            admin.wait_for_topics(list(missing), timeout_ms=CONNECT_MS)
    return {name: CREATED if name in missing else PRESENT for name in names}


def _made_elsewhere(answers: list[dict[str, Any]]) -> bool:
    """Whether another one made a topic in this moment. Raises what else went wrong."""
    errors = {answer["name"]: for_code(answer["error_code"]) for answer in answers}
    for answer in answers:
        error = errors[answer["name"]]
        if issubclass(error, AuthorizationError | RetriableError):
            raise error(answer["name"])
        if answer["error_code"] and error is not TopicAlreadyExistsError:
            raise ConfigurationError(
                f"Kafka does not create topic {answer['name']}: "
                f"{answer['error_message'] or error.__name__}"
            )
    return TopicAlreadyExistsError in errors.values()
