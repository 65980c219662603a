"""Around every request: headers, limits of time and of rate."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message

from fraudwatch.casework.app import create_app
from fraudwatch.casework.edge import Edge
from fraudwatch.casework.rate_limits import RateLimits
from fraudwatch.domain.access import Role
from tests.api.conftest import Api


def test_browsers_are_told_to_stay_with_https_where_cookies_are(api: Api) -> None:
    answer = api.client().get("/health")
    assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    settings = api.services.settings.model_copy(update={"cookie_secure": False})
    open_app = create_app(replace(api.services, settings=settings))
    answer = TestClient(open_app).get("/health")
    assert "strict-transport-security" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH", "PUT"])
@pytest.mark.parametrize("path", ["/v1/me", "/cases", "/nowhere", "/v1/cases/1/notes"])
def test_no_answer_is_kept_by_caches(api: Api, method: str, path: str) -> None:
    """Also refusals and what is not there: they tell who asked for what."""
    assert api.client().request(method, path).headers["cache-control"] == "no-store"


def test_a_session_or_token_that_sends_too_much_is_told_to_wait(api: Api) -> None:
    """And nobody else is."""
    now = 0.0
    api.app.state.request_limits = RateLimits(1, 3, lambda: now)
    hasty, calm = api.program(Role.ANALYST), api.program(Role.SENIOR)
    assert [hasty.get("/v1/me").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = hasty.get("/v1/cases")
    assert refused.json()["code"] == "busy"
    assert refused.headers["retry-after"] == "1"
    assert calm.get("/v1/me").status_code == 200
    with api.seed() as seed:
        seed.user("ada")
    browser, _ = api.browser("ada")
    assert [browser.get("/v1/me").status_code for _ in range(4)] == [200, 200, 200, 429]
    now = 1.0
    assert [hasty.get("/v1/me").status_code for _ in range(2)] == [200, 429]


def test_a_body_that_drips_is_cut_off(api: Api) -> None:
    """Whoever announces a body and does not send it holds no connection."""
    edge = Edge(api.app, body_seconds=0.01)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nothing ever comes")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https",
        "path": "/v1/login",
        "raw_path": b"/v1/login",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 443),
    }
    # In a thread of its own: one that has driven a browser keeps a running loop.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(edge(scope, receive, send))).result()
    assert sent[0]["status"] == 408
    assert b"too-slow" in sent[1]["body"]
