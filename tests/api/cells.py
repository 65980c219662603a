"""Calls the application for one cell of the access matrix after the other."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from fastapi import FastAPI
from starlette.types import Message

Headers = Mapping[str, str]


def url_of(path: str) -> str:
    """Something of the path's form that does not exist: what is allowed must not happen to it."""
    return re.sub(r"\{[^}]*\}", "999", path)


async def status_of(app: FastAPI, method: str, path: str, headers: Headers) -> int:
    """The status of the answer; a stream is left as soon as it has begun.

    Bodies are empty: who may is asked before what.
    """
    begun = asyncio.Event()
    status = 0
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            begun.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (name.lower().encode(), value.encode())
            for name, value in {"host": "testserver", **headers}.items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 443),
    }
    await app(scope, receive, send)
    return status
