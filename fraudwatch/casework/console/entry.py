"""Signing in and out, the own password, the start, shipped files."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from fraudwatch.casework import browser_sessions, sign_in, users
from fraudwatch.casework.auth import Identity
from fraudwatch.casework.bodies import NewPassword, SignIn
from fraudwatch.casework.bodies_people import CodeIn
from fraudwatch.casework.console import forms
from fraudwatch.casework.console.forms import Fault, Faulty, Filled, FormDep
from fraudwatch.casework.console.render import Console, ConsoleDep, Desk, DeskDep, Shell, go
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.password_strength import LONGEST_PASSWORD, SHORTEST_PASSWORD
from fraudwatch.casework.permissions import PUBLIC, Arriving, MayChoosePassword
from fraudwatch.casework.provider import Provider
from fraudwatch.casework.session_cookie import (
    WRONG,
    WRONG_CODE,
    drop_session_cookie,
    origin_of,
    set_cookies,
)
from fraudwatch.domain.access import Hurdle
from fraudwatch.errors import Invalid, NotFound

router = APIRouter()

_FOR_EVER = "public, max-age=31536000, immutable"

NextPath = Annotated[str | None, Query(alias="next", max_length=600)]


@router.get("/")
def start(desk: DeskDep) -> Response:
    """On to the queue, or to what else the person may see."""
    return go(desk.home)


@router.get("/static/{name}", dependencies=[PUBLIC])
def static(
    name: str, console: ConsoleDep, v: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """A shipped file; its address holds its version, so browsers may keep it."""
    asset = console.assets.get(name)
    if asset is None:
        raise NotFound("there is no such file")
    keep = _FOR_EVER if v == asset.version else "no-cache"
    return Response(asset.content, media_type=asset.media_type, headers={"Cache-Control": keep})


@router.get("/signin", dependencies=[PUBLIC])
def sign_in_page(console: ConsoleDep, back: NextPath = None, bye: bool = False) -> Response:
    """The form."""
    return _sign_in_page(console, forms.local_path(back), Filled(), bye=bye)


@router.post("/signin", dependencies=[PUBLIC])
def sign_in_by_password(
    request: Request, form: FormDep, console: ConsoleDep, services: ServicesDep, session: SessionDep
) -> Response:
    """A session, and on to where the person wanted to go, or to the second factor."""
    given = forms.texts(form)
    back = forms.local_path((given.get("next") or [""])[0])
    settings = services.settings
    try:
        body = forms.read(SignIn, form)
        signed_in = sign_in.with_password(
            session,
            services.passwords,
            settings,
            name=body.name,
            password=body.password,
            origin=origin_of(request, settings),
            now=services.clock.now(),
        )
        if signed_in is None:
            raise Faulty([Fault("name", forms.sentence(WRONG))])
    except Faulty as wrong:
        # The password does not come back; the count of failures is committed.
        filled = Filled({"name": given.get("name", [])}, wrong.faults, "signin")
        return _sign_in_page(console, back, filled)
    response = _onwards(signed_in.identity, back)
    set_cookies(response, settings, signed_in)
    return response


@router.get("/signin/code")
def code_page(console: ConsoleDep, identity: Arriving, back: NextPath = None) -> Response:
    """Asks for the code of the second factor."""
    if identity.hurdle is not Hurdle.CODE:
        return go("/")
    return _code_page(console, identity, forms.local_path(back), Filled())


@router.post("/signin/code")
def give_code(
    request: Request,
    form: FormDep,
    console: ConsoleDep,
    identity: Arriving,
    services: ServicesDep,
    session: SessionDep,
) -> Response:
    """The full session; after five wrong codes the password again."""
    back = forms.local_path((forms.texts(form).get("next") or [""])[0])
    settings = services.settings
    if identity.hurdle is not Hurdle.CODE:
        return go(back)
    try:
        signed_in = sign_in.with_code(
            session,
            settings,
            identity,
            forms.read(CodeIn, form).code,
            origin=origin_of(request, settings),
            now=services.clock.now(),
        )
        if signed_in is None:
            raise Faulty([Fault("code", forms.sentence(WRONG_CODE))])
    except Faulty as wrong:
        return _code_page(console, identity, back, Filled({}, wrong.faults, "code"))
    response = _onwards(signed_in.identity, back)
    set_cookies(response, settings, signed_in)
    return response


@router.post("/signout")
def sign_out(
    request: Request,
    console: ConsoleDep,
    identity: Arriving,
    services: ServicesDep,
    session: SessionDep,
) -> Response:
    """Ends the session, and sends people of a provider on to end the one there.

    By a page: the policy of the page with the form lets forms lead nowhere else.
    """
    ended = browser_sessions.end(session, identity)
    provider: Provider | None = request.app.state.provider
    token = ended.provider_token if ended is not None else None
    url = provider.sign_out_url(token) if provider is not None and token is not None else None
    response: Response = go("/signin?bye=true")
    if url is not None:
        response = console.page("signed_out.html", shell=Shell(), url=url)
    drop_session_cookie(response, services.settings)
    return response


@router.get("/password")
def password_page(desk: DeskDep, changed: bool = False) -> Response:
    """The form; the only page for those whose password was given to them."""
    return _password_page(desk, Filled(), changed=changed)


@router.post("/password")
def change_password(
    form: FormDep,
    desk: DeskDep,
    identity: MayChoosePassword,
    services: ServicesDep,
    session: SessionDep,
) -> Response:
    """Other sessions of the person end; this one gets a new token."""
    now, settings = services.clock.now(), services.settings
    try:
        body = forms.read(NewPassword, form)
        if body.new != (forms.texts(form).get("again") or [""])[0]:
            raise Faulty([Fault("again", "The two new passwords differ.")])
        if not sign_in.confirm(session, services.passwords, identity, body.current, now=now):
            raise Faulty([Fault("current", "The current password is wrong.")])
        try:
            users.choose_password(session, services.passwords, identity, body.new, now=now)
        except Invalid as error:
            raise Faulty([Fault("new", forms.sentence(str(error)))]) from error
    except Faulty as wrong:
        filled = Filled({}, wrong.faults, "password")
        return _password_page(desk, filled)
    signed_in = browser_sessions.rotate(session, settings, identity)
    response = go("/" if identity.must_change_password else "/password?changed=true")
    set_cookies(response, settings, signed_in)
    return response


def _onwards(identity: Identity, back: str) -> RedirectResponse:
    if identity.hurdle is Hurdle.CODE:
        return go("/signin/code" if back == "/" else f"/signin/code?{urlencode({'next': back})}")
    if identity.hurdle is Hurdle.PASSWORD:
        return go("/password")
    return go("/me/second-factor" if identity.hurdle is Hurdle.ENROL else back)


def _sign_in_page(console: Console, back: str, filled: Filled, *, bye: bool = False) -> Response:
    return console.page(
        "signin.html",
        422 if filled.faults else 200,
        shell=Shell(),
        filled=filled,
        back=back,
        bye=bye,
    )


def _code_page(console: Console, identity: Identity, back: str, filled: Filled) -> Response:
    return console.page(
        "code.html",
        422 if filled.faults else 200,
        shell=Shell(csrf=identity.csrf or "", name=identity.display_name),
        filled=filled,
        back=back,
    )


def _password_page(desk: Desk, filled: Filled, *, changed: bool = False) -> Response:
    return desk.page(
        "password.html",
        422 if filled.faults else 200,
        filled=filled,
        changed=changed,
        user=desk.identity.actor.name,
        shortest=SHORTEST_PASSWORD,
        longest=LONGEST_PASSWORD,
    )
