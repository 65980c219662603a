"""Errors as the API gives them: `application/problem+json` (RFC 9457) with a stable `code`.

Pages may show the same problem in their own way: `app.state.error_page` is asked first.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from fraudwatch.casework.auth import NotSignedIn
from fraudwatch.casework.case_rows import VersionMissing
from fraudwatch.errors import (
    Busy,
    Conflict,
    FraudwatchError,
    InputError,
    Invalid,
    NotAllowed,
    NotFound,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger(__name__)

# The first that fits: subclasses stand before their bases.
_STATUS: tuple[tuple[type[FraudwatchError], int], ...] = (
    (NotSignedIn, 401),
    (NotAllowed, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Busy, 429),
    (VersionMissing, 428),
    (Invalid, 422),
    (InputError, 422),
    (Unavailable, 503),
)

_CODES = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    408: "too-slow",
    413: "too-large",
    415: "media-type",
    422: "invalid",
}


class FieldFault(BaseModel):
    """One field of a request that cannot be: where it is and what it must be."""

    field: str
    message: str


class Problem(BaseModel):
    """What went wrong. `code` is stable; `detail` says what to do; `current` comes with a 409."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "type": "urn:fraudwatch:problem:conflict",
                    "title": "Conflict",
                    "status": 409,
                    "code": "conflict",
                    "detail": "the case has changed: you saw version 3, it is at 4",
                    "request_id": "9b1c6a0e5b2f4d3a",
                    "errors": [],
                    "current": {"id": 17, "status": "claimed", "version": 4},
                }
            ]
        }
    }
    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: list[FieldFault] = Field(default_factory=list)
    current: dict[str, Any] | None = None


ErrorPage = Callable[[Request, Problem], Response | None]


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem answers of a route, for its description."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    request_id: str = "",
    errors: list[FieldFault] | None = None,
    current: Mapping[str, object] | None = None,
) -> Problem:
    """A problem of this status."""
    return Problem(
        type=f"urn:fraudwatch:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        request_id=request_id,
        errors=errors or [],
        current=None if current is None else dict(current),
    )


def respond(request: Request, found: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for a problem: a page where one is wanted, else JSON."""
    found = found.model_copy(update={"request_id": request.scope.get("request_id", "")})
    page: ErrorPage | None = getattr(request.app.state, "error_page", None)
    answer = page(request, found) if page is not None else None
    if answer is None:
        content = jsonable_encoder(found, exclude={"current"} if found.current is None else None)
        answer = JSONResponse(content, found.status, media_type=MEDIA_TYPE)
    answer.headers.update(headers or {})
    return answer


def unexpected(request: Request) -> Response:
    """The answer for an error that nobody foresaw: it says nothing of our insides."""
    return respond(request, _unexpected())


def _unexpected() -> Problem:
    detail = "something went wrong here; the request id finds it in our log"
    return problem(500, "internal", detail)


def _input_faults(error: InputError) -> list[FieldFault]:
    """The field of a transaction that cannot be, with the decoder's reason."""
    message = f"{error.reason}: {error.detail}" if error.detail else error.reason
    return [FieldFault(field=error.field, message=message)]


def problem_of(error: FraudwatchError) -> Problem:
    """What the API says of an error of ours: nothing of our insides."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), None)
    if status is None:
        _log.error("request failed", exc_info=error)
        return _unexpected()
    if status == 503:
        _log.warning("part away", extra={"data": {"detail": str(error)}})
    detail = "a part we need is away; try again soon" if status == 503 else str(error)
    current = error.current if isinstance(error, Conflict) else None
    errors = _input_faults(error) if isinstance(error, InputError) else None
    return problem(status, error.code, detail, errors=errors, current=current)


def _on_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, FraudwatchError)  # noqa: S101 - registered for it below
    found = problem_of(error)
    headers = {}
    if found.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, Busy):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_seconds)))
    if found.status == 503:
        headers["Retry-After"] = "2"
    return respond(request, found, headers)


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it below
    code = _CODES.get(error.status_code, "http")
    return respond(
        request, problem(error.status_code, code, str(error.detail)), error.headers or {}
    )


def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it below
    # Without the input: it may hold a password or personal data.
    faults = [
        FieldFault(field=".".join(str(part) for part in fault["loc"]), message=fault["msg"])
        for fault in error.errors()
    ]
    detail = "; ".join(f"{fault.field}: {fault.message}" for fault in faults[:5])
    return respond(request, problem(422, "invalid", detail, errors=faults))


def install(app: FastAPI) -> None:
    """Have every error of the application become a problem."""
    app.add_exception_handler(FraudwatchError, _on_ours)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
