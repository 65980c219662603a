"""The audit of dependencies fails on a known fault, and only on that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.dependencies import audit
from tests.kafka_broker import free_ports

FAULT: dict[str, Any] = {
    "id": "TEST-1",
    "summary": "a fault for this test",
    "affected": [{"package": {"name": "left-pad", "ecosystem": "PyPI"}, "ranges": []}],
}


@contextmanager
def advisories(vulnerable: str) -> Iterator[str]:
    """A service that knows a fault of one package, at its URL."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            found = {"vulns": [FAULT]} if asked["package"]["name"] == vulnerable else {}
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "some.lock"
    file.write_text(f"left-pad==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    return file


def test_a_known_fault_fails_the_check(lock: Path) -> None:
    with advisories("left-pad") as service:
        assert audit((lock,), service) == 1


def test_packages_without_a_known_fault_pass(lock: Path) -> None:
    with advisories("right-pad") as service:
        assert audit((lock,), service) == 0


def test_without_the_service_the_check_passes_and_says_so_loudly(
    lock: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (port,) = free_ports(1)
    assert audit((lock,), f"http://127.0.0.1:{port}/v1/query") == 0
    assert "NOT CHECKED" in capfd.readouterr().out
