"""Around every request: id, limits of size and time, headers, metrics, a last net for errors."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fraudwatch.casework.attachments import MOST_BYTES
from fraudwatch.casework.problems import problem, respond, unexpected
from fraudwatch.telemetry import REQUEST_SECONDS

MAX_BODY_BYTES = 256 * 1024
BODY_SECONDS = 60.0  # for a whole body: a sender that drips must not hold a connection

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

HSTS = "max-age=31536000; includeSubDomains"
"""Sent where cookies are for HTTPS alone: browsers then never ask by HTTP."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_UPLOAD = re.compile(r"(/v1)?/cases/[0-9]+/attachments")
_MAX_UPLOAD_BYTES = MOST_BYTES + 64 * 1024  # a file and what is around it in a form

_log = logging.getLogger(__name__)


class Edge:
    """ASGI middleware; the outermost, so that even a 500 has its headers."""

    def __init__(
        self, app: ASGIApp, *, https: bool = True, body_seconds: float = BODY_SECONDS
    ) -> None:
        self.app = app
        self._headers = SECURITY_HEADERS | ({"Strict-Transport-Security": HSTS} if https else {})
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = scope["request_id"] = secrets.token_hex(8)
        status = 500
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Request-Id"] = request_id
            await send(message)

        received, most = 0, _most(scope["path"])
        whole = False
        until = asyncio.get_running_loop().time() + self._body_seconds

        async def receive_some() -> Message:
            nonlocal received, whole
            if whole:  # what comes now is that the other side has gone, whenever it goes
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                detail = f"a body must come within {self._body_seconds:g} seconds"
                raise HTTPException(408, detail) from None
            whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > most:
                raise HTTPException(413, _too_large(most))
            return message

        begin = time.perf_counter()
        try:
            refusal = _refusal(Request(scope, receive))
            await (refusal or self.app)(scope, receive_some, send_with_headers)
        except Exception:
            _log.exception("request failed", extra={"data": {"request_id": request_id}})
            if started:
                raise
            await unexpected(Request(scope))(scope, receive, send_with_headers)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            # The template, never the path: a path holds ids, and there is no end of them.
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - begin
            REQUEST_SECONDS.labels(method, route, str(status)).observe(seconds)


def _refusal(request: Request) -> Response | None:
    """An answer for a request that is too large, or that another site made a browser send."""
    length = request.headers.get("content-length", "")
    most = _most(request.url.path)
    if length.isdecimal() and int(length) > most:
        return respond(request, problem(413, "too-large", _too_large(most)))
    if request.method not in _SAFE and not _same_origin(request.headers):
        return respond(request, problem(403, "cross-site", "requests from other sites are refused"))
    return None


def _most(path: str) -> int:
    """Bytes that a request to the path may have."""
    return _MAX_UPLOAD_BYTES if _UPLOAD.fullmatch(path) else MAX_BODY_BYTES


def _too_large(most: int) -> str:
    return f"a request has at most {most // 1024} KiB"


def _same_origin(headers: Headers) -> bool:
    """Guards sign-in, which has no session yet to hold a token. Programs send neither header."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")
