"""Sign in, sign out, who am I, the own password."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from fraudwatch.casework import browser_sessions, sign_in, users
from fraudwatch.casework.auth import Identity, NotSignedIn
from fraudwatch.casework.bodies import NewPassword, SignIn
from fraudwatch.casework.bodies_people import CodeIn
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.permissions import PUBLIC, Arriving, MayChoosePassword
from fraudwatch.casework.problems import problem, respond, responses
from fraudwatch.casework.schemas import Me
from fraudwatch.casework.session_cookie import (
    WRONG,
    WRONG_CODE,
    drop_session_cookie,
    origin_of,
    set_cookies,
)
from fraudwatch.domain.access import Hurdle

router = APIRouter(prefix="/v1", tags=["sessions"])


def me_of(identity: Identity) -> Me:
    """What the API says about whoever asks."""
    actor = identity.actor
    return Me(
        user_id=actor.user_id,
        name=actor.name,
        display_name=identity.display_name,
        role=actor.role.value,
        units=None if actor.units is None else sorted(actor.units),
        permissions=sorted(permission.value for permission in actor.permissions),
        must_change_password=identity.must_change_password,
        first=identity.hurdle.value if identity.hurdle else None,
        csrf=identity.csrf,
    )


@router.post(
    "/login",
    operation_id="signIn",
    summary="Sign in",
    response_model=Me,
    responses=responses(401, 403, 422, 429),
    dependencies=[PUBLIC],
)
def login(
    body: SignIn, request: Request, response: Response, services: ServicesDep, session: SessionDep
) -> Me | Response:
    """Starts a session: sets the cookie, gives the CSRF token to send as `X-CSRF-Token`.

    Where `first` is `second-factor`, go on with `POST /v1/login/code`.
    """
    signed_in = sign_in.with_password(
        session,
        services.passwords,
        services.settings,
        name=body.name,
        password=body.password,
        origin=origin_of(request, services.settings),
        now=services.clock.now(),
    )
    if signed_in is None:
        # Returned, not raised: the count of failures must be committed.
        return respond(request, problem(401, NotSignedIn.code, WRONG))
    set_cookies(response, services.settings, signed_in)
    return me_of(signed_in.identity)


@router.post(
    "/login/code",
    operation_id="giveCode",
    summary="Give the code of the second factor",
    response_model=Me,
    responses=responses(401, 403, 422),
)
def give_code(
    body: CodeIn,
    request: Request,
    response: Response,
    identity: Arriving,
    services: ServicesDep,
    session: SessionDep,
) -> Me | Response:
    """The code of the moment, or a recovery code; each is good once. The session gets a new token
    and CSRF token. After five wrong codes begin again with the password."""
    if identity.hurdle is not Hurdle.CODE:
        return me_of(identity)
    signed_in = sign_in.with_code(
        session,
        services.settings,
        identity,
        body.code,
        origin=origin_of(request, services.settings),
        now=services.clock.now(),
    )
    if signed_in is None:
        return respond(request, problem(401, "wrong-code", WRONG_CODE))
    set_cookies(response, services.settings, signed_in)
    return me_of(signed_in.identity)


@router.post(
    "/logout",
    operation_id="signOut",
    summary="Sign out",
    status_code=204,
    responses=responses(401, 403),
)
def logout(
    response: Response, identity: Arriving, services: ServicesDep, session: SessionDep
) -> None:
    """Ends the session; API tokens stay as they are."""
    browser_sessions.end(session, identity)
    drop_session_cookie(response, services.settings)


@router.get("/me", operation_id="whoAmI", summary="Who am I", responses=responses(401))
def me(identity: Arriving) -> Me:
    """The caller's name, role, units and permissions, and what they must do first."""
    return me_of(identity)


@router.post(
    "/me/password",
    operation_id="changePassword",
    summary="Change the own password",
    response_model=None,
    status_code=204,
    responses=responses(401, 403, 422),
)
def change_password(
    body: NewPassword,
    request: Request,
    identity: MayChoosePassword,
    services: ServicesDep,
    session: SessionDep,
) -> Response:
    """Ends all other sessions of the caller; this one gets a new token. `GET /v1/me` shows the new
    CSRF token."""
    now = services.clock.now()
    if not sign_in.confirm(session, services.passwords, identity, body.current, now=now):
        return respond(request, problem(403, "wrong-password", "the current password is wrong"))
    users.choose_password(session, services.passwords, identity, body.new, now=now)
    response = Response(status_code=204)
    set_cookies(
        response, services.settings, browser_sessions.rotate(session, services.settings, identity)
    )
    return response
