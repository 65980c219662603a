"""A real Apache Kafka for tests and for development, without Docker.

The jars come once through Maven into a cache outside the checkout (`TESTS_CACHE`, else
``~/.cache/fraudwatch``); the broker is one Java process that is broker and controller at once.

By hand: ``python -m tests.kafka_broker --port 9092 --dir /tmp/kafka`` runs one in the foreground
until Ctrl-C or SIGTERM. The folder keeps the topics for the next start.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.parts import skip_or_fail

KAFKA_VERSION = "4.3.0"
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>fraudwatch.test</groupId>
  <artifactId>broker</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <!-- the same major as the slf4j-api that Kafka brings; without it the broker is silent -->
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""
COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"


class BrokerMissing(Exception):
    """No broker can be had here: why."""


def cache_folder() -> Path:
    """Where jars are kept between runs."""
    named = os.environ.get("TESTS_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "fraudwatch"


def fetch_jars() -> Path:
    """The folder of Kafka's jars, fetched on first use. Raises `BrokerMissing`."""
    jars = cache_folder() / f"kafka-{KAFKA_VERSION}"
    if not shutil.which("java"):
        raise BrokerMissing("there is no java on the path (OpenJDK 17 or later)")
    if any(jars.glob("kafka_2.13-*.jar")):
        return jars
    if not shutil.which("mvn"):
        raise BrokerMissing(f"there is no mvn on the path to fetch Kafka, and none in {jars}")
    jars.parent.mkdir(parents=True, exist_ok=True)
    # Fetched beside and moved at the end: a run that is cut short leaves no half a cache.
    with tempfile.TemporaryDirectory(dir=jars.parent) as folder:
        (Path(folder) / "pom.xml").write_text(POM)
        command = ["mvn", "-B", "-q", COPY_JARS, "-DincludeScope=runtime", "-DoutputDirectory=jars"]
        done = subprocess.run(
            command, check=False, cwd=folder, capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            raise BrokerMissing(f"Maven could not fetch Kafka: {done.stdout[-500:]}")
        shutil.rmtree(jars, ignore_errors=True)
        (Path(folder) / "jars").rename(jars)
    return jars


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@dataclass(frozen=True)
class Extras:
    """What a broker has beside the plain one: listeners (name and security protocol), properties,
    arguments for formatting its folder and for Java."""

    listeners: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, object] = field(default_factory=dict)
    format: Sequence[str] = ()
    java: Sequence[str] = ()


class Broker:
    """One Kafka process on 127.0.0.1. Can be stopped, killed, frozen and started again.

    `ports` has the port of each listener of `extras`, by its name.
    """

    def __init__(self, folder: Path, port: int = 0, extras: Extras = Extras()) -> None:
        self.jars = fetch_jars()
        self.folder = folder
        self.extras = extras
        self.ports = dict(zip(extras.listeners, free_ports(len(extras.listeners)), strict=True))
        if port:
            self.port, self.controller_port = port, port + 1
        else:
            self.port, self.controller_port = free_ports(2)
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._configuration = folder / "server.properties"
        self._configuration.write_text(self._properties())
        if not (folder / "data" / "meta.properties").exists():
            cluster = self._tool("random-uuid").strip().splitlines()[-1]
            self._tool("format", "-t", cluster, "-c", str(self._configuration), *extras.format)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _properties(self) -> str:
        controller = f"127.0.0.1:{self.controller_port}"
        names = {"PLAINTEXT": self.port} | self.ports
        clients = ",".join(f"{name}://127.0.0.1:{port}" for name, port in names.items())
        protocols = {"CONTROLLER": "PLAINTEXT", "PLAINTEXT": "PLAINTEXT"} | dict(
            self.extras.listeners
        )
        lines: dict[str, object] = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"{clients},CONTROLLER://{controller}",
            "advertised.listeners": clients,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}" for name, protocol in protocols.items()
            ),
            "log.dirs": self.folder / "data",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "log.cleaner.dedupe.buffer.size": 4194304,
        } | dict(self.extras.properties)
        return "".join(f"{name}={value}\n" for name, value in lines.items())

    def _tool(self, *arguments: str) -> str:
        done = subprocess.run(
            ["java", "-cp", f"{self.jars}/*", "kafka.tools.StorageTool", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise BrokerMissing(f"Kafka's storage tool failed: {done.stderr[-500:]}")
        return done.stdout

    def start(self, timeout: float = 60) -> None:
        """Start it and wait until it names itself as a broker."""
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "java",
                    "-Xms128m",
                    "-Xmx384m",
                    "-XX:+UseSerialGC",
                    "-XX:TieredStopAtLevel=1",
                    "-Djava.awt.headless=true",
                    *self.extras.java,
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                    "-cp",
                    f"{self.jars}/*",
                    "kafka.Kafka",
                    str(self._configuration),
                ],
                stdout=log,
                stderr=log,
                # its own session: Ctrl-C in a terminal reaches the tests, not the broker
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.1)
        self.kill()
        tail = (self.folder / "broker.log").read_text(errors="replace")[-1000:]
        raise BrokerMissing(f"Kafka did not come up in {timeout} s: {tail}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                pass
        except OSError:
            return False
        # An open port is not enough: the broker answers before it has joined its cluster.
        try:
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=5000)
        except KafkaError:
            return False
        try:
            return len(admin.describe_cluster()["brokers"]) == 1
        except KafkaError:
            return False
        finally:
            admin.close()

    def stop(self) -> None:
        """Stop it in good order; by force after 30 s."""
        if self.process is None:
            return
        self.thaw()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """Let it keep its connections and answer nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def segment(self, topic: str, partition: int) -> Path:
        """The first log file of a partition on disk, for tests that damage it."""
        return self.folder / "data" / f"{topic}-{partition}" / f"{0:020d}.log"


def run_broker(extras: Callable[[Path], Extras] = lambda folder: Extras()) -> Iterator[Broker]:
    """A broker in a folder of its own, which `extras` may put files into before it starts."""
    folder = Path(tempfile.mkdtemp(prefix="fraudwatch-kafka-"))
    try:
        try:
            broker = Broker(folder, extras=extras(folder))
            broker.start()
        except BrokerMissing as missing:
            skip_or_fail("kafka", str(missing))
        yield broker
        broker.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Broker]:
    """A broker that all tests of this run share; each test makes topics of its own."""
    yield from run_broker()


@pytest.fixture
def own_kafka_broker() -> Iterator[Broker]:
    """A broker for one test alone, which may stop, freeze or damage it."""
    yield from run_broker()


def main() -> None:
    """Run a broker in the foreground."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--dir", type=Path, required=True, help="keeps the topics")
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    broker = Broker(options.dir, options.port)
    broker.start()
    sys.stdout.write(f"Kafka {KAFKA_VERSION} listens on {broker.bootstrap}\n")
    sys.stdout.flush()
    while not ended.wait(1):
        if broker.process is not None and broker.process.poll() is not None:
            raise SystemExit(f"Kafka ended by itself, see {options.dir}/broker.log")
    broker.stop()


if __name__ == "__main__":
    main()
