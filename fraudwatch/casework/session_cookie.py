"""The cookies of a browser: its session, and that it is known, as REST and pages set them."""

from __future__ import annotations

from datetime import timedelta

from fastapi import Request, Response

from fraudwatch.casework.browser_sessions import DEVICE_LIFE, Origin, SignedIn
from fraudwatch.casework.permissions import cookie_name
from fraudwatch.settings import Settings

WRONG = "name or password is wrong, or there were too many attempts: wait a little and try again"
WRONG_CODE = "the code is wrong, was used before, or there were too many attempts"


def origin_of(request: Request, settings: Settings) -> Origin:
    """Where a sign-in comes from."""
    return Origin(
        address=request.client.host if request.client else "",
        agent=request.headers.get("user-agent", ""),
        device=request.cookies.get(_device_name(settings)),
        session=request.cookies.get(cookie_name(settings)),
    )


def set_cookies(response: Response, settings: Settings, signed_in: SignedIn) -> None:
    """Hand the session's token to the browser, and the one that makes it a known device."""
    life = int(settings.session_hours * 3600)
    _set(response, settings, cookie_name(settings), signed_in.token, life)
    if signed_in.device is not None:
        life = int(DEVICE_LIFE.total_seconds())
        _set(response, settings, _device_name(settings), signed_in.device, life)


def drop_session_cookie(response: Response, settings: Settings) -> None:
    """Have the browser forget the session; it stays a known device."""
    _drop(response, settings, cookie_name(settings))


def provider_cookie_of(request: Request, settings: Settings) -> str | None:
    """The cookie that ties a sign-in at the provider to the browser that began it."""
    return request.cookies.get(_provider_name(settings))


def set_provider_cookie(
    response: Response, settings: Settings, browser: str, life: timedelta
) -> None:
    """Lax, as all: coming back from the provider is a link from another site."""
    _set(response, settings, _provider_name(settings), browser, int(life.total_seconds()))


def drop_provider_cookie(response: Response, settings: Settings) -> None:
    """Have the browser forget the sign-in that it began."""
    _drop(response, settings, _provider_name(settings))


def _provider_name(settings: Settings) -> str:
    return f"{cookie_name(settings)}-provider"


def _device_name(settings: Settings) -> str:
    return f"{cookie_name(settings)}-device"


def _set(response: Response, settings: Settings, name: str, value: str, life: int) -> None:
    """Out of reach of scripts.

    Lax, so that a link to a case in a message opens it; what changes something is guarded by the
    CSRF token and the browser's word on where a request began.
    """
    response.set_cookie(
        name,
        value,
        max_age=life,
        path="/",
        secure=settings.cookie_secure,
        httponly=True,
        samesite="lax",
    )


def _drop(response: Response, settings: Settings, name: str) -> None:
    response.delete_cookie(
        name, path="/", secure=settings.cookie_secure, httponly=True, samesite="lax"
    )
