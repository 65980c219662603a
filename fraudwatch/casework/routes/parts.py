"""Parts that several routes share: page parameters, versions in headers."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Path, Query, Response

from fraudwatch.casework.queue import MAX_LIMIT
from fraudwatch.errors import Invalid

_NO_NUL = r"^[^\x00]+$"

IdPath = Annotated[int, Path(ge=1, le=2**62)]
KeyPath = Annotated[str, Path(min_length=1, max_length=256, pattern=_NO_NUL)]
KeyQuery = Annotated[str, Query(min_length=1, max_length=256, pattern=_NO_NUL)]
Cursor = Annotated[str | None, Query(max_length=600, description="`next_cursor` of the last page.")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]


def _if_match(if_match: Annotated[str | None, Header()] = None) -> int | None:
    """The version in `If-Match: "3"`; none without the header or for `*`."""
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Invalid("If-Match must be the ETag of the case: its version in quotes")
    return int(text)


IfMatch = Annotated[int | None, Depends(_if_match)]


def seen_version(in_body: int | None, in_header: int | None) -> int | None:
    """The version a caller has seen, from the body or `If-Match`."""
    if in_body is not None and in_header is not None and in_body != in_header:
        raise Invalid("If-Match and the body name different versions")
    return in_body if in_body is not None else in_header


def required_version(in_body: int | None, in_header: int | None) -> int:
    """The same where a decision stands on it."""
    version = seen_version(in_body, in_header)
    if version is None:
        raise Invalid("name the version you have seen: `version` in the body, or If-Match")
    return version


def set_etag(response: Response, version: int) -> None:
    """Let the answer say which version it shows."""
    response.headers["ETag"] = f'"{version}"'
