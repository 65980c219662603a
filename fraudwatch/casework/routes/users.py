"""Users, for administrators: people and services, their state, sessions and tokens."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter

from fraudwatch.casework import browser_sessions, tokens, users
from fraudwatch.casework.bodies_people import ServiceTokenIn, UserChange, UserIn
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.params import IdPath
from fraudwatch.casework.permissions import MayManageUsers, MayReadUsers
from fraudwatch.casework.problems import responses
from fraudwatch.casework.schemas import Page
from fraudwatch.casework.schemas_people import (
    NewTokenOut,
    NewUserOut,
    OneTimePasswordOut,
    SessionOut,
    TokenOut,
    UserOut,
    new_token_out,
    session_out,
    token_out,
    user_out,
)
from fraudwatch.errors import Invalid

router = APIRouter(prefix="/v1/users", tags=["users"])

_ACT = responses(401, 403, 404, 409, 422)


@router.get(
    "", operation_id="listUsers", summary="People and services", responses=responses(401, 403)
)
def list_users(_: MayReadUsers, session: SessionDep) -> Page[UserOut]:
    """Everybody, by name."""
    return Page[UserOut](items=[user_out(user) for user in users.list_users(session)])


@router.post(
    "",
    operation_id="createUser",
    summary="Create a user",
    status_code=201,
    responses=responses(401, 403, 409, 422),
)
def create_user(
    body: UserIn, lens: MayManageUsers, services: ServicesDep, session: SessionDep
) -> NewUserOut:
    """A person gets a one-time password, shown this once; a service needs a token next."""
    user, password = users.invite(
        session,
        services.passwords,
        name=body.name,
        role=body.role,
        display_name=body.display_name,
        units=body.units,
        now=services.clock.now(),
        actor=lens.actor,
    )
    return NewUserOut(**user_out(user).model_dump(), one_time_password=password)


@router.get(
    "/{user_id}",
    operation_id="readUser",
    summary="Read a user",
    responses=responses(401, 403, 404),
)
def read_user(user_id: IdPath, _: MayReadUsers, session: SessionDep) -> UserOut:
    """One user."""
    return user_out(users.by_id(session, user_id))


@router.patch("/{user_id}", operation_id="changeUser", summary="Change a user", responses=_ACT)
def change_user(
    user_id: IdPath,
    body: UserChange,
    lens: MayManageUsers,
    services: ServicesDep,
    session: SessionDep,
) -> UserOut:
    """Nobody changes their own role, units or state, and one administrator always stays."""
    user, now = users.by_id(session, user_id), services.clock.now()
    users.change_user(
        session,
        user,
        role=body.role,
        display_name=body.display_name,
        units=body.units,
        all_units="units" in body.model_fields_set and body.units is None,
        now=now,
        actor=lens.actor,
    )
    if body.disabled is not None:
        users.set_disabled(session, user, body.disabled, now=now, actor=lens.actor)
    return user_out(user)


@router.post(
    "/{user_id}/reset-password",
    operation_id="resetPassword",
    summary="Give a person a one-time password",
    responses=_ACT,
)
def reset_password(
    user_id: IdPath, lens: MayManageUsers, services: ServicesDep, session: SessionDep
) -> OneTimePasswordOut:
    """Ends the person's sessions. The second factor stays."""
    password = users.reset_password(
        session,
        services.passwords,
        users.by_id(session, user_id),
        now=services.clock.now(),
        actor=lens.actor,
    )
    return OneTimePasswordOut(one_time_password=password)


@router.post(
    "/{user_id}/reset-second-factor",
    operation_id="resetSecondFactor",
    summary="Remove a person's second factor",
    status_code=204,
    responses=_ACT,
)
def reset_second_factor(
    user_id: IdPath, lens: MayManageUsers, services: ServicesDep, session: SessionDep
) -> None:
    """For who lost the device and the recovery codes. Ends the person's sessions."""
    user = users.by_id(session, user_id)
    users.reset_second_factor(session, user, now=services.clock.now(), actor=lens.actor)


@router.get(
    "/{user_id}/sessions",
    operation_id="listUserSessions",
    summary="A user's sessions",
    responses=responses(401, 403, 404),
)
def list_sessions(
    user_id: IdPath, _: MayReadUsers, services: ServicesDep, session: SessionDep
) -> Page[SessionOut]:
    """Browsers that are signed in as this user."""
    user = users.by_id(session, user_id)
    rows = browser_sessions.of_user(session, services.settings, user.id, services.clock.now())
    return Page[SessionOut](items=[session_out(row, None) for row in rows])


@router.delete(
    "/{user_id}/sessions",
    operation_id="endUserSessions",
    summary="End a user's sessions",
    status_code=204,
    responses=responses(401, 403, 404),
)
def end_sessions(
    user_id: IdPath, lens: MayManageUsers, services: ServicesDep, session: SessionDep
) -> None:
    """All of them, at once."""
    user = users.by_id(session, user_id)
    users.end_sessions(session, user, now=services.clock.now(), actor=lens.actor)


@router.get(
    "/{user_id}/tokens",
    operation_id="listUserTokens",
    summary="A user's API tokens",
    responses=responses(401, 403, 404),
)
def list_tokens(
    user_id: IdPath, _: MayReadUsers, services: ServicesDep, session: SessionDep
) -> Page[TokenOut]:
    """Those that are good, the newest first."""
    user = users.by_id(session, user_id)
    rows = tokens.of_user(session, user.id, services.clock.now())
    return Page[TokenOut](items=[token_out(row) for row in rows])


@router.post(
    "/{user_id}/tokens",
    operation_id="createServiceToken",
    summary="Make an API token for a service",
    status_code=201,
    responses=_ACT,
)
def create_token(
    user_id: IdPath,
    body: ServiceTokenIn,
    lens: MayManageUsers,
    services: ServicesDep,
    session: SessionDep,
) -> NewTokenOut:
    """`token` is shown this once. People make their own: nobody acts in another's name."""
    user = users.by_id(session, user_id)
    if user.kind != "service":
        raise Invalid("people make their tokens themselves: POST /v1/me/tokens")
    made = tokens.issue(
        session,
        user,
        name=body.name,
        now=services.clock.now(),
        lifetime=timedelta(days=body.days),
        permissions=body.permissions,
        actor=lens.actor,
    )
    return new_token_out(made)


@router.delete(
    "/{user_id}/tokens/{token_id}",
    operation_id="revokeUserToken",
    summary="Revoke a user's API token",
    status_code=204,
    responses=responses(401, 403, 404),
)
def revoke_token(
    user_id: IdPath,
    token_id: IdPath,
    lens: MayManageUsers,
    services: ServicesDep,
    session: SessionDep,
) -> None:
    """It stops working within a second."""
    now = services.clock.now()
    tokens.revoke_one(session, user_id, token_id, now=now, actor=lens.actor)
