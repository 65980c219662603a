"""Sign in, sign out, who am I."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from fraudwatch.casework import auth, users
from fraudwatch.casework.auth import Identity, NotSignedIn
from fraudwatch.casework.bodies import NewPassword, SignIn
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.permissions import PUBLIC, AnySignedIn
from fraudwatch.casework.problems import problem, respond, responses
from fraudwatch.casework.schemas import Me
from fraudwatch.casework.session_cookie import WRONG, drop_session_cookie, set_session_cookie

router = APIRouter(prefix="/v1", tags=["sessions"])


def me_of(identity: Identity) -> Me:
    """What the API says about whoever asks."""
    actor = identity.actor
    return Me(
        user_id=actor.user_id,
        name=actor.name,
        display_name=identity.display_name,
        role=actor.role.value,
        permissions=sorted(permission.value for permission in actor.permissions),
        must_change_password=identity.must_change_password,
        csrf=identity.csrf,
    )


@router.post(
    "/login",
    operation_id="signIn",
    summary="Sign in",
    response_model=Me,
    responses=responses(401, 403, 422),
    dependencies=[PUBLIC],
)
def login(
    body: SignIn, request: Request, response: Response, services: ServicesDep, session: SessionDep
) -> Me | Response:
    """Starts a session: sets the cookie, gives the CSRF token to send as `X-CSRF-Token`."""
    signed_in = auth.sign_in(
        session,
        services.passwords,
        services.settings,
        name=body.name,
        password=body.password,
        now=services.clock.now(),
    )
    if signed_in is None:
        # Returned, not raised: the count of failures must be committed.
        return respond(request, problem(401, NotSignedIn.code, WRONG))
    set_session_cookie(response, services.settings, signed_in.token)
    return me_of(signed_in.identity)


@router.post(
    "/logout",
    operation_id="signOut",
    summary="Sign out",
    status_code=204,
    responses=responses(401, 403),
)
def logout(
    response: Response, identity: AnySignedIn, services: ServicesDep, session: SessionDep
) -> None:
    """Ends the session; API tokens stay as they are."""
    auth.sign_out(session, identity)
    drop_session_cookie(response, services.settings)


@router.get("/me", operation_id="whoAmI", summary="Who am I", responses=responses(401))
def me(identity: AnySignedIn) -> Me:
    """The caller's name, role and permissions."""
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
    identity: AnySignedIn,
    services: ServicesDep,
    session: SessionDep,
) -> Response:
    """Ends all other sessions of the caller."""
    changed = users.change_password(
        session,
        services.passwords,
        identity,
        current=body.current,
        new=body.new,
        now=services.clock.now(),
    )
    if not changed:
        return respond(request, problem(403, "wrong-password", "the current password is wrong"))
    return Response(status_code=204)
