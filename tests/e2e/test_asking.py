"""Asking over REST as it is run: real Kafka and PostgreSQL, API and worker as processes."""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from sqlalchemy import URL, create_engine, text

from fraudwatch.clock import SystemClock
from streams.kafka_publisher import KafkaPublisher
from streams.source import Message
from tests.e2e.running import Commands, status, until
from tests.kafka_broker import Broker, free_ports


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="fraudwatch-test-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def database(database_url: URL) -> str:
    return database_url.set(drivername="postgresql").render_as_string(hide_password=False)


class Asker:
    """A payment system with a token."""

    def __init__(self, port: int, token: str) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, path: str, body: object) -> tuple[int, Any]:
        request = urllib.request.Request(
            self._url + path, json.dumps(body).encode(), self._headers, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def payment(number: int, **values: object) -> dict[str, object]:
    moment = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return {
        "transaction_id": f"p-{number}",
        "account_id": f"account-{number % 7}",
        "event_time": moment.isoformat(),
        "amount": "10.00",
        "currency": "EUR",
    } | values


def messages_on(bootstrap: str, topic: str) -> int:
    """How many messages a topic holds that nothing was ever deleted from."""
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, group_id=None)) as consumer:
        partitions = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic)]
        return sum(consumer.end_offsets(partitions).values())


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_the_same_transactions_by_rest_and_by_kafka_get_one_decision_each(
    folder: Path, kafka_broker: Broker, database: str
) -> None:
    topic = f"asked-{uuid.uuid4().hex[:8]}"
    port, metrics_port = free_ports(2)
    commands = Commands(
        folder,
        {
            "FRAUDWATCH_DATABASE_URL": database,
            "FRAUDWATCH_STREAM_URL": f"kafka://{kafka_broker.bootstrap}",
            "FRAUDWATCH_TOPIC_TRANSACTIONS": topic,
            "FRAUDWATCH_CONSUMER_GROUP": topic,
            "FRAUDWATCH_SECRET_KEY": "k" * 32,
            "FRAUDWATCH_DATA_DIR": str(folder),
            "FRAUDWATCH_PORT": str(port),
            "FRAUDWATCH_METRICS_PORT": str(metrics_port),
        },
    )
    commands.run("topics")
    commands.run("users", "create", "shop", "--role", "payment_system")
    token = commands.run("tokens", "create", "shop", "--name", "test").split()[-1]
    asker = Asker(port, token)
    with commands.started("api", "api"), commands.started("worker", "worker"):
        until(lambda: status(f"http://127.0.0.1:{port}/ready") == 200, "/ready")
        until(lambda: status(f"http://127.0.0.1:{metrics_port}/metrics") == 200, "the worker")
        until(
            lambda: asker.ask("/v1/transactions?wait_ms=5000", payment(0))[0] == 200,
            "the first decision",
        )
        with (
            closing(KafkaPublisher(kafka_broker.bootstrap, SystemClock())) as publisher,
            ThreadPoolExecutor(20) as pool,
        ):

            def both(number: int) -> tuple[int, Any]:
                body = payment(number)
                message = Message(str(body["account_id"]).encode(), json.dumps(body).encode())
                if number % 2:
                    publisher.send(topic, [message])
                found = asker.ask("/v1/transactions?wait_ms=10000", body)
                if not number % 2:
                    publisher.send(topic, [message])
                return found

            answers = list(pool.map(both, range(1, 61)))
        assert {code for code, _ in answers} == {200}
        batch = {"transactions": [payment(number) for number in range(1, 61)]}
        code, again = asker.ask("/v1/transactions/batch?wait_ms=10000", batch)
        assert code == 200
        assert [item["decision"] for item in again["items"]] == [told for _, told in answers]
        code, problem = asker.ask("/v1/transactions", payment(1, amount="11.00"))
        assert (code, problem["code"]) == (409, "conflict")

        # 61 were asked, 60 sent beside; what was decided before it was asked is not sent again.
        sent = messages_on(kafka_broker.bootstrap, topic)
        assert 61 <= sent <= 121

        def all_taken_in() -> bool:
            proof = json.loads(commands.run("verify", "--json"))
            read: int = sum(p["read"] for p in proof["partitions"] if p["topic"] == topic)
            return bool(proof["ok"]) and read == sent

        until(all_taken_in, "the last message")
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        decided, messages, reasons = connection.execute(
            text(
                "SELECT (SELECT count(DISTINCT transaction_id) FROM ledger),"
                " (SELECT count(*) FROM ledger),"
                " (SELECT array_agg(DISTINCT reason) FROM dead_letters)"
            )
        ).one()
    engine.dispose()
    assert (decided, messages) == (61, 61)
    assert reasons == ["duplicate"]
