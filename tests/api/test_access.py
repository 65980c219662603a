"""Closed by default: every route has a permission, and each role reaches exactly what it may."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from fraudwatch.casework.masking import Lens, masked
from fraudwatch.casework.permissions import require_guards
from fraudwatch.domain.access import SERVICES, Actor, Permission, Role
from fraudwatch.errors import ConfigurationError
from tests.api.cells import Headers, status_of, url_of
from tests.api.conftest import Api
from tests.docs.access import REGENERATE, SESSION, TOKEN, YES, Row, rows, written

PEOPLE = [role for role in Role if role not in SERVICES]
REFUSED = {401, 403}
ENDS_THE_SESSION = {"/v1/logout", "/signout"}


def test_the_matrix_names_every_route(api: Api) -> None:
    """A route added without thought must not become one for everybody."""
    on_page = {row.operation: row for row in written()}
    there = {row.operation: row for row in rows(api.app)}
    missing, gone = sorted(there.keys() - on_page.keys()), sorted(on_page.keys() - there.keys())
    assert not missing, f"not in docs/access.md: {missing}; {REGENERATE}"
    assert not gone, f"in docs/access.md and no route: {gone}; {REGENERATE}"
    changed = [there[key].operation for key in there if there[key] != on_page[key]]
    assert not changed, f"docs/access.md says otherwise: {changed}; {REGENERATE}"


def test_what_is_open_to_everybody_is_little() -> None:
    """The sign-in, the health of the service, shipped files and the API's description."""
    words = ("/signin", "/static/", "/v1/login", "/health", "/ready", "/openapi.json")
    for row in written():
        if row.nobody == YES:
            assert row.path.startswith(words), f"{row.operation} is open to all"


def test_each_cell_of_the_matrix(api: Api) -> None:
    """Each route, as nobody, with a token and in a session: let through where the page says so."""
    matrix = written()
    faults: list[str] = []

    async def call(row: Row, headers: Headers) -> int:
        return await status_of(api.app, row.method, url_of(row.path), headers)

    def judge(row: Row, who: str, status: int, may: bool) -> None:
        refused = status in REFUSED if may else status not in REFUSED
        if refused or status >= 500 or status == 0:
            faults.append(f"{row.method} {row.path} as {who}: {status}, may: {may}")

    async def as_nobody() -> None:
        for row in matrix:
            status = await call(row, {})
            judge(row, "nobody", status, row.nobody == YES)
            if row.nobody != YES and status != 401:
                faults.append(f"{row.method} {row.path} as nobody: {status} is not 401")

    async def by_token(role: Role, headers: Headers) -> None:
        for row in matrix:
            may = row.cell(role) in {YES, TOKEN}
            judge(row, f"{role.value} by token", await call(row, headers), may)

    async def in_session(role: Role, headers: Headers) -> None:
        for row in sorted(matrix, key=lambda row: row.path in ENDS_THE_SESSION):
            if row.path in ENDS_THE_SESSION:
                headers = session_of(api, role)
            may = row.cell(role) in {YES, SESSION}
            judge(row, f"{role.value} in a session", await call(row, headers), may)

    async def call_all() -> None:
        by_role = {role: api.program(role).headers["authorization"] for role in Role}
        await asyncio.gather(
            as_nobody(),
            *(by_token(role, {"authorization": key}) for role, key in by_role.items()),
            *(in_session(role, session_of(api, role)) for role in PEOPLE),
        )

    with api.seed() as seed:
        for role in PEOPLE:
            seed.user(f"{role.value}-1", role)
    # In a thread of its own: one that has driven a browser keeps a running loop.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(call_all())).result()
    assert faults == []


def session_of(api: Api, role: Role) -> Headers:
    """Headers of a signed-in browser of this role."""
    client, csrf = api.browser(f"{role.value}-1")
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    return {"cookie": cookies, "x-csrf-token": csrf}


def test_a_refusal_asks_for_a_token(api: Api) -> None:
    answer = api.client().get("/v1/cases")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_an_application_with_an_open_route_does_not_start(api: Api) -> None:
    @api.app.get("/v1/leak")
    def leak() -> str:
        return "everything"

    with pytest.raises(ConfigurationError, match="/v1/leak"):
        require_guards(api.app, unguarded=frozenset({"/static"}))


def test_an_own_account_is_not_for_tokens(api: Api) -> None:
    """A token that leaked must not change the password, or make other tokens."""
    own = [row for row in written() if row.needs == "own account" and row.path.startswith("/v1/")]
    assert len(own) > 10
    for row in own:
        answer = api.program(Role.ANALYST).request(row.method, url_of(row.path))
        assert (answer.status_code, answer.json()["code"]) == (403, "session-needed"), row.path


def test_personal_data_are_masked_for_those_who_need_them_not(api: Api) -> None:
    """Officers and auditors see that rows belong together, not to whom."""
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
        transaction = seed.transaction("acc-000000000111").transaction_id
    secrets = (
        "acc-000000000111",
        "192.0.2.17",
        "counterparty-77",
        "somebody@example.org",
        "48.85661",
    )
    for path in (
        f"/v1/cases/{case_id}",
        "/v1/cases",
        f"/v1/transactions/{transaction}",
        "/v1/transactions?account_id=acc-000000000111",
        "/v1/accounts/acc-000000000111",
    ):
        for role in (Role.RISK_OFFICER, Role.AUDITOR, Role.SERVICE):
            answer = api.program(role).get(path)
            if answer.status_code == 200:
                assert not [secret for secret in secrets if secret in answer.text], path
            else:
                assert role is Role.SERVICE
                assert answer.status_code == 403
        assert "acc-000000000111" in api.program(Role.ANALYST).get(path).text
    seen = api.program(Role.AUDITOR).get(f"/v1/transactions/{transaction}").json()
    assert seen["account_id"].startswith("acc-…111~")
    assert (seen["latitude"], seen["longitude"]) == (48.9, 2.4)
    assert seen["attributes"] == {"score": 0.25, "email": "…"}
    full = api.program(Role.ANALYST).get(f"/v1/transactions/{transaction}").json()
    assert full["ip"] == "192.0.2.17"
    assert full["customer_id"] == "customer-of-acc-000000000111"


def test_masks_link_equal_values_and_hide_short_ones() -> None:
    key = b"k" * 32
    assert masked("acc-000000000111", key) == masked("acc-000000000111", key)
    assert masked("acc-000000000111", key) != masked("acc-100000000111", key)
    assert masked("acc-000000000111", key) != masked("acc-000000000111", b"l" * 32)
    assert masked("4711", key).startswith("…~")
    actor = Actor(1, "x", Role.ANALYST, True, frozenset({Permission.PERSONAL_READ}))
    assert Lens(actor, key).id("4711") == "4711"
