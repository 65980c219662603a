"""Real ways into a real Kafka: each way works, each mistake is told at once, no secret is told."""

from __future__ import annotations

import gc
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from fraudwatch.clock import SystemClock
from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.settings import Settings, load_settings
from fraudwatch.telemetry import configure_logging
from streams.carriers import open_publisher, open_source
from streams.kafka_publisher import KafkaPublisher
from streams.kafka_security import kafka_security
from streams.source import Message
from streams.topic_check import topic_differences
from streams.topics import create_topics, topics
from tests.contract.carriers import Reader
from tests.kafka_secure import CLIENT_ID, CLIENT_SECRET, PASSWORD, Authority, SecureBroker

pytestmark = pytest.mark.kafka

LOGS = "kafka"
Ways = Callable[[str], dict[str, str]]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """kafka-python leaves sockets of refused connections to the garbage collector."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def ways(secure_kafka: SecureBroker) -> Iterator[Ways]:
    """The settings of each way in, by name."""
    trusted = str(secure_kafka.authority.file)
    sasl = {"kafka_security_protocol": "SASL_SSL", "kafka_ca_file": trusted}
    user = {"kafka_username": "alice", "kafka_password": PASSWORD}
    with secure_kafka.tokens.served() as token_url:
        password = sasl | user | {"stream_url": secure_kafka.url("PASSWORD")}
        known = {
            "mtls": {
                "stream_url": secure_kafka.url("MTLS"),
                "kafka_security_protocol": "SSL",
                "kafka_ca_file": trusted,
                "kafka_cert_file": str(secure_kafka.authority.issue("payments")),
            },
            "plain": password | {"kafka_sasl_mechanism": "PLAIN"},
            "scram-256": password | {"kafka_sasl_mechanism": "SCRAM-SHA-256"},
            "scram-512": password | {"kafka_sasl_mechanism": "SCRAM-SHA-512"},
            "clear": {
                **user,
                "stream_url": secure_kafka.url("CLEAR"),
                "kafka_security_protocol": "SASL_PLAINTEXT",
                "kafka_sasl_mechanism": "SCRAM-SHA-256",
            },
            "oauth": sasl
            | {
                "stream_url": secure_kafka.url("TOKEN"),
                "kafka_sasl_mechanism": "OAUTHBEARER",
                "kafka_oauth_token_url": token_url,
                "kafka_oauth_client_id": CLIENT_ID,
                "kafka_oauth_client_secret": CLIENT_SECRET,
                "kafka_oauth_scope": "kafka",
            },
        }
        for principal in ("CN=payments", "alice", CLIENT_ID):
            secure_kafka.allow(principal, "CLUSTER", "kafka-cluster", "CREATE")
            secure_kafka.allow(principal, "TOPIC", "*", "READ", "WRITE", "DESCRIBE_CONFIGS")
            secure_kafka.allow(principal, "GROUP", "*", "READ")
        yield known.__getitem__


def named(way: dict[str, str], **changes: str) -> Settings:
    """A way in, with topics and a group of its own."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    names = ("transactions", "labels", "decisions", "outcomes", "dead_letters")
    return load_settings(
        partitions=2,
        consumer_group=prefix + "group",
        **{f"topic_{name}": prefix + name for name in names},
        **(way | changes),
    )


def messages(count: int) -> list[Message]:
    return [Message(b"key-%d" % number, b"%d" % number) for number in range(count)]


@pytest.mark.parametrize("way", ["mtls", "plain", "scram-256", "scram-512", "clear", "oauth"])
def test_each_way_in_carries_topics_messages_and_group(ways: Ways, way: str) -> None:
    settings = named(ways(way))
    assert set(create_topics(settings).values()) == {"created"}
    assert topic_differences(settings) == []
    with (
        closing(open_publisher(settings, SystemClock())) as publisher,
        closing(
            KafkaPublisher(
                settings.stream[1], SystemClock(), security=kafka_security(settings), bulk=False
            )
        ) as plain,
        closing(open_source(settings, settings.topic_transactions, "g")) as source,
    ):
        publisher.send(settings.topic_transactions, messages(20))
        plain.send(settings.topic_transactions, messages(20))
        assert len(Reader(source).read(40)) == 40
