"""A worker that hangs is ended by itself and started again by its supervisor. Real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, text

from fraudwatch.clock import SystemClock
from fraudwatch.demo.supervisor import Part, Supervisor
from fraudwatch.settings import Settings, load_settings
from streams.carriers import open_publisher
from streams.source import Message
from streams.topics import create_topics
from streams.watchdog import EXIT_CODE
from tests.e2e.running import status
from tests.kafka_broker import free_ports

PATIENCE = 90.0


@pytest.fixture
def settings(tmp_path: Path, database_url: URL) -> Settings:
    plain = database_url.set(drivername="postgresql")
    made = load_settings(
        data_dir=tmp_path,
        database_url=plain.render_as_string(hide_password=False),
        secret_key="k" * 32,
        metrics_port=free_ports(1)[0],
        watchdog_seconds=3,
        partitions=1,
    )
    create_topics(made)
    return made


def environment(settings: Settings) -> dict[str, str]:
    named = {
        "DATA_DIR": settings.data_dir,
        "DATABASE_URL": settings.database_url,
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "METRICS_PORT": settings.metrics_port,
        "WATCHDOG_SECONDS": settings.watchdog_seconds,
    }
    given = {f"FRAUDWATCH_{name}": str(value) for name, value in named.items()}
    return {k: v for k, v in os.environ.items() if not k.startswith("FRAUDWATCH_")} | given


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "logs", lambda _: None)
    yield made
    made.stop()


def wait_for(supervisor: Supervisor, happens: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happens():
        supervisor.check()
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.1)


def backends(engine: Engine) -> list[int]:
    """Server processes behind the worker's connections."""
    with engine.connect() as connection:
        found = connection.scalars(
            text(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        )
        return list(found)


def rows(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT sum(next_offset) FROM stream_offsets")) or 0)


def send_payment(settings: Settings, number: int) -> None:
    value = (
        f'{{"transaction_id":"t{number}","account_id":"a","event_time":"2026-01-01T00:00:00Z",'
        '"amount":1,"currency":"EUR"}'
    )
    with closing(open_publisher(settings, SystemClock())) as publisher:
        publisher.send(settings.topic_transactions, [Message(b"a", value.encode())])


@pytest.mark.timeout(300)
def test_a_worker_whose_database_hangs_is_started_again(
    settings: Settings, engine: Engine, supervisor: Supervisor, tmp_path: Path
) -> None:
    """The connection stays open and nothing answers: no time limit of the server can help."""
    log = tmp_path / "logs" / "worker.log"
    command = [sys.executable, "-m", "fraudwatch.cli", "worker", "--stop-with-stdin"]
    supervisor.start(Part("worker", command, environment(settings)))
    send_payment(settings, 1)
    wait_for(supervisor, lambda: rows(engine) == 1, "the first decision")
    url = f"http://127.0.0.1:{settings.metrics_port}/healthz"
    assert status(url) == 200
    frozen = backends(engine)
    assert frozen
    try:
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        send_payment(settings, 2)
        wait_for(supervisor, lambda: "ALARM: no sign of life" in log.read_text(), "the alarm")
        wait_for(supervisor, lambda: rows(engine) == 2, "the second decision")
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    said = log.read_text()
    assert re.search(r'streams/runner.py", line \d+ in _(insist|process)', said), "where it hung"
    assert said.count("partition loaded") == 2


POLLING = """
import sys, threading
from pathlib import Path
from streams.files import FileSource
from streams.runner import Runner
from streams.watchdog import Watchdog

class Stuck(FileSource):
    polls = 0

    def poll(self, timeout):
        self.polls += 1
        if self.polls == 3:
            threading.Event().wait()  # as a disk on the network that no longer answers
        return super().poll(timeout)

class Handler:
    def assign(self, partitions): return dict.fromkeys(partitions, 0)
    def revoke(self, partitions): pass
    def process(self, batches): print("processed", flush=True)
    def idle(self): pass

runner = Runner(Stuck(Path(sys.argv[1]), "transactions", "g"), Handler(), stop=threading.Event())
Watchdog([runner.pulse], 0.5).start()
runner.run()
"""


def test_a_poll_that_hangs_ends_the_process(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    create_topics(settings)
    send_payment(settings, 1)
    done = subprocess.run(
        [sys.executable, "-c", POLLING, settings.stream[1]],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (EXIT_CODE, "processed\n")
    assert "in poll" in done.stderr
    assert "in _poll" in done.stderr
