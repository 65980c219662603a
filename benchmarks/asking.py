"""How long an answer takes, over REST and on the topic; all parts run as processes.

``python -m benchmarks.asking [--seconds 15] [--rate 10000]`` starts all of them on this machine and
measures, each as median, 99 % and largest of milliseconds:

- REST, one client that asks again when it has its answer; 50 requests a second on a fixed
  schedule (a late start counts as waiting); 200 clients that ask at the same moment;
- the topic, from before a transaction is published until its decision is read: one at a time, and
  `--rate` a second.

Also prints what a batch costs the worker, stage by stage, in each part. REST answers count only
with status 200: the transaction is on the stream and its decision committed.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import math
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta

from kafka import KafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.parts import Parts, make_champion, running, stream_of
from fraudwatch.casework import db, users
from fraudwatch.casework.auth import Passwords
from fraudwatch.clock import SystemClock
from fraudwatch.domain.access import Role
from streams.carriers import open_publisher
from streams.source import Message
from streams.topics import create_topics
from tests.kafka_broker import free_ports

PARTITIONS = 4
PATIENCE_SECONDS = 60.0


def percentiles(name: str, seconds: Sequence[float], note: str = "") -> None:
    """Print one line of the table, in milliseconds."""
    ordered = sorted(seconds)
    at = [ordered[math.ceil(share * len(ordered)) - 1] * 1000 for share in (0.5, 0.99, 1.0)]
    shown = "".join(f"{value:9.1f}" for value in at)
    print(f"{name:44}{len(ordered):8}{shown}  {note}", flush=True)


class Service:
    """The processes, and what they say of themselves."""

    def __init__(self, parts: Parts, stack: ExitStack) -> None:
        self.parts = parts
        settings = parts.settings
        self.port, self._metrics_port = free_ports(2)
        self._environment = os.environ | {
            "FRAUDWATCH_DATA_DIR": str(settings.data_dir),
            "FRAUDWATCH_DATABASE_URL": settings.database_url,
            "FRAUDWATCH_STREAM_URL": settings.stream_url,
            "FRAUDWATCH_SECRET_KEY": settings.secret_key.get_secret_value(),
            "FRAUDWATCH_PORT": str(self.port),
            "FRAUDWATCH_METRICS_PORT": str(self._metrics_port),
            "FRAUDWATCH_ASK_RATE": "100000",
            "FRAUDWATCH_ASK_BURST": "100000",
            "FRAUDWATCH_LOG_LEVEL": "WARNING",
        }
        for command in ("api", "worker"):
            stack.enter_context(self._process(command))
        self._until_ready(f"http://127.0.0.1:{self.port}/ready")
        self._until_ready(f"http://127.0.0.1:{self._metrics_port}/metrics")
        self.token = self._token()

    @contextmanager
    def _process(self, command: str) -> Iterator[None]:
        process = subprocess.Popen(
            [sys.executable, "-m", "fraudwatch.cli", command], env=self._environment
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)

    @staticmethod
    def _until_ready(url: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _token(self) -> str:
        now = SystemClock().now()
        with db.session_factory(self.parts.engine).begin() as session:
            user = users.create_user(
                session, Passwords(), name="bench", role=Role.PAYMENT_SYSTEM, now=now
            )
            return users.issue_token(
                session, user, name="bench", now=now, lifetime=timedelta(days=1)
            )

    def stages(self) -> dict[str, tuple[float, float]]:
        """Seconds and batches of each stage of the worker so far."""
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        found: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(text):
            if family.name == "fraudwatch_stage_seconds":
                for sample in family.samples:
                    kind = sample.name.rpartition("_")[2]
                    if kind in {"sum", "count"}:
                        found.setdefault(sample.labels["stage"], {})[kind] = sample.value
        return {stage: (v["sum"], v["count"]) for stage, v in found.items()}

    @contextmanager
    def stages_shown(self) -> Iterator[None]:
        """Prints what a batch cost the worker in this block, stage by stage."""
        before = self.stages()
        yield
        parts = []
        for stage, (seconds, batches) in self.stages().items():
            was_seconds, was_batches = before.get(stage, (0.0, 0.0))
            if batches > was_batches:
                each = (seconds - was_seconds) / (batches - was_batches) * 1000
                parts.append(f"{stage} {each:.2f}")
        print(f"    ms a batch: {', '.join(parts)}", flush=True)


class Client:
    """One connection that asks."""

    def __init__(self, service: Service) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        self._headers = {
            "Authorization": f"Bearer {service.token}",
            "Content-Type": "application/json",
        }
        self._connection.connect()

    def ask(self, body: bytes) -> int:
        """The status of the answer."""
        self._connection.request("POST", "/v1/transactions?wait_ms=5000", body, self._headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status


def decided(statuses: Sequence[int]) -> str:
    return "" if set(statuses) == {200} else f"statuses: {sorted(set(statuses))}"


def warm_up(service: Service, messages: Iterator[Message]) -> None:
    """Alone and together: what is compiled or connected on first use is not measured."""
    client = Client(service)
    for _ in range(50):
        client.ask(next(messages).value)
    bodies = [next(messages).value for _ in range(320)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda body: Client(service).ask(body), bodies))


def one_client(service: Service, messages: Iterator[Message], seconds: float) -> None:
    client = Client(service)
    taken, statuses = [], []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        body = next(messages).value
        began = time.perf_counter()
        statuses.append(client.ask(body))
        taken.append(time.perf_counter() - began)
    percentiles("REST, one client", taken, decided(statuses))


def on_schedule(
    service: Service, messages: Iterator[Message], seconds: float, per_second: float
) -> None:
    count = int(seconds * per_second)
    bodies = [next(messages).value for _ in range(count)]
    clients = threading.local()
    began = time.perf_counter() + 0.5

    def ask(number: int) -> tuple[float, int]:
        if not hasattr(clients, "own"):
            clients.own = Client(service)
        due = began + number / per_second
        time.sleep(max(0.0, due - time.perf_counter()))
        status = clients.own.ask(bodies[number])
        return time.perf_counter() - due, status

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, range(count)))
    percentiles(
        f"REST, {per_second:.0f} a second", [t for t, _ in found], decided([s for _, s in found])
    )


def at_once(service: Service, messages: Iterator[Message], clients: int, rounds: int) -> None:
    bodies = [next(messages).value for _ in range(clients * rounds)]
    start = threading.Barrier(clients)

    def ask(number: int) -> list[tuple[float, int]]:
        client = Client(service)
        found = []
        for turn in range(rounds):
            start.wait()
            began = time.perf_counter()
            status = client.ask(bodies[turn * clients + number])
            found.append((time.perf_counter() - began, status))
        return found

    with ThreadPoolExecutor(clients) as pool:
        found = list(itertools.chain.from_iterable(pool.map(ask, range(clients))))
    percentiles(
        f"REST, {clients} clients at the same moment",
        [t for t, _ in found],
        decided([s for _, s in found]),
    )


class Decisions:
    """Reads the topic of decisions: when each was seen."""

    def __init__(self, parts: Parts) -> None:
        self._consumer = KafkaConsumer(
            bootstrap_servers=parts.bootstrap, group_id=None, max_poll_records=5000
        )
        partitions = [
            TopicPartition(parts.settings.topic_decisions, number) for number in range(PARTITIONS)
        ]
        self._consumer.assign(partitions)
        self._consumer.seek_to_end(*partitions)
        for partition in partitions:
            self._consumer.position(partition)

    def seen(self) -> dict[bytes, float]:
        """The ids read now, with the moment."""
        records = self._consumer.poll(timeout_ms=100)
        now = time.perf_counter()
        return {
            dict(record.headers)["transaction_id"]: now
            for batch in records.values()
            for record in batch
        }

    def close(self) -> None:
        self._consumer.close()


def transaction_id(message: Message) -> bytes:
    return json.loads(message.value)["transaction_id"].encode()  # type: ignore[no-any-return]


def one_at_a_time(parts: Parts, messages: Iterator[Message], seconds: float) -> None:
    taken = []
    until = time.perf_counter() + seconds
    with (
        closing(open_publisher(parts.settings, SystemClock())) as publisher,
        closing(Decisions(parts)) as decisions,
    ):
        while time.perf_counter() < until:
            message = next(messages)
            wanted = transaction_id(message)
            began = time.perf_counter()
            publisher.send(parts.settings.topic_transactions, [message])
            while wanted not in (found := decisions.seen()):
                if time.perf_counter() > began + PATIENCE_SECONDS:
                    raise SystemExit("no decision came")
            taken.append(found[wanted] - began)
    percentiles("topic, one at a time", taken)


def at_rate(parts: Parts, messages: Sequence[Message], per_second: int) -> None:
    """Published on a schedule, ten milliseconds' worth at a time; due times count."""
    step = max(1, per_second // 100)
    due: dict[bytes, float] = {}
    began = time.perf_counter() + 1.0

    def publish() -> float:
        with closing(open_publisher(parts.settings, SystemClock())) as publisher:
            for first in range(0, len(messages), step):
                time.sleep(max(0.0, began + first / per_second - time.perf_counter()))
                publisher.send(parts.settings.topic_transactions, messages[first : first + step])
        return len(messages) / (time.perf_counter() - began)

    for number, message in enumerate(messages):
        due[transaction_id(message)] = began + (number // step * step) / per_second
    seen: dict[bytes, float] = {}
    with ThreadPoolExecutor(1) as pool, closing(Decisions(parts)) as decisions:
        publishing = pool.submit(publish)
        until = time.perf_counter() + len(messages) / per_second + PATIENCE_SECONDS
        while len(seen) < len(due) and time.perf_counter() < until:
            seen.update(
                (found, moment) for found, moment in decisions.seen().items() if found in due
            )
        reached = publishing.result()
    # The first second warms up; nothing is left out of what came later.
    taken = [moment - due[found] for found, moment in seen.items() if due[found] >= began + 1.0]
    note = f"published {reached:,.0f} a second"
    if len(seen) < len(due):
        note += f", {len(due) - len(seen)} had no decision in time"
    percentiles(f"topic, {per_second:,} a second", taken, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--customers", type=int, default=3_000)
    parser.add_argument("--only", choices=["rest", "topic"], help="measure one part alone")
    options = parser.parse_args()
    bulk = int(options.rate * (options.seconds + 1))
    with running(partitions=PARTITIONS) as parts, ExitStack() as stack:
        world = make_champion(parts, options.customers)
        create_topics(parts.settings)
        stream = stream_of(world, bulk + 40_000)
        few, many = iter(stream[:40_000]), stream[40_000:]
        service = Service(parts, stack)
        print(f"{'':44}{'answers':>8}{'median':>9}{'99 %':>9}{'most':>9}  ms", flush=True)
        warm_up(service, few)
        if options.only != "topic":
            with service.stages_shown():
                one_client(service, few, options.seconds)
            with service.stages_shown():
                on_schedule(service, few, options.seconds, 50)
            with service.stages_shown():
                at_once(service, few, 200, 5)
        if options.only != "rest":
            with service.stages_shown():
                one_at_a_time(parts, few, options.seconds)
            with service.stages_shown():
                at_rate(parts, many, options.rate)


if __name__ == "__main__":
    main()
