"""Users as pages, for administrators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from fraudwatch.casework import browser_sessions, tokens, users
from fraudwatch.casework.bodies_people import ServiceTokenIn, UserIn
from fraudwatch.casework.console import forms, words
from fraudwatch.casework.console.forms import Fault, Faulty, Filled, FormDep
from fraudwatch.casework.console.render import Desk, DeskDep, go
from fraudwatch.casework.context import Services, ServicesDep, SessionDep
from fraudwatch.casework.models import User
from fraudwatch.casework.params import IdPath
from fraudwatch.casework.permissions import MayManageUsers, MayReadUsers
from fraudwatch.casework.schemas_people import session_out, token_out, user_out
from fraudwatch.domain.access import ROLE_PERMISSIONS, SERVICES, Role
from fraudwatch.errors import Conflict, Invalid, NotAllowed

router = APIRouter(prefix="/users")

Done = Annotated[
    Literal["", "changed", "disabled", "enabled", "sessions", "factor", "token"], Query()
]


@router.get("")
def users_page(desk: DeskDep, _: MayReadUsers, session: SessionDep) -> Response:
    """Everybody, and the form for somebody new."""
    return _users(desk, session, Filled())


@router.post("")
def create(
    desk: DeskDep, lens: MayManageUsers, services: ServicesDep, session: SessionDep, form: FormDep
) -> Response:
    """A new user; the answer shows the one-time password, and no page after it."""
    try:
        body = forms.read(UserIn, _with_units(form))
        try:
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
        except (Invalid, Conflict) as error:
            raise Faulty([Fault("name", forms.sentence(str(error)))]) from error
    except Faulty as wrong:
        return _users(desk, session, Filled(forms.texts(form), wrong.faults, "create"))
    if password is None:
        return go(f"/users/{user.id}")
    return UserPage(desk, services, session, user.id).show(secret=password)


@dataclass(frozen=True, slots=True)
class UserPage:
    """One user on their page: shows them, and carries out what its forms ask for."""

    desk: Desk
    services: Services
    session: Session
    user_id: int

    def show(self, *, filled: Filled | None = None, done: str = "", secret: str = "") -> Response:
        """The page; `secret` is a one-time password or a token, shown this once."""
        filled = filled or Filled()
        now = self.services.clock.now()
        user = users.by_id(self.session, self.user_id)
        sessions = browser_sessions.of_user(self.session, self.services.settings, user.id, now)
        roles = [role for role in Role if (role in SERVICES) == (user.kind == "service")]
        return self.desk.page(
            "user.html",
            422 if filled.faults else 200,
            user=user_out(user),
            oneself=self.desk.identity.actor.user_id == user.id,
            sessions=[session_out(row, None) for row in sessions],
            tokens=[token_out(row) for row in tokens.of_user(self.session, user.id, now)],
            roles=_named(roles),
            permissions=sorted(p.value for p in ROLE_PERMISSIONS[Role(user.role)]),
            filled=filled,
            done=done,
            secret=secret,
        )

    def carry_out(self, done: str, work: Callable[[User], None]) -> Response:
        """Do it and go on; or say on the page why it cannot be."""
        try:
            with self.session.begin_nested():
                work(users.by_id(self.session, self.user_id))
        except (Invalid, Conflict, NotAllowed) as error:
            fault = Fault("acts", forms.sentence(str(error)))
            return self.show(filled=Filled({}, [fault], "acts"))
        return go(f"/users/{self.user_id}?done={done}")


def _page(user_id: IdPath, desk: DeskDep, services: ServicesDep, session: SessionDep) -> UserPage:
    return UserPage(desk, services, session, user_id)


UserPageDep = Annotated[UserPage, Depends(_page, scope="function")]


@router.get("/{user_id}")
def user_page(page: UserPageDep, _: MayReadUsers, done: Done = "") -> Response:
    """One user: rights, state, sessions, tokens."""
    return page.show(done=done)


@router.post("/{user_id}")
def change(page: UserPageDep, lens: MayManageUsers, form: FormDep) -> Response:
    """Another role, other units."""
    given = forms.texts(form)
    role = (given.get("role") or [""])[0]
    units = _units((given.get("units") or [""])[0])

    def work(user: User) -> None:
        if role not in {known.value for known in Role}:
            raise Invalid("choose a role")
        users.change_user(
            page.session,
            user,
            role=Role(role),
            units=units or None,
            all_units=not units,
            now=page.services.clock.now(),
            actor=lens.actor,
        )

    return page.carry_out("changed", work)


@router.post("/{user_id}/disable")
def disable(page: UserPageDep, lens: MayManageUsers) -> Response:
    """Out at once."""

    def work(user: User) -> None:
        now = page.services.clock.now()
        users.set_disabled(page.session, user, True, now=now, actor=lens.actor)

    return page.carry_out("disabled", work)


@router.post("/{user_id}/enable")
def enable(page: UserPageDep, lens: MayManageUsers) -> Response:
    """In again."""

    def work(user: User) -> None:
        now = page.services.clock.now()
        users.set_disabled(page.session, user, False, now=now, actor=lens.actor)

    return page.carry_out("enabled", work)


@router.post("/{user_id}/reset-password")
def reset_password(page: UserPageDep, lens: MayManageUsers) -> Response:
    """A new one-time password, which the answer shows and no page after it."""
    given = ""

    def work(user: User) -> None:
        nonlocal given
        now = page.services.clock.now()
        given = users.reset_password(
            page.session, page.services.passwords, user, now=now, actor=lens.actor
        )

    refused = page.carry_out("changed", work)
    return page.show(secret=given) if refused.status_code == 303 else refused


@router.post("/{user_id}/reset-second-factor")
def reset_second_factor(page: UserPageDep, lens: MayManageUsers) -> Response:
    """For who lost it."""

    def work(user: User) -> None:
        now = page.services.clock.now()
        users.reset_second_factor(page.session, user, now=now, actor=lens.actor)

    return page.carry_out("factor", work)


@router.post("/{user_id}/end-sessions")
def end_sessions(page: UserPageDep, lens: MayManageUsers) -> Response:
    """All of the user's sessions."""

    def work(user: User) -> None:
        now = page.services.clock.now()
        users.end_sessions(page.session, user, now=now, actor=lens.actor)

    return page.carry_out("sessions", work)


@router.post("/{user_id}/tokens")
def create_token(page: UserPageDep, lens: MayManageUsers, form: FormDep) -> Response:
    """A token for a service, which the answer shows and no page after it."""
    try:
        body = forms.read(ServiceTokenIn, form)
        user = users.by_id(page.session, page.user_id)
        try:
            if user.kind != "service":
                raise Invalid("people make their tokens themselves, on the page of their account")
            made = tokens.issue(
                page.session,
                user,
                name=body.name,
                now=page.services.clock.now(),
                lifetime=timedelta(days=body.days),
                permissions=body.permissions,
                actor=lens.actor,
            )
        except Invalid as error:
            raise Faulty([Fault("name", forms.sentence(str(error)))]) from error
    except Faulty as wrong:
        return page.show(filled=Filled(forms.texts(form), wrong.faults, "token"))
    return page.show(secret=made.token)


@router.post("/{user_id}/tokens/{token_id}/revoke")
def revoke_token(page: UserPageDep, token_id: IdPath, lens: MayManageUsers) -> Response:
    """The token stops working."""

    def work(user: User) -> None:
        now = page.services.clock.now()
        tokens.revoke_one(page.session, user.id, token_id, now=now, actor=lens.actor)

    return page.carry_out("token", work)


def _users(desk: Desk, session: Session, filled: Filled) -> Response:
    return desk.page(
        "users.html",
        422 if filled.faults else 200,
        users=[user_out(user) for user in users.list_users(session)],
        roles=_named(list(Role)),
        filled=filled,
    )


def _named(roles: list[Role]) -> list[tuple[str, str]]:
    return [(role.value, words.ROLES.get(role.value, role.value)) for role in roles]


def _units(text: str) -> list[str]:
    """Units as they are typed: with commas between."""
    return [unit.strip() for unit in text.split(",") if unit.strip()]


def _with_units(form: FormDep) -> FormDep:
    items = [item for item in form.multi_items() if item[0] != "units"]
    typed = form.get("units")
    units = _units(typed) if isinstance(typed, str) else []
    return FormData([*items, *(("units", unit) for unit in units)])
