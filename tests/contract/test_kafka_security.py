"""Real ways into a real Kafka: each way works, each mistake is told at once, no secret is told."""

from __future__ import annotations

import gc
import json
import logging
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from fraudwatch.clock import Clock, SystemClock
from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.settings import Settings, load_settings
from streams.carriers import open_publisher, open_source
from streams.kafka_publisher import KafkaPublisher
from streams.kafka_security import kafka_security
from streams.source import Message, Publisher
from streams.topic_check import topic_differences
from streams.topics import create_topics, topics
from tests.contract.carriers import Reader
from tests.kafka_secure import CLIENT_ID, CLIENT_SECRET, PASSWORD, Authority, SecureBroker

pytestmark = [
    pytest.mark.kafka,
    # kafka-python leaves sockets of connections that fail to the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning"),
]

Ways = Callable[[str], dict[str, str]]


@pytest.fixture(autouse=True)
def collected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Collects those sockets while the warning is still ignored; log records would hold them."""
    caplog.set_level(logging.CRITICAL, logger="kafka")
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
    names = ("transactions", "labels", "decisions", "outcomes", "dead_letters", "audit_heads")
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
        closing(plain_publisher(settings)) as plain,
        closing(open_source(settings, settings.topic_transactions, "g")) as source,
    ):
        publisher.send(settings.topic_transactions, messages(20))
        plain.send(settings.topic_transactions, messages(20))
        assert len(Reader(source).read(40)) == 40


def plain_publisher(settings: Settings) -> KafkaPublisher:
    security = kafka_security(settings)
    return KafkaPublisher(settings.stream[1], SystemClock(), security=security, bulk=False)


MISTAKES = {
    "password": ("scram-256", {"kafka_password": "wrong"}, "FRAUDWATCH_KAFKA_PASSWORD"),
    "password-plain": ("plain", {"kafka_password": "wrong"}, "FRAUDWATCH_KAFKA_PASSWORD"),
    "user": ("scram-512", {"kafka_username": "bob"}, "FRAUDWATCH_KAFKA_USERNAME"),
    "mechanism": ("clear", {"kafka_sasl_mechanism": "PLAIN"}, "FRAUDWATCH_KAFKA_SASL_MECHANISM"),
    "secret": ("oauth", {"kafka_oauth_client_secret": "wrong"}, "FRAUDWATCH_KAFKA_OAUTH"),
    "authority": ("scram-256", {"kafka_ca_file": "OTHER"}, "FRAUDWATCH_KAFKA_CA_FILE"),
    "host": ("scram-256", {"stream_url": "LOCALHOST"}, "not valid for 'localhost'"),
    "no-certificate": ("mtls", {"kafka_cert_file": ""}, "FRAUDWATCH_KAFKA_CERT_FILE"),
    "stranger": ("mtls", {"kafka_cert_file": "STRANGER"}, "FRAUDWATCH_KAFKA_CERT_FILE"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_at_once_to_whoever_connects(
    secure_kafka: SecureBroker, ways: Ways, mistake: str, tmp_path: Path
) -> None:
    """It would look like a broker that is away, and be tried again for ever."""
    way, changes, told = MISTAKES[mistake]
    other = Authority(tmp_path, "other authority")
    meant = {
        "OTHER": lambda: str(other.file),
        "STRANGER": lambda: str(other.issue("stranger")),
        "LOCALHOST": lambda: secure_kafka.url("PASSWORD", "localhost"),
    }
    changes = {name: meant.get(value, lambda v=value: v)() for name, value in changes.items()}
    settings = named(ways(way), **changes)
    for attempt in (
        lambda: create_topics(settings),
        lambda: open_source(settings, "topic", "g"),
        lambda: send(open_publisher(settings, SystemClock()), "topic"),
        lambda: send(plain_publisher(settings), "topic"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            attempt()


def send(publisher: Publisher, topic: str) -> None:
    with closing(publisher):
        publisher.send(topic, messages(1))


def test_a_protocol_that_does_not_fit_is_suspected(secure_kafka: SecureBroker) -> None:
    """Bytes of another protocol look like a broker that is away: the message says what to check."""
    bootstrap = secure_kafka.url("PASSWORD").removeprefix("kafka://")
    with (
        closing(KafkaPublisher(bootstrap, SystemClock(), timeout=1)) as publisher,
        pytest.raises(Unavailable, match=r"FRAUDWATCH_KAFKA_SECURITY_PROTOCOL \(PLAINTEXT\)"),
    ):
        publisher.send("topic", messages(1))


class Nobody:
    """Topics of their own for a user without any right, and the rights that a test gives."""

    def __init__(self, kafka: SecureBroker, ways: Ways) -> None:
        self._kafka = kafka
        self.settings = named(ways("plain"), kafka_username="nobody")
        self.topic = self.settings.topic_transactions
        self.group = self.settings.consumer_group

    def make_topics(self) -> None:
        plain = {"kafka_security_protocol": "PLAINTEXT", "kafka_sasl_mechanism": ""}
        create_topics(
            self.settings.model_copy(
                update=plain
                | {
                    "stream_url": f"kafka://{self._kafka.broker.bootstrap}",
                    "kafka_ca_file": "",
                    "kafka_username": "",
                    "kafka_password": SecretStr(""),
                }
            )
        )

    def may(self, kind: str, name: str, *operations: str) -> None:
        self._kafka.allow("nobody", kind, name, *operations)

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        with closing(open_source(self.settings, self.topic, self.group)) as source:
            yield Reader(source)


@pytest.fixture
def nobody(secure_kafka: SecureBroker, ways: Ways) -> Nobody:
    return Nobody(secure_kafka, ways)


def until_told(reader: Reader, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        reader.until(lambda: False)


def test_rights_to_read_are_named_one_after_the_other(nobody: Nobody) -> None:
    nobody.make_topics()
    on_topic, on_group = (
        f"Read and Describe on topic {nobody.topic}",
        f"Read on group {nobody.group}",
    )
    with pytest.raises(ConfigurationError, match=on_topic), nobody.reader():
        pass
    nobody.may("TOPIC", nobody.topic, "DESCRIBE")
    with nobody.reader() as reader:
        until_told(reader, on_group)
    nobody.may("GROUP", nobody.group, "READ")
    with nobody.reader() as reader:
        until_told(reader, on_topic)
    nobody.may("TOPIC", nobody.topic, "READ")
    with nobody.reader() as reader:
        reader.until(lambda: len(reader.owned) == 2)


@pytest.mark.parametrize("make", [open_publisher, lambda settings, _: plain_publisher(settings)])
def test_rights_to_publish_are_named(
    nobody: Nobody, make: Callable[[Settings, Clock], Publisher]
) -> None:
    nobody.make_topics()
    told = f"Write and Describe on topic {nobody.topic}"
    with pytest.raises(ConfigurationError, match=told):
        send(make(nobody.settings, SystemClock()), nobody.topic)
    nobody.may("TOPIC", nobody.topic, "DESCRIBE")
    with pytest.raises(ConfigurationError, match=told):
        send(make(nobody.settings, SystemClock()), nobody.topic)
    nobody.may("TOPIC", nobody.topic, "WRITE")
    send(make(nobody.settings, SystemClock()), nobody.topic)


def test_rights_to_make_topics_are_named(nobody: Nobody) -> None:
    names = [topic.name for topic in topics(nobody.settings)]
    with pytest.raises(ConfigurationError, match=f"Describe on topic {names[0]}"):
        create_topics(nobody.settings)
    for name in names:
        nobody.may("TOPIC", name, "DESCRIBE")
    with pytest.raises(ConfigurationError, match=f"Create on topic {names[0]}"):
        create_topics(nobody.settings)
    nobody.make_topics()
    assert set(create_topics(nobody.settings).values()) == {"present"}
    hidden = {str(difference) for difference in topic_differences(nobody.settings)}
    assert f"{names[0]}: retention.ms is not shown to us, wanted: 1209600000" in hidden


def test_a_right_taken_away_ends_a_running_reader(
    secure_kafka: SecureBroker, nobody: Nobody
) -> None:
    nobody.make_topics()
    nobody.may("TOPIC", nobody.topic, "READ")
    nobody.may("GROUP", nobody.group, "READ")
    with nobody.reader() as reader:
        reader.until(lambda: len(reader.owned) == 2)
        secure_kafka.take_away("nobody", "TOPIC", nobody.topic)
        until_told(reader, f"Read and Describe on topic {nobody.topic}")


def test_a_reader_outlives_its_tokens(secure_kafka: SecureBroker, ways: Ways) -> None:
    """Brokers end a sign-in with its token: the client signs in again in time, with a new one."""
    settings = named(ways("oauth"))
    create_topics(settings)
    tokens = secure_kafka.tokens
    tokens.life = 3
    try:
        with (
            closing(open_source(settings, settings.topic_transactions, "g")) as source,
            closing(open_publisher(settings, SystemClock())) as publisher,
        ):
            reader = Reader(source)
            reader.until(lambda: len(reader.owned) == 2)
            asked = tokens.asked
            reader.until(lambda: tokens.asked >= asked + 2)
            publisher.send(settings.topic_transactions, messages(5))
            reader.read(5)
    finally:
        tokens.life = 300
    assert set(tokens.scopes) == {"kafka"}


TALKATIVE = """
import json, logging, sys
from contextlib import closing
from fraudwatch.clock import SystemClock
from fraudwatch.settings import load_settings
from fraudwatch.telemetry import configure_logging
from streams.carriers import open_publisher
from streams.source import Message

configure_logging("DEBUG")
log = logging.getLogger("test")
for way in json.loads(sys.argv[1]):
    settings = load_settings(**way)
    log.debug("settings are %r", settings)
    try:
        with closing(open_publisher(settings, SystemClock())) as publisher:
            publisher.send("nowhere", [Message(b"k", b"v")])
    except Exception:
        log.exception("as expected")
"""


def test_no_secret_is_logged_even_for_debugging(secure_kafka: SecureBroker, ways: Ways) -> None:
    """kafka-python writes down all that it sends, at DEBUG."""
    tried = [ways(way) for way in ("plain", "scram-256", "oauth")]
    tried += [way | {"kafka_password": PASSWORD + "!"} for way in tried[:2]]
    done = subprocess.run(
        [sys.executable, "-c", TALKATIVE, json.dumps(tried)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert said.count("settings are") == len(tried)
    assert said.count("there is no topic 'nowhere'") >= 3
    assert said.count("FRAUDWATCH_KAFKA_PASSWORD") >= 2
    # how every token begins: {"alg": in base64
    for secret in (PASSWORD, CLIENT_SECRET, "hush%3A", "eyJhbGciOi"):
        assert secret not in said
