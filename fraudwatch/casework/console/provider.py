"""Signing in through the provider: out to it by a link of the sign-in page, and back from it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from fraudwatch.casework import provider_sign_in
from fraudwatch.casework.console import forms
from fraudwatch.casework.console.render import Console, ConsoleDep, Shell, go
from fraudwatch.casework.context import Services, ServicesDep, open_session
from fraudwatch.casework.permissions import PUBLIC
from fraudwatch.casework.provider import CALLBACK, Provider
from fraudwatch.casework.provider_claims import Refused
from fraudwatch.casework.provider_sign_in import LATE
from fraudwatch.casework.session_cookie import (
    drop_provider_cookie,
    origin_of,
    provider_cookie_of,
    set_cookies,
    set_provider_cookie,
)
from fraudwatch.errors import NotFound

router = APIRouter()

_REFUSED_THERE = Refused("provider", "the provider did not let you in, or you went back")

Given = Annotated[str, Query(max_length=4000)]


@router.get("/signin/provider", dependencies=[PUBLIC])
def leave(
    request: Request,
    services: ServicesDep,
    back: Annotated[str | None, Query(alias="next", max_length=600)] = None,
) -> Response:
    """On to the provider."""
    provider, settings = provider_of(request), services.settings
    provider.require()  # before anything is kept
    with open_session(services) as session:
        outward = provider_sign_in.leave(
            session,
            forms.local_path(back),
            provider_cookie_of(request, settings),
            services.clock.now(),
        )
    url = provider.sign_in_url(state=outward.state, nonce=outward.nonce, verifier=outward.verifier)
    response = RedirectResponse(url, 303)
    set_provider_cookie(response, settings, outward.browser, provider_sign_in.WAIT)
    return response


@router.get(CALLBACK, dependencies=[PUBLIC])
def come_back(
    request: Request,
    console: ConsoleDep,
    services: ServicesDep,
    state: Given = "",
    code: Given = "",
    error: Given = "",
    iss: Given = "",
) -> Response:
    """A session, and on to where the person wanted to go; or a page that says why not.

    No database connection is held while the provider is asked.
    """
    provider, settings, now = provider_of(request), services.settings, services.clock.now()
    with open_session(services) as session:
        kept = provider_sign_in.come_back(
            session, state, provider_cookie_of(request, settings), now
        )
    if isinstance(kept, Refused):
        return _refused(console, kept)
    if iss and iss != provider.registration.issuer:  # RFC 9207: another provider's answer
        return _refuse(console, services, LATE)
    if error or not code:
        return _refuse(console, services, _REFUSED_THERE)
    checked = provider.redeem(code, nonce=kept.nonce, verifier=kept.verifier, now=now)
    if isinstance(checked, Refused):
        return _refuse(console, services, checked)
    with open_session(services) as session:
        signed_in = provider_sign_in.enter(
            session,
            services.passwords,
            settings,
            provider.rules,
            checked,
            origin=origin_of(request, settings),
            now=now,
        )
    if isinstance(signed_in, Refused):
        return _refused(console, signed_in)
    response = go(kept.back)
    set_cookies(response, settings, signed_in)
    drop_provider_cookie(response, settings)
    return response


def provider_of(request: Request) -> Provider:
    """The provider of the application. Raises `NotFound` where there is none."""
    found: Provider | None = request.app.state.provider
    if found is None:
        raise NotFound("there is no provider to sign in with")
    return found


def _refuse(console: Console, services: Services, refused: Refused) -> Response:
    with open_session(services) as session:
        provider_sign_in.refuse(session, refused, services.clock.now())
    return _refused(console, refused)


def _refused(console: Console, refused: Refused) -> Response:
    return console.page("provider_refused.html", 403, shell=Shell(), why=refused.words)
