"""How long an answer takes, over REST and on the topic; all parts run as processes.

``python -m benchmarks.asking [--seconds 8] [--rate 10000] [--rounds 3] [--only rest|topic]`` starts
all of them on this machine and measures in each round, as the time within which 99 of 100 answers
came:

- REST, one client that asks again when it has its answer; 50 requests a second on a fixed
  schedule (a late start counts as waiting); 200 clients that ask at the same moment; beside them
  `GET /health`, which asks nothing of anyone;
- the topic, from before a transaction is published until its decision is read: one at a time, and
  so many a second; beside them a message that only goes to the broker and back.

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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from statistics import median

from kafka import KafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.parts import (
    SEED,
    TRAINING_DAYS,
    Parts,
    make_champion,
    make_topics,
    running,
    stream_of,
)
from benchmarks.table import Figure, Noise, aligned, shown
from fraudwatch.casework import db, tokens, users
from fraudwatch.casework.auth import Passwords
from fraudwatch.clock import SystemClock
from fraudwatch.domain.access import Role
from streams.carriers import open_publisher
from streams.source import Message
from streams.topics import create_topics
from tests.kafka_broker import free_ports

PARTITIONS = 4
PATIENCE_SECONDS = 60.0
SECONDS, RATE, ROUNDS, CUSTOMERS = 8.0, 10_000, 3, 3_000
BULK_SECONDS, SLOWER = 4, 4
ECHO = "bench-echo"
HEALTH, ROUND_TRIP = "GET /health", "to the broker and back"
ONE = "POST /v1/transactions, one client"
SCHEDULE = "POST /v1/transactions, 50 a second"
TOGETHER = "POST /v1/transactions, 200 clients at the same moment"
TOPIC = "event to decision, one at a time"
REST = (HEALTH, ONE, SCHEDULE, TOGETHER)
GOALS = {ONE: 20.0, SCHEDULE: 50.0, TOPIC: 20.0}  # milliseconds
GOAL_AT_RATE = 100.0
INPUT = (
    f"asking: simulator of seed {SEED} with {CUSTOMERS:,} customers, a model of its first "
    f"{TRAINING_DAYS} days, the messages after them in order"
)


@dataclass(frozen=True)
class Taken:
    """Seconds until each answer, one tuple a round, and what was strange about them."""

    rounds: tuple[tuple[float, ...], ...]
    notes: tuple[str, ...] = ()

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.rounds + other.rounds, self.notes + other.notes)

    def at(self, share: float) -> tuple[float, ...]:
        """Milliseconds within which this share of the answers came, in each round."""
        return tuple(sorted(r)[math.ceil(share * len(r)) - 1] * 1000 for r in self.rounds)


def taken(seconds: Sequence[float], note: str = "") -> Taken:
    return Taken((tuple(seconds),), (note,) if note else ())


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
            made = tokens.issue(session, user, name="bench", now=now, lifetime=timedelta(days=1))
            return made.token

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
        return self._status("POST", "/v1/transactions?wait_ms=5000", body)

    def health(self) -> int:
        """The status of an answer that needs no database, stream or token."""
        return self._status("GET", "/health", None)

    def _status(self, method: str, path: str, body: bytes | None) -> int:
        self._connection.request(method, path, body, self._headers)
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


def one_client(service: Service, messages: Iterator[Message], seconds: float) -> Taken:
    client = Client(service)
    return repeatedly(client.ask, messages, seconds)


def health(service: Service, messages: Iterator[Message], seconds: float) -> Taken:
    client = Client(service)
    return repeatedly(lambda _: client.health(), messages, seconds)


def repeatedly(ask: Callable[[bytes], int], messages: Iterator[Message], seconds: float) -> Taken:
    found, statuses = [], []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        body = next(messages).value
        began = time.perf_counter()
        statuses.append(ask(body))
        found.append(time.perf_counter() - began)
    return taken(found, decided(statuses))


def on_schedule(
    service: Service, messages: Iterator[Message], seconds: float, per_second: float
) -> Taken:
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
    return taken([t for t, _ in found], decided([s for _, s in found]))


def at_once(service: Service, messages: Iterator[Message], clients: int, turns: int) -> Taken:
    bodies = [next(messages).value for _ in range(clients * turns)]
    start = threading.Barrier(clients)

    def ask(number: int) -> list[tuple[float, int]]:
        client = Client(service)
        found = []
        for turn in range(turns):
            start.wait()
            began = time.perf_counter()
            status = client.ask(bodies[turn * clients + number])
            found.append((time.perf_counter() - began, status))
        return found

    with ThreadPoolExecutor(clients) as pool:
        found = list(itertools.chain.from_iterable(pool.map(ask, range(clients))))
    return taken([t for t, _ in found], decided([s for _, s in found]))


class Decisions:
    """Reads a topic whose messages name their transaction: when each was seen."""

    def __init__(self, parts: Parts, topic: str) -> None:
        self._consumer = KafkaConsumer(
            bootstrap_servers=parts.bootstrap, group_id=None, max_poll_records=5000
        )
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
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


def one_at_a_time(parts: Parts, messages: Iterator[Message], seconds: float) -> Taken:
    settings = parts.settings
    return there_and_back(
        parts, messages, seconds, settings.topic_transactions, settings.topic_decisions
    )


def echo(parts: Parts, messages: Iterator[Message], seconds: float) -> Taken:
    """To the broker and back, without a worker."""
    named = (
        Message(message.key, message.value, (("transaction_id", transaction_id(message)),))
        for message in messages
    )
    return there_and_back(parts, named, seconds, ECHO, ECHO)


def there_and_back(
    parts: Parts, messages: Iterator[Message], seconds: float, asked: str, answered: str
) -> Taken:
    found: list[float] = []
    until = time.perf_counter() + seconds
    with (
        closing(open_publisher(parts.settings, SystemClock())) as publisher,
        closing(Decisions(parts, answered)) as decisions,
    ):
        while time.perf_counter() < until:
            message = next(messages)
            wanted = transaction_id(message)
            began = time.perf_counter()
            publisher.send(asked, [message])
            while wanted not in (seen := decisions.seen()):
                if time.perf_counter() > began + PATIENCE_SECONDS:
                    raise TimeoutError("no decision came")
            found.append(seen[wanted] - began)
    return taken(found[1:])  # the first one connects


def at_rate(parts: Parts, messages: Sequence[Message], per_second: int) -> Taken:
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
    with (
        ThreadPoolExecutor(1) as pool,
        closing(Decisions(parts, parts.settings.topic_decisions)) as decisions,
    ):
        publishing = pool.submit(publish)
        until = time.perf_counter() + len(messages) / per_second + PATIENCE_SECONDS
        while len(seen) < len(due) and time.perf_counter() < until:
            seen.update(
                (found, moment) for found, moment in decisions.seen().items() if found in due
            )
        reached = publishing.result()
    # The first second warms up; nothing is left out of what came later.
    found = [moment - due[wanted] for wanted, moment in seen.items() if due[wanted] >= began + 1.0]
    missing = len(due) - len(seen)
    notes = ["the publisher did not keep up"] * (reached < 0.95 * per_second)
    notes += [f"{missing} had no decision in time"] * (missing > 0)
    return taken(found, ", ".join(notes))


def measure(
    noise: Noise,
    seconds: float = SECONDS,
    rate: int = RATE,
    rounds: int = ROUNDS,
    customers: int = CUSTOMERS,
    only: str | None = None,
) -> list[Figure]:
    """Each way of asking in each round, with the processes of one installation."""
    bulk = [number * (1 + BULK_SECONDS) for number in (rate, rate // SLOWER)]
    few_rows = 60_000
    with running(partitions=PARTITIONS) as parts, ExitStack() as stack:
        world = make_champion(parts, customers)
        create_topics(parts.settings)
        make_topics(parts.bootstrap, [ECHO], PARTITIONS)
        stream = stream_of(world, few_rows + rounds * sum(bulk))
        few, many = iter(stream[:few_rows]), iter(stream[few_rows:])
        service = Service(parts, stack)
        warm_up(service, few)
        ways: dict[str, Callable[[], Taken]] = {
            HEALTH: lambda: health(service, few, 1.0),
            ONE: lambda: one_client(service, few, seconds),
            SCHEDULE: lambda: on_schedule(service, few, seconds, 50),
            TOGETHER: lambda: at_once(service, few, 200, 2),
            ROUND_TRIP: lambda: echo(parts, few, 2.0),
            TOPIC: lambda: one_at_a_time(parts, few, seconds),
            f"event to decision, {rate:,} a second": lambda: at_rate(
                parts, list(islice(many, bulk[0])), rate
            ),
            f"event to decision, {rate // SLOWER:,} a second": lambda: at_rate(
                parts, list(islice(many, bulk[1])), rate // SLOWER
            ),
        }
        if only:
            ways = {name: way for name, way in ways.items() if (name in REST) == (only == "rest")}
        found: dict[str, Taken] = dict.fromkeys(ways, Taken(()))
        for _ in range(rounds):
            for name, way in ways.items():
                noise.sample()
                with service.stages_shown():
                    found[name] += way()
                print(f"{name}: {found[name].at(0.99)[-1]:.1f} ms", flush=True)
    goals = {**GOALS, f"event to decision, {RATE:,} a second": GOAL_AT_RATE}
    return [
        figure(name, times, found[HEALTH if name in REST else ROUND_TRIP], goals.get(name))
        for name, times in found.items()
        if name not in (HEALTH, ROUND_TRIP)
    ]


def figure(name: str, times: Taken, bare: Taken, goal: float | None) -> Figure:
    """The 99th percentile, beside the median and the bare way in the same rounds."""
    way = HEALTH if name in REST else ROUND_TRIP
    answers = sum(map(len, times.rounds))
    beside = (
        f"median {shown(median(times.at(0.5)))} ms of {answers:,} answers; {way} "
        f"{shown(median(bare.at(0.99)))} ms"
    )
    return Figure(
        f"{name}, 99 %",
        times.at(0.99),
        "ms",
        goal,
        beside="; ".join((beside, *dict.fromkeys(times.notes))),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--only", choices=["rest", "topic"], help="measure one part alone")
    print(aligned(measure(Noise(), **vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
