"""How the topics of a Kafka differ from what the settings say. Nothing is changed.

Settings count when a topic is made; later the topic's own are what holds, and an operator changes
those with Kafka's tools. So differences are told, not mended.
"""

from __future__ import annotations

from dataclasses import dataclass

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from fraudwatch.settings import Settings
from streams.kafka_client import describe_topics, kafka_errors, open_admin
from streams.kafka_security import kafka_security
from streams.topics import Topic, topics


@dataclass(frozen=True, slots=True)
class Difference:
    """`what` of `topic` is `found` and should be `wanted`."""

    topic: str
    what: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, wanted: {self.wanted}"


def topic_differences(settings: Settings) -> list[Difference]:
    """All differences, topic by topic; empty for the file carrier, which has nothing to set.

    Partitions, replication, min ISR, retention, cleanup policy and message size are compared.
    Raises `ConfigurationError` when Kafka does not let us look, `Unavailable` when it is away.
    """
    carrier, place = settings.stream
    if carrier != "kafka":
        return []
    with open_admin(place, kafka_security(settings)) as admin:
        return _differences(admin, place, topics(settings))


def _differences(
    admin: KafkaAdminClient, bootstrap: str, wanted: tuple[Topic, ...]
) -> list[Difference]:
    names = [topic.name for topic in wanted]
    with kafka_errors(bootstrap, doing=f"Describe on topic {', '.join(names)}"):
        described = describe_topics(admin, names)
    present = [topic for topic in wanted if topic.name in described]
    asked = [ConfigResource("topic", t.name, list(t.configuration)) for t in present]
    settings = admin.describe_configs(asked, config_filter="all") if asked else {}
    found = [
        Difference(topic.name, "the topic", "missing", "there")
        for topic in wanted
        if topic.name not in described
    ]
    for topic in present:
        partitions = described[topic.name]["partitions"]
        values: dict[str, tuple[str, str]] = {
            "partitions": (str(len(partitions)), str(topic.partitions)),
            "replication": (
                str(min(len(partition["replica_nodes"]) for partition in partitions)),
                str(topic.replication),
            ),
        }
        # Kafka answers with nothing where we lack the right DescribeConfigs.
        configured = settings["topic"].get(topic.name, {})
        for name, value in topic.configuration.items():
            shown = configured[name]["value"] if name in configured else "not shown to us"
            values[name] = (shown, value)
        found += [
            Difference(topic.name, what, is_now, should)
            for what, (is_now, should) in values.items()
            if is_now != should
        ]
    return found
