"""Signing in and out, the own password, the start, shipped files."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from fraudwatch.casework import auth, users
from fraudwatch.casework.bodies import NewPassword, SignIn
from fraudwatch.casework.console import forms
from fraudwatch.casework.console.forms import Fault, Faulty, Filled, FormDep
from fraudwatch.casework.console.render import ConsoleDep, Desk, DeskDep, Shell, go
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.permissions import PUBLIC, AnySignedIn
from fraudwatch.casework.session_cookie import WRONG, drop_session_cookie, set_session_cookie
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
    return console.page(
        "signin.html", shell=Shell(), filled=Filled(), back=forms.local_path(back), bye=bye
    )


@router.post("/signin", dependencies=[PUBLIC])
def sign_in(
    form: FormDep, console: ConsoleDep, services: ServicesDep, session: SessionDep
) -> Response:
    """A session, and on to where the person wanted to go."""
    given = forms.texts(form)
    back = forms.local_path((given.get("next") or [""])[0])
    try:
        body = forms.read(SignIn, form)
        signed_in = auth.sign_in(
            session,
            services.passwords,
            services.settings,
            name=body.name,
            password=body.password,
            now=services.clock.now(),
        )
        if signed_in is None:
            raise Faulty([Fault("name", f"{WRONG[0].upper()}{WRONG[1:]}.")])
    except Faulty as wrong:
        # The password does not come back; the count of failures is committed.
        filled = Filled({"name": given.get("name", [])}, wrong.faults, "signin")
        return console.page("signin.html", 422, shell=Shell(), filled=filled, back=back, bye=False)
    response = go("/password" if signed_in.identity.must_change_password else back)
    set_session_cookie(response, services.settings, signed_in.token)
    return response


@router.post("/signout")
def sign_out(identity: AnySignedIn, services: ServicesDep, session: SessionDep) -> Response:
    """Ends the session."""
    auth.sign_out(session, identity)
    response = go("/signin?bye=true")
    drop_session_cookie(response, services.settings)
    return response


@router.get("/password")
def password_page(desk: DeskDep, changed: bool = False) -> Response:
    """The form; the only page for those whose password was given to them."""
    return _password_page(desk, Filled(), changed=changed)


@router.post("/password")
def change_password(
    form: FormDep, desk: DeskDep, services: ServicesDep, session: SessionDep
) -> Response:
    """Other sessions of the person end."""
    try:
        body = forms.read(NewPassword, form)
        if body.new != (forms.texts(form).get("again") or [""])[0]:
            raise Faulty([Fault("again", "The two new passwords differ.")])
        try:
            changed = users.change_password(
                session,
                services.passwords,
                desk.identity,
                current=body.current,
                new=body.new,
                now=services.clock.now(),
            )
        except Invalid as error:
            raise Faulty([Fault("new", str(error))]) from error
        if not changed:
            raise Faulty([Fault("current", "The current password is wrong.")])
    except Faulty as wrong:
        filled = Filled({}, wrong.faults, "password")
        return _password_page(desk, filled)
    return go("/" if desk.identity.must_change_password else "/password?changed=true")


def _password_page(desk: Desk, filled: Filled, *, changed: bool = False) -> Response:
    return desk.page(
        "password.html",
        422 if filled.faults else 200,
        filled=filled,
        changed=changed,
        user=desk.identity.actor.name,
        users=users,
    )
