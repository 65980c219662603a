"""Topics on a real Kafka: made as the settings say, compared with them, never changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from typer.testing import CliRunner

from fraudwatch.cli import app
from fraudwatch.errors import ConfigurationError
from fraudwatch.settings import Settings
from streams.topic_check import topic_differences
from streams.topics import create_topics, topics
from tests.contract.test_source_kafka import topic_settings, wait_for
from tests.kafka_broker import Broker

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka_broker: Broker) -> Settings:
    return topic_settings(kafka_broker, partitions=2)


@pytest.fixture
def admin(kafka_broker: Broker) -> Iterator[KafkaAdminClient]:
    with closing(KafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)) as made:
        yield made


def test_topics_are_made_as_they_are_meant_to_be(
    settings: Settings, admin: KafkaAdminClient
) -> None:
    """What is not stated would be the broker's default, which nobody looked at."""
    assert [d.found for d in topic_differences(settings)] == ["missing"] * 6
    create_topics(settings)
    assert topic_differences(settings) == []
    wanted = topics(settings)
    found = admin.describe_configs([ConfigResource("topic", topic.name) for topic in wanted])
    for topic in wanted:
        stated = {k: v["value"] for k, v in found["topic"][topic.name].items()}
        assert stated == topic.configuration


def test_differences_are_told_and_left_alone(
    settings: Settings, admin: KafkaAdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_topics(settings)
    name = settings.topic_transactions
    other = {"retention.ms": "3600000", "cleanup.policy": "compact", "max.message.bytes": "1000"}
    admin.alter_configs([ConfigResource("topic", name, other)])
    wants = settings.model_copy(update={"replication": 3, "min_isr": 2})

    def told() -> set[str]:
        return {str(d) for d in topic_differences(wants) if d.topic == name}

    wait_for(lambda: any("retention" in difference for difference in told()))
    expected = {
        f"{name}: cleanup.policy is compact, wanted: delete",
        f"{name}: retention.ms is 3600000, wanted: 1209600000",
        f"{name}: max.message.bytes is 1000, wanted: 1048588",
        f"{name}: replication is 1, wanted: 3",
        f"{name}: min.insync.replicas is 1, wanted: 2",
    }
    assert told() == expected

    for setting in ("stream_url", "topic_transactions", "topic_labels", "topic_decisions"):
        monkeypatch.setenv(f"FRAUDWATCH_{setting.upper()}", getattr(settings, setting))
    for setting in ("topic_outcomes", "topic_dead_letters", "topic_audit_heads", "partitions"):
        monkeypatch.setenv(f"FRAUDWATCH_{setting.upper()}", str(getattr(settings, setting)))
    made = CliRunner().invoke(app, ["topics"])
    assert made.exit_code == 0
    assert "retention.ms is 3600000" in made.stderr
    assert told() == expected, "nothing was changed"
    checked = CliRunner().invoke(app, ["topics", "--check"])
    assert (checked.exit_code, checked.stdout) == (1, "")
    assert "retention.ms is 3600000" in checked.stderr


def test_what_kafka_cannot_make_is_told_in_its_words(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"does not create topic .*replication factor"):
        create_topics(settings.model_copy(update={"replication": 3, "min_isr": 2}))
    with pytest.raises(ConfigurationError, match="FRAUDWATCH_MIN_ISR is 2, above"):
        create_topics(settings.model_copy(update={"min_isr": 2}))
