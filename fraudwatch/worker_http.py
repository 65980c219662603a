"""What a worker answers over HTTP: its metrics, whether it is well, whether it can work."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from fraudwatch.telemetry import REGISTRY
from streams.watchdog import Watchdog

JSON = "application/json"
PLAIN = (200, JSON, b'{"status": "ok"}')


def answer(path: str, watchdog: Watchdog) -> tuple[int, str, bytes]:
    """Status, content type and body of a GET.

    `/healthz` is 503 when the worker hangs: start it again. `/ready` is 503 as well while a part
    that it needs is away: it goes on by itself, look at that part.
    """
    route = path.partition("?")[0]
    if route == "/metrics":
        return 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
    if route not in ("/healthz", "/ready"):
        return 404, JSON, b'{"status": "unknown"}'
    if not watchdog.healthy():
        return 503, JSON, b'{"status": "hanging"}'
    away = watchdog.away()
    if route == "/ready" and away:
        return 503, JSON, json.dumps({"status": "waiting", "for": away}).encode()
    return PLAIN


@contextmanager
def served(host: str, port: int, watchdog: Watchdog) -> Iterator[int]:
    """Answer on threads of its own while the block runs; gives the port (0 takes a free one)."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds that a caller may take for its request

        def do_GET(self) -> None:
            status, kind, body = answer(self.path, watchdog)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are no news."""

    with ThreadingHTTPServer((host, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="worker-http", daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
