"""One's own account as pages: second factor, sessions, tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.orm import Session

from fraudwatch.casework import browser_sessions, own_account, second_factor, sign_in, tokens, users
from fraudwatch.casework.auth import Identity
from fraudwatch.casework.bodies_people import CodeIn, ConfirmIn, TokenIn
from fraudwatch.casework.console import forms
from fraudwatch.casework.console.forms import Fault, Faulty, Filled, FormDep
from fraudwatch.casework.console.render import Desk, DeskDep, go
from fraudwatch.casework.context import Services, ServicesDep, SessionDep
from fraudwatch.casework.params import IdPath
from fraudwatch.casework.permissions import MayEnrol, Own
from fraudwatch.casework.schemas_people import session_out, token_out
from fraudwatch.casework.session_cookie import set_cookies
from fraudwatch.domain.access import Hurdle
from fraudwatch.errors import Invalid

router = APIRouter(prefix="/me")

Done = Annotated[Literal["", "session", "sessions", "token", "factor"], Query()]

_WRONG_PASSWORD = "The password is wrong."  # noqa: S105 - words of a page


@dataclass(frozen=True, slots=True)
class AccountPage:
    """One's own account on its page: shows it, and confirms what its forms ask for."""

    desk: Desk
    services: Services
    session: Session

    @property
    def identity(self) -> Identity:
        return self.desk.identity

    def show(
        self, *, filled: Filled | None = None, done: str = "", token: str = "", name: str = ""
    ) -> Response:
        """The page; `token` is a new one, shown this once."""
        filled = filled or Filled()
        now, user_id = self.services.clock.now(), self.identity.actor.user_id
        user = users.by_id(self.session, user_id)
        sessions = browser_sessions.of_user(self.session, self.services.settings, user_id, now)
        return self.desk.page(
            "me.html",
            422 if filled.faults else 200,
            user=user,
            codes_left=second_factor.recovery_codes_left(self.session, user_id),
            sessions=[session_out(row, self.identity.session_id) for row in sessions],
            tokens=[token_out(row) for row in tokens.of_user(self.session, user_id, now)],
            permissions=sorted(p.value for p in self.identity.actor.permissions),
            filled=filled,
            done=done,
            new_token=token,
            new_name=name,
        )

    def confirm(self, form: FormDep) -> None:
        """Raise `Faulty` unless the form holds the person's password."""
        password = forms.read(ConfirmIn, form).password
        now = self.services.clock.now()
        if not sign_in.confirm(
            self.session, self.services.passwords, self.identity, password, now=now
        ):
            raise Faulty([Fault("password", _WRONG_PASSWORD)])


def _page(desk: DeskDep, services: ServicesDep, session: SessionDep) -> AccountPage:
    return AccountPage(desk, services, session)


AccountPageDep = Annotated[AccountPage, Depends(_page, scope="function")]


@router.get("")
def account_page(page: AccountPageDep, _: Own, done: Done = "") -> Response:
    """What belongs to the person's sign-in."""
    return page.show(done=done)


@router.post("/sessions/end-others")
def end_others(identity: Own, services: ServicesDep, session: SessionDep) -> Response:
    """Ends all sessions but this one."""
    own_account.end_other_sessions(session, identity, now=services.clock.now())
    return go("/me?done=sessions")


@router.post("/sessions/{session_id}/end")
def end_session(
    session_id: IdPath, identity: Own, services: ServicesDep, session: SessionDep
) -> Response:
    """Ends one session."""
    own_account.end_session(session, identity, session_id, now=services.clock.now())
    return go("/me?done=session")


@router.post("/tokens")
def create_token(page: AccountPageDep, identity: Own, form: FormDep) -> Response:
    """Makes a token, which the answer shows and no page after it."""
    try:
        body = forms.read(TokenIn, form)
        page.confirm(form)
        try:
            made = tokens.issue(
                page.session,
                users.by_id(page.session, identity.actor.user_id),
                name=body.name,
                now=page.services.clock.now(),
                lifetime=timedelta(days=body.days),
                permissions=body.permissions,
                actor=identity.actor,
            )
        except Invalid as error:
            raise Faulty([Fault("name", forms.sentence(str(error)))]) from error
    except Faulty as wrong:
        return page.show(filled=Filled(_kept(form), wrong.faults, "token"))
    return page.show(token=made.token, name=body.name)


@router.post("/tokens/{token_id}/revoke")
def revoke_token(
    token_id: IdPath, identity: Own, services: ServicesDep, session: SessionDep
) -> Response:
    """The token stops working."""
    now, actor = services.clock.now(), identity.actor
    tokens.revoke_one(session, actor.user_id, token_id, now=now, actor=actor)
    return go("/me?done=token")


@router.get("/second-factor")
def second_factor_page(page: AccountPageDep, identity: MayEnrol) -> Response:
    """Sets up the second factor, step by step."""
    return _factor_page(page, identity, Filled())


@router.post("/second-factor")
def offer(page: AccountPageDep, identity: MayEnrol, form: FormDep) -> Response:
    """Shows the QR code."""
    try:
        page.confirm(form)
    except Faulty as wrong:
        return _factor_page(page, identity, Filled({}, wrong.faults, "offer"))
    key = page.services.settings.require_secret()
    own_account.offer_second_factor(page.session, identity, key)
    return go("/me/second-factor")


@router.post("/second-factor/confirm")
def confirm(page: AccountPageDep, identity: MayEnrol, form: FormDep) -> Response:
    """Puts it into force; shows the recovery codes."""
    settings = page.services.settings
    try:
        code = forms.read(CodeIn, form).code
        codes = own_account.confirm_second_factor(
            page.session,
            identity,
            settings.require_secret(),
            code,
            now=page.services.clock.now(),
        )
        if codes is None:
            raise Faulty([Fault("code", "The code is wrong: give the one that is shown now.")])
    except Faulty as wrong:
        return _factor_page(page, identity, Filled({}, wrong.faults, "confirm"))
    signed_in = browser_sessions.rotate(page.session, settings, identity)
    answer = page.desk.as_now(signed_in.identity).page("recovery_codes.html", codes=codes)
    set_cookies(answer, settings, signed_in)
    return answer


@router.post("/second-factor/remove")
def remove(page: AccountPageDep, identity: Own, form: FormDep) -> Response:
    """Sign-in asks for the password alone."""
    try:
        page.confirm(form)
    except Faulty as wrong:
        return _factor_page(page, identity, Filled({}, wrong.faults, "remove"))
    settings = page.services.settings
    own_account.remove_second_factor(page.session, identity, now=page.services.clock.now())
    response = go("/me?done=factor")
    set_cookies(response, settings, browser_sessions.rotate(page.session, settings, identity))
    return response


@router.post("/recovery-codes")
def renew_codes(page: AccountPageDep, identity: Own, form: FormDep) -> Response:
    """Other recovery codes, shown this once."""
    try:
        page.confirm(form)
    except Faulty as wrong:
        return _factor_page(page, identity, Filled({}, wrong.faults, "codes"))
    codes = own_account.renew_recovery_codes(page.session, identity, now=page.services.clock.now())
    return page.desk.page("recovery_codes.html", codes=codes)


def _factor_page(page: AccountPage, identity: Identity, filled: Filled) -> Response:
    user = users.by_id(page.session, identity.actor.user_id)
    offered = None
    if user.totp_secret is None:
        offered = second_factor.offered(user, page.services.settings.require_secret())
    rows = offered.rows() if offered else []
    return page.desk.page(
        "second_factor.html",
        422 if filled.faults else 200,
        user=user,
        offered=offered,
        qr=second_factor.path_of(rows),
        qr_size=len(rows),
        needed=identity.hurdle is Hurdle.ENROL,
        codes_left=second_factor.recovery_codes_left(page.session, user.id),
        filled=filled,
    )


def _kept(form: FormDep) -> dict[str, list[str]]:
    """What the form comes back with: everything but the password."""
    return {name: values for name, values in forms.texts(form).items() if name != "password"}
