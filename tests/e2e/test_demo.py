"""`fraudwatch demo` as a person meets it: first start, a second copy, a kill, a second start."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fraudwatch.demo import folder
from fraudwatch.errors import ConfigurationError
from tests.e2e.running import Commands, status, until
from tests.kafka_broker import free_ports

START_SECONDS = 240  # a first start trains a model; here other tests may run beside it


class Demo:
    """One run of the demo, and what it says."""

    def __init__(self, commands: Commands, port: int) -> None:
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fraudwatch.cli", "demo", "--port", str(port)],
            env=commands.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line

    def running(self) -> bool:
        assert self.process.poll() is None, self.said
        return "Ctrl-C stops everything" in self.said

    def ended(self, number: signal.Signals, seconds: float) -> int:
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def commands() -> Iterator[Commands]:
    with tempfile.TemporaryDirectory(prefix="fraudwatch-test-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Commands(Path(made), {"FRAUDWATCH_DATA_DIR": made})


def _sign_in(address: str, said: str) -> int:
    password = re.search(r"sign in as ana, password (\S+)", said)
    assert password, said
    body = json.dumps({"name": "ana", "password": password.group(1)}).encode()
    return status(f"{address}/v1/login", {"Content-Type": "application/json"}, body)


@pytest.mark.timeout(900)
def test_demo_survives_what_people_do_to_it(commands: Commands) -> None:
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    demo = Demo(commands, port)
    until(demo.running, "the first start", START_SECONDS)
    assert _sign_in(address, demo.said) == 200
    assert status(f"{address}/ready") == 200

    # A second copy on the same folder is told who has it, and changes nothing.
    second = Demo(commands, port)
    assert second.process.wait(60) == 1
    second.process.communicate()
    assert f"process {demo.process.pid}" in second.said
    assert "Traceback" not in second.said

    # Killed: the parts notice, end, and the folder is free again.
    assert demo.ended(signal.SIGKILL, 10) == -signal.SIGKILL
    until(lambda: _free(commands.folder), "the parts' end", 60)

    # The next start goes on; nothing is lost or decided twice.
    before = _rows(commands)
    demo = Demo(commands, port)
    until(demo.running, "the second start", START_SECONDS)
    assert "a model trained on it" not in demo.said, "the past is there already"
    assert _sign_in(address, demo.said) == 200, "a new password for a new run"
    until(lambda: _rows(commands) > before, "payments after the restart")

    assert demo.ended(signal.SIGINT, 60) == 0
    assert "Traceback" not in demo.said
    assert _free(commands.folder)
    assert not (commands.folder / "postgresql" / "postmaster.pid").exists()
    assert json.loads(commands.run("verify", "--json"))["ok"]


def test_demo_on_a_busy_port_says_so_and_starts_nothing(commands: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        demo = Demo(commands, port)
        assert demo.process.wait(60) == 1
        demo.process.communicate()
    assert f"cannot listen on 127.0.0.1:{port}" in demo.said
    assert "FRAUDWATCH_PORT" in demo.said
    assert not (commands.folder / "postgresql").exists()


def _rows(commands: Commands) -> int:
    proof = json.loads(commands.run("verify", "--json"))
    assert proof["ok"]
    rows: int = sum(p["rows"] for p in proof["partitions"] if p["topic"] == "transactions")
    return rows


def _free(data: Path) -> bool:
    """Whether the folder's lock, which a demo shares with its parts, is held by nobody."""
    try:
        with folder.locked(data, wait=0):
            return True
    except ConfigurationError:
        return False
