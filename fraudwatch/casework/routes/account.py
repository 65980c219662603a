"""One's own account: second factor, sessions, tokens."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from fraudwatch.casework import browser_sessions, own_account, second_factor, sign_in, tokens, users
from fraudwatch.casework.auth import Identity
from fraudwatch.casework.bodies_people import CodeIn, ConfirmIn, TokenIn
from fraudwatch.casework.context import Services, ServicesDep, SessionDep
from fraudwatch.casework.params import IdPath
from fraudwatch.casework.permissions import MayEnrol, Own
from fraudwatch.casework.problems import problem, respond, responses
from fraudwatch.casework.schemas import Page
from fraudwatch.casework.schemas_people import (
    NewTokenOut,
    OfferOut,
    RecoveryCodesOut,
    SecondFactorOut,
    SessionOut,
    TokenOut,
    new_token_out,
    session_out,
    token_out,
)
from fraudwatch.casework.session_cookie import set_cookies

router = APIRouter(prefix="/v1/me", tags=["account"])

_CONFIRMED = responses(401, 403, 409, 422)


def _confirmed(session: Session, services: Services, identity: Identity, password: str) -> bool:
    now = services.clock.now()
    return sign_in.confirm(session, services.passwords, identity, password, now=now)


def _wrong_password(request: Request) -> Response:
    # Returned, not raised: the wrong guess is counted in this transaction.
    return respond(request, problem(403, "wrong-password", "the current password is wrong"))


@router.get(
    "/second-factor",
    operation_id="readSecondFactor",
    summary="The own second factor",
    responses=responses(401, 403),
)
def read_second_factor(identity: MayEnrol, session: SessionDep) -> SecondFactorOut:
    """Whether sign-in asks for a code."""
    user = users.by_id(session, identity.actor.user_id)
    return SecondFactorOut(
        active=user.totp_secret is not None,
        since=user.totp_since,
        recovery_codes_left=second_factor.recovery_codes_left(session, user.id),
    )


@router.post(
    "/second-factor",
    operation_id="offerSecondFactor",
    summary="Begin to set up the second factor",
    response_model=OfferOut,
    responses=_CONFIRMED,
)
def offer(
    body: ConfirmIn,
    request: Request,
    identity: MayEnrol,
    services: ServicesDep,
    session: SessionDep,
) -> OfferOut | Response:
    """A secret for an authenticator app (TOTP, RFC 6238: SHA-1, 6 digits, 30 seconds)."""
    if not _confirmed(session, services, identity, body.password):
        return _wrong_password(request)
    found = own_account.offer_second_factor(session, identity, services.settings.require_secret())
    return OfferOut(secret=found.secret, uri=found.uri, qr_svg=found.svg())


@router.post(
    "/second-factor/confirm",
    operation_id="confirmSecondFactor",
    summary="Put the second factor into force",
    response_model=RecoveryCodesOut,
    responses=_CONFIRMED,
)
def confirm(
    body: CodeIn,
    request: Request,
    response: Response,
    identity: MayEnrol,
    services: ServicesDep,
    session: SessionDep,
) -> RecoveryCodesOut | Response:
    """With the first code of the app. Ends other sessions; this one gets a new token, and
    `GET /v1/me` shows the new CSRF token. The recovery codes are shown this once."""
    settings = services.settings
    codes = own_account.confirm_second_factor(
        session, identity, settings.require_secret(), body.code, now=services.clock.now()
    )
    if codes is None:
        return respond(request, problem(403, "wrong-code", "the code is wrong"))
    set_cookies(response, settings, browser_sessions.rotate(session, settings, identity))
    return RecoveryCodesOut(recovery_codes=codes)


@router.post(
    "/second-factor/remove",
    operation_id="removeSecondFactor",
    summary="Remove the second factor",
    response_model=None,
    status_code=204,
    responses=_CONFIRMED,
)
def remove(
    body: ConfirmIn, request: Request, identity: Own, services: ServicesDep, session: SessionDep
) -> Response:
    """Sign-in asks for the password alone. Ends other sessions; this one gets a new token."""
    if not _confirmed(session, services, identity, body.password):
        return _wrong_password(request)
    settings = services.settings
    own_account.remove_second_factor(session, identity, now=services.clock.now())
    response = Response(status_code=204)
    set_cookies(response, settings, browser_sessions.rotate(session, settings, identity))
    return response


@router.post(
    "/recovery-codes",
    operation_id="renewRecoveryCodes",
    summary="Make other recovery codes",
    response_model=RecoveryCodesOut,
    responses=_CONFIRMED,
)
def renew_codes(
    body: ConfirmIn, request: Request, identity: Own, services: ServicesDep, session: SessionDep
) -> RecoveryCodesOut | Response:
    """Those before are good no more. Shown this once."""
    if not _confirmed(session, services, identity, body.password):
        return _wrong_password(request)
    codes = own_account.renew_recovery_codes(session, identity, now=services.clock.now())
    return RecoveryCodesOut(recovery_codes=codes)


@router.get(
    "/sessions",
    operation_id="listOwnSessions",
    summary="The own sessions",
    responses=responses(401, 403),
)
def list_sessions(identity: Own, services: ServicesDep, session: SessionDep) -> Page[SessionOut]:
    """Browsers that are signed in as the caller, the last used first."""
    rows = browser_sessions.of_user(
        session, services.settings, identity.actor.user_id, services.clock.now()
    )
    return Page[SessionOut](items=[session_out(row, identity.session_id) for row in rows])


@router.delete(
    "/sessions/{session_id}",
    operation_id="endOwnSession",
    summary="End one of the own sessions",
    status_code=204,
    responses=responses(401, 403, 404),
)
def end_session(
    session_id: IdPath, identity: Own, services: ServicesDep, session: SessionDep
) -> None:
    """The browser is signed out at once."""
    own_account.end_session(session, identity, session_id, now=services.clock.now())


@router.delete(
    "/sessions",
    operation_id="endOtherSessions",
    summary="End all other sessions of one's own",
    status_code=204,
    responses=responses(401, 403),
)
def end_others(identity: Own, services: ServicesDep, session: SessionDep) -> None:
    """All but the one that asks."""
    own_account.end_other_sessions(session, identity, now=services.clock.now())


@router.get(
    "/tokens",
    operation_id="listOwnTokens",
    summary="The own API tokens",
    responses=responses(401, 403),
)
def list_tokens(identity: Own, services: ServicesDep, session: SessionDep) -> Page[TokenOut]:
    """Those that are good, the newest first."""
    rows = tokens.of_user(session, identity.actor.user_id, services.clock.now())
    return Page[TokenOut](items=[token_out(row) for row in rows])


@router.post(
    "/tokens",
    operation_id="createOwnToken",
    summary="Make an API token",
    status_code=201,
    response_model=NewTokenOut,
    responses=_CONFIRMED,
)
def create_token(
    body: TokenIn, request: Request, identity: Own, services: ServicesDep, session: SessionDep
) -> NewTokenOut | Response:
    """It acts as the caller, with the permissions named; `token` is shown this once."""
    if not _confirmed(session, services, identity, body.password):
        return _wrong_password(request)
    user = users.by_id(session, identity.actor.user_id)
    made = tokens.issue(
        session,
        user,
        name=body.name,
        now=services.clock.now(),
        lifetime=timedelta(days=body.days),
        permissions=body.permissions,
        actor=identity.actor,
    )
    return new_token_out(made)


@router.delete(
    "/tokens/{token_id}",
    operation_id="revokeOwnToken",
    summary="Revoke an API token",
    status_code=204,
    responses=responses(401, 403, 404),
)
def revoke_token(
    token_id: IdPath, identity: Own, services: ServicesDep, session: SessionDep
) -> None:
    """It stops working within a second."""
    now, actor = services.clock.now(), identity.actor
    tokens.revoke_one(session, actor.user_id, token_id, now=now, actor=actor)
