"""Versions in headers and bodies."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Response

from fraudwatch.errors import Invalid


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
