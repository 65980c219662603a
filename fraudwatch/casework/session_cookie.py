"""The cookie of a browser's session, as REST and pages set it."""

from __future__ import annotations

from fastapi import Response

from fraudwatch.casework.permissions import cookie_name
from fraudwatch.settings import Settings

WRONG = "name or password is wrong, or there were too many attempts: wait a little and try again"


def set_session_cookie(response: Response, settings: Settings, token: str) -> None:
    """Hand the session's token to the browser, out of reach of scripts.

    Lax, so that a link to a case in a message opens it; what changes something is guarded by the
    CSRF token and the browser's word on where a request began.
    """
    response.set_cookie(
        cookie_name(settings),
        token,
        max_age=int(settings.session_hours * 3600),
        path="/",
        secure=settings.cookie_secure,
        httponly=True,
        samesite="lax",
    )


def drop_session_cookie(response: Response, settings: Settings) -> None:
    """Have the browser forget the session."""
    response.delete_cookie(
        cookie_name(settings),
        path="/",
        secure=settings.cookie_secure,
        httponly=True,
        samesite="lax",
    )
