"""Users as administrators make and change them, tokens, sessions, and scope by unit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from fraudwatch.casework import tokens, users
from fraudwatch.casework.auth import actor_of
from fraudwatch.casework.models import AuditRow, Case, User
from fraudwatch.domain.access import Permission, Role
from fraudwatch.domain.decision import Outcome
from fraudwatch.errors import Conflict, Invalid
from tests.api.conftest import Api
from tests.api.console import Browser
from tests.api.seed import PASSWORD


@pytest.fixture
def admin(api: Api) -> TestClient:
    """A signed-in administrator whose browser sends the CSRF token by itself."""
    with api.seed() as seed:
        seed.user("root", Role.ADMIN)
    client, csrf = api.browser("root")
    client.headers["X-CSRF-Token"] = csrf
    return client


def id_of(api: Api, name: str) -> int:
    found: int = next(user.id for user in api.rows(User) if user.name == name)
    return found


def test_a_person_is_made_with_a_password_for_one_use(api: Api, admin: TestClient) -> None:
    made = admin.post("/v1/users", json={"name": "sam", "role": "senior"})
    assert made.status_code == 201
    client, csrf = api.browser("sam", made.json()["one_time_password"])
    assert client.get("/v1/cases").json()["code"] == "password-change"
    body = {"current": made.json()["one_time_password"], "new": PASSWORD}
    headers = {"X-CSRF-Token": csrf}
    assert client.post("/v1/me/password", json=body, headers=headers).status_code == 204
    assert client.get("/v1/cases").status_code == 200
    (row,) = [row for row in api.rows(AuditRow) if row.action == "user.create" and row.actor_id]
    assert (row.actor, row.data["name"]) == ("root", "sam")
    assert "one_time_password" not in admin.get(f"/v1/users/{made.json()['id']}").json()


def test_nobody_changes_their_own_rights_and_an_administrator_stays(
    api: Api, admin: TestClient
) -> None:
    me = id_of(api, "root")
    for change in ({"role": "senior"}, {"units": ["north"]}, {"disabled": True}):
        assert admin.patch(f"/v1/users/{me}", json=change).status_code == 403
    assert admin.post(f"/v1/users/{me}/reset-password").status_code == 403
    with api.seed() as seed:
        other = seed.user("second", Role.ADMIN).id
    assert admin.patch(f"/v1/users/{other}", json={"disabled": True}).status_code == 200
    with api.seed() as seed:
        actor = actor_of(users.get_user(seed.session, "second"))
        root = users.get_user(seed.session, "root")
        with pytest.raises(Conflict, match="last administrator"):
            users.set_disabled(seed.session, root, True, now=seed.now, actor=actor)
        with pytest.raises(Conflict, match="last administrator"):
            users.change_user(seed.session, root, role=Role.ANALYST, now=seed.now, actor=actor)


def test_two_administrators_who_bar_each_other_at_once_do_not_both_succeed(api: Api) -> None:
    with api.seed() as seed:
        names = [seed.user(name, Role.ADMIN).name for name in ("one", "two")]

    def bar(who: str) -> bool:
        other = names[1 - names.index(who)]
        try:
            with api.services.sessions.begin() as session:
                actor = actor_of(users.get_user(session, who))
                user = users.get_user(session, other)
                users.set_disabled(session, user, True, now=api.clock.now(), actor=actor)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(bar, names))
    assert sorted(done) == [False, True]


def test_another_role_holds_at_once_and_ends_sessions(api: Api, admin: TestClient) -> None:
    with api.seed() as seed:
        sam = seed.user("sam", Role.SENIOR).id
    client, _ = api.browser("sam")
    assert admin.patch(f"/v1/users/{sam}", json={"role": "analyst"}).json()["role"] == "analyst"
    assert client.get("/v1/me").status_code == 401
    refused = admin.patch(f"/v1/users/{sam}", json={"role": "service"})
    assert refused.status_code == 422, "a person stays a person"


def test_people_see_and_end_their_sessions_and_administrators_those_of_others(
    api: Api, admin: TestClient
) -> None:
    with api.seed() as seed:
        sam = seed.user("sam").id
    one, csrf = api.browser("sam")
    two, _ = api.browser("sam")
    headers = {"X-CSRF-Token": csrf}
    found = one.get("/v1/me/sessions").json()["items"]
    assert sorted(item["this_one"] for item in found) == [False, True]
    other = next(item["id"] for item in found if not item["this_one"])
    foreign = admin.get("/v1/me/sessions").json()["items"][0]["id"]
    assert one.delete(f"/v1/me/sessions/{foreign}", headers=headers).status_code == 404
    assert one.delete(f"/v1/me/sessions/{other}", headers=headers).status_code == 204
    assert two.get("/v1/me").status_code == 401
    assert len(admin.get(f"/v1/users/{sam}/sessions").json()["items"]) == 1
    assert admin.delete(f"/v1/users/{sam}/sessions").status_code == 204
    assert one.get("/v1/me").status_code == 401


def test_a_token_has_no_more_rights_than_were_asked_for(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada")
    client, csrf = api.browser("ada")
    headers = {"X-CSRF-Token": csrf}
    body = {"name": "export", "days": 7, "permissions": ["cases:read"], "password": PASSWORD}
    wrong = client.post("/v1/me/tokens", json=body | {"password": "x"}, headers=headers)
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong-password")
    beyond = body | {"permissions": ["cases:reopen"]}
    assert client.post("/v1/me/tokens", json=beyond, headers=headers).status_code == 422
    made = client.post("/v1/me/tokens", json=body, headers=headers).json()
    program = api.client(authorization=f"Bearer {made['token']}")
    assert program.get("/v1/me").json()["permissions"] == ["cases:read"]
    assert program.get("/v1/cases").status_code == 200
    assert program.get("/v1/transactions?account_id=x").status_code == 403
    assert program.post("/v1/cases/next").status_code == 403
    (shown,) = client.get("/v1/me/tokens").json()["items"]
    assert "token" not in shown
    assert shown["last_used_at"] is not None
    assert client.delete(f"/v1/me/tokens/{made['id']}", headers=headers).status_code == 204
    assert program.get("/v1/me").status_code == 401


def test_a_token_follows_its_owner_down(api: Api) -> None:
    """A right that the owner lost is lost to tokens made before."""
    with api.seed() as seed:
        sam = seed.user("sam", Role.SENIOR)
        wanted = [Permission.CASES_READ, Permission.CASES_REOPEN]
        token = tokens.issue(seed.session, sam, name="t", now=seed.now, permissions=wanted).token
    program = api.client(authorization=f"Bearer {token}")
    assert program.get("/v1/me").json()["permissions"] == ["cases:read", "cases:reopen"]
    with api.seed() as seed:
        user = users.get_user(seed.session, "sam")
        users.change_user(seed.session, user, role=Role.ANALYST, now=seed.now)
    assert program.get("/v1/me").json()["permissions"] == ["cases:read"]


def test_administrators_make_tokens_of_services_and_of_nobody_else(
    api: Api, admin: TestClient
) -> None:
    """A token of a person made by another would act in the wrong name."""
    service = admin.post("/v1/users", json={"name": "scrape", "role": "service"}).json()
    assert service["one_time_password"] is None
    path = f"/v1/users/{service['id']}/tokens"
    made = admin.post(path, json={"name": "t", "permissions": ["metrics:read"]}).json()
    program = api.client(authorization=f"Bearer {made['token']}")
    assert program.get("/metrics").status_code == 200
    assert admin.delete(f"{path}/{made['id']}").status_code == 204
    assert program.get("/metrics").status_code == 401
    with api.seed() as seed:
        person = seed.user("ada").id
    assert admin.post(f"/v1/users/{person}/tokens", json={"name": "t"}).status_code == 422


def test_units_that_are_none_are_refused(api: Api) -> None:
    with api.seed() as seed:
        user = seed.user("ada")
        for units in ([], [""], [" north"], ["x" * 101], ["n\x00"]):
            with pytest.raises(Invalid, match="units"):
                users.change_user(seed.session, user, units=units, now=seed.now)


def test_people_with_units_see_and_touch_the_cases_of_these_alone(api: Api) -> None:
    """Wherever a case is read, locked, listed or given out: there is one place that narrows."""
    with api.seed() as seed:
        seed.user("ada").units = ["north"]
        seed.user("sam", Role.SENIOR)
        for account, unit in (("acc-north", "north"), ("acc-south", "south"), ("acc-none", None)):
            seed.case(account, outcomes=(Outcome.HIGH_RISK,), priority=2.0).unit = unit
    cases = {case.account_id: case for case in api.rows(Case)}
    client, csrf = api.browser("ada")
    client.headers["X-CSRF-Token"] = csrf
    shown = client.get("/v1/cases").json()["items"]
    assert [case["account_id"] for case in shown] == ["acc-north"]
    for account in ("acc-south", "acc-none"):
        case = cases[account]
        assert client.get(f"/v1/cases/{case.id}").status_code == 404
        for act in ("claim", "renew", "release", "notes", "resolve"):
            body = {"text": "x", "resolution": "fraud", "reason_codes": ["scam"]}
            wanted = {"notes": {"text": "x"}, "resolve": body}.get(act)
            headers = {"If-Match": f'"{case.version}"'}
            answer = client.post(f"/v1/cases/{case.id}/{act}", json=wanted, headers=headers)
            assert answer.status_code in {404, 422}, (act, answer.text)
        assert client.get(f"/v1/accounts/{account}").status_code == 404
        assert client.get(f"/v1/transactions?account_id={account}").status_code == 404
        opened = client.post("/v1/cases", json={"account_id": account, "reason": "x"})
        assert opened.status_code == 404
    assert client.get("/v1/accounts/acc-north").status_code == 200
    assert client.post("/v1/cases/next").json()["account_id"] == "acc-north"
    assert client.post("/v1/cases/next").status_code == 204, "nothing else is for them"
    assert all(case.claimed_by is None for case in api.rows(Case) if case.unit != "north")
    page = Browser.signed_in(api, "ada").get(f"/cases/{cases['acc-south'].id}")
    assert page.status == 404
    everything, _ = api.browser("sam")
    assert len(everything.get("/v1/cases").json()["items"]) == 3


def test_the_pages_of_users_and_of_the_own_account_do_what_they_say(api: Api) -> None:
    with api.seed() as seed:
        seed.user("root", Role.ADMIN)
    browser = Browser.signed_in(api, "root")
    browser.get("/users")
    page = browser.submit("/users", name="sam", role="senior", units="north, south")
    assert "One-time password" in page.text
    sam = id_of(api, "sam")
    assert next(user.units for user in api.rows(User) if user.id == sam) == ["north", "south"]
    page = browser.submit(f"/users/{sam}", role="analyst", units="")
    assert "Changed" in page.text
    user = next(user for user in api.rows(User) if user.id == sam)
    assert (user.role, user.units) == ("analyst", None)
    page = browser.submit(f"/users/{sam}/disable")
    assert "Disabled" in page.text
    browser.get("/me")
    page = browser.submit("/me/tokens", name="mine", days="5", password="wrong")
    assert (page.status, "The password is wrong." in page.text) == (422, True)
    page = browser.submit("/me/tokens", name="mine", days="5", password=PASSWORD)
    assert "fwt_" in page.text
    assert "fwt_" not in browser.get("/me").text
    browser.get("/me/second-factor")
    page = browser.submit("/me/second-factor", password=PASSWORD)
    assert [e for e in page.root.all("svg") if e.attributes.get("class") == "qr"]
    page = browser.submit("/me/second-factor/confirm", code="000000")
    assert (page.status, "The code is wrong" in page.text) == (422, True)


def test_a_token_lives_its_days_and_no_longer(api: Api) -> None:
    with api.seed() as seed:
        ada = seed.user("ada")
        token = tokens.issue(
            seed.session, ada, name="t", now=seed.now, lifetime=timedelta(days=1)
        ).token
    program = api.client(authorization=f"Bearer {token}")
    assert program.get("/v1/me").status_code == 200
    api.clock.moment += timedelta(days=1)
    assert program.get("/v1/me").status_code == 401
