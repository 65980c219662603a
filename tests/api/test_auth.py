"""Signing in: passwords, sessions, tokens, and what keeps others out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from fraudwatch.casework import sign_in, throttle, tokens, users
from fraudwatch.casework.auth import Passwords
from fraudwatch.casework.browser_sessions import Origin
from fraudwatch.casework.context import Services
from fraudwatch.casework.models import ApiToken, AuditRow, User, UserSession
from fraudwatch.domain.access import Role
from fraudwatch.errors import Conflict, Invalid
from tests.api.conftest import Api
from tests.api.seed import PASSWORD, PASSWORDS, sha256

COOKIE = "__Host-fraudwatch"


class CountingPasswords(Passwords):
    """Counts how many hashes were computed."""

    def __init__(self) -> None:
        super().__init__(memory_kib=8, passes=1)
        self.verified = 0

    def verify(self, encoded: str | None, password: str) -> bool:
        self.verified += 1
        return super().verify(encoded, password)


def status_of(client: TestClient, name: str, password: str) -> int:
    return client.post("/v1/login", json={"name": name, "password": password}).status_code


def test_a_browser_signs_in_acts_and_signs_out(api: Api) -> None:
    """The cookie is out of reach of scripts and other sites; the database never holds its token."""
    with api.seed() as seed:
        seed.user("ada")
    client = api.client()
    answer = client.post("/v1/login", json={"name": "ada", "password": PASSWORD})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert part in cookie
    token = client.cookies[COOKIE]
    assert [row.token_sha256 for row in api.rows(UserSession)] == [sha256(token)]
    me = client.get("/v1/me").json()
    assert (me["name"], me["role"], me["csrf"]) == ("ada", "analyst", answer.json()["csrf"])

    assert client.post("/v1/logout", headers={"X-CSRF-Token": me["csrf"]}).status_code == 204
    assert api.rows(UserSession) == []
    client.cookies.set(COOKIE, token)
    assert client.get("/v1/me").status_code == 401


def test_a_browser_changes_nothing_without_the_token_of_its_session(api: Api) -> None:
    """A form on another site sends the cookie, but cannot know the token."""
    with api.seed() as seed:
        seed.user("ada")
        seed.user("bob")
        case_id = seed.case("acc-000000000111").id
    client, csrf = api.browser("ada")
    _, other = api.browser("bob")
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": other}):
        answer = client.post(f"/v1/cases/{case_id}/claim", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf")
    headers = {"X-CSRF-Token": csrf, "If-Match": '"1"'}
    answer = client.post(f"/v1/cases/{case_id}/claim", headers=headers)
    assert answer.status_code == 200


def test_requests_that_another_site_started_are_refused(api: Api) -> None:
    """Sign-in has no session whose token could guard it."""
    with api.seed() as seed:
        seed.user("ada")
    body = {"name": "ada", "password": PASSWORD}
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ):
        answer = api.client().post("/v1/login", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "https://testserver"}):
        assert api.client().post("/v1/login", json=body, headers=headers).status_code == 200


def test_a_session_ends_after_idling_and_after_its_longest_life(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada")
    client, _ = api.browser("ada")
    for _ in range(25):
        api.clock.moment += timedelta(minutes=20)
        assert client.get("/v1/me").status_code == 200
    api.clock.moment += timedelta(minutes=31)
    assert client.get("/v1/me").status_code == 401

    client, _ = api.browser("ada")
    statuses = []
    for _ in range(31):
        api.clock.moment += timedelta(minutes=20)
        statuses.append(client.get("/v1/me").status_code)
    assert statuses == [200] * 29 + [401] * 2


def test_unknown_names_wrong_passwords_and_locks_look_the_same(api: Api) -> None:
    """A difference would tell which accounts exist; a skipped hash would tell it by time."""
    with api.seed() as seed:
        seed.user("ada")
        seed.user("gone").disabled = True
        seed.user("bot", Role.SERVICE)
    passwords = CountingPasswords()
    client = api.client()
    services = api.services
    api.app.state.services = Services(
        services.settings,
        services.engine,
        services.sessions,
        services.clock,
        passwords,
        services.publisher,
    )
    answers = []
    for name in ["ada"] * 7 + ["nobody", "gone", "bot"]:
        answer = client.post("/v1/login", json={"name": name, "password": "wrong"})
        body = answer.json()
        assert body.pop("request_id")
        answers.append((answer.status_code, body))
    assert answers == [answers[0]] * len(answers)
    assert answers[0][0] == 401
    assert passwords.verified == len(answers)


def test_wrong_passwords_lock_the_account_for_longer_and_longer(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada")
    client = api.client()
    for _ in range(throttle.FREE_ATTEMPTS):
        assert status_of(client, "ada", "wrong") == 401
    assert status_of(client, "ada", PASSWORD) == 401, "locked: even the right one waits"
    api.clock.moment += timedelta(seconds=31)
    assert status_of(client, "ada", "wrong") == 401
    api.clock.moment += timedelta(seconds=31)
    assert status_of(client, "ada", PASSWORD) == 401, "the second lock is longer"
    api.clock.moment += timedelta(seconds=30)
    assert status_of(client, "ada", PASSWORD) == 200
    assert [row.failed_logins for row in api.rows(User)] == [0]
    actions = [row.action for row in api.rows(AuditRow)]
    assert actions.count("login.failed") == 6
    assert actions[-1] == "login"


def test_no_lock_is_longer_than_fifteen_minutes(api: Api) -> None:
    """Or anybody could keep an analyst out for ever."""
    with api.seed() as seed:
        user = seed.user("ada")
        user.failed_logins = 10_000
    status_of(api.client(), "ada", "wrong")
    locked = api.rows(User)[0].locked_until
    assert locked == api.clock.now() + timedelta(minutes=15)


def test_guesses_in_parallel_count_one_by_one(api: Api) -> None:
    """Sent at once they must not all be checked before the first is counted."""
    with api.seed() as seed:
        seed.user("ada")

    def guess(number: int) -> bool:
        with api.services.sessions.begin() as session:
            found = sign_in.with_password(
                session,
                PASSWORDS,
                api.services.settings,
                name="ada",
                password=f"guess {number}",
                origin=Origin("192.0.2.1"),
                now=api.clock.now(),
            )
        return found is not None

    with ThreadPoolExecutor(10) as pool:
        assert not any(pool.map(guess, range(20)))
    user = api.rows(User)[0]
    assert user.failed_logins == throttle.FREE_ATTEMPTS
    assert user.locked_until is not None


def test_a_password_that_must_be_changed_allows_nothing_else(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada", must_change_password=True)
    client, csrf = api.browser("ada")
    other, _ = api.browser("ada")
    headers = {"X-CSRF-Token": csrf}
    refused = client.get("/v1/cases")
    assert refused.status_code == 403
    assert "change the password" in refused.json()["detail"]
    assert client.get("/v1/me").json()["must_change_password"] is True

    def change(current: str, new: str) -> int:
        body = {"current": current, "new": new}
        return client.post("/v1/me/password", json=body, headers=headers).status_code

    assert change("wrong", "another good passphrase") == 403
    assert change(PASSWORD, PASSWORD) == 422
    assert change(PASSWORD, "short") == 422
    assert change(PASSWORD, "ada loves her engine") == 422
    assert change(PASSWORD, "aaaaaaaaaaaaaaaaaaaa") == 422
    assert change(PASSWORD, "another good passphrase") == 204
    assert client.get("/v1/cases").status_code == 200
    assert other.get("/v1/me").status_code == 401, "other sessions end"
    assert status_of(api.client(), "ada", PASSWORD) == 401
    assert status_of(api.client(), "ada", "another good passphrase") == 200


def test_api_tokens_are_hashed_and_end(api: Api) -> None:
    with api.seed() as seed:
        bot = seed.user("bot", Role.SERVICE)
        token = tokens.issue(
            seed.session, bot, name="feed", now=seed.now, lifetime=timedelta(days=1)
        ).token
        spare = tokens.issue(seed.session, bot, name="spare", now=seed.now).token
    assert [row.token_sha256 for row in api.rows(ApiToken)] == [sha256(token), sha256(spare)]
    client = api.client(authorization=f"Bearer {token}")
    me = client.get("/v1/me").json()
    assert (me["name"], me["csrf"]) == ("bot", None)
    assert api.client(authorization=f"Bearer {token}x").get("/v1/me").status_code == 401
    assert api.client(authorization="Bearer").get("/v1/me").status_code == 401
    assert api.client(authorization=f"Basic {token}").get("/v1/me").status_code == 401

    api.clock.moment += timedelta(days=2)
    assert client.get("/v1/me").status_code == 401, "it has ended"
    second = api.client(authorization=f"Bearer {spare}")
    assert second.get("/v1/me").status_code == 200
    with api.seed() as seed:
        user = users.get_user(seed.session, "bot")
        assert tokens.revoke(seed.session, user, now=seed.now, name="spare") == 1
    assert second.get("/v1/me").status_code == 401, "it was revoked"


def test_a_disabled_user_is_out_at_once(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada")
    client, _ = api.browser("ada")
    program = api.program(Role.SERVICE)
    assert program.get("/v1/me").status_code == 200
    with api.seed() as seed:
        for name in ("ada", "service-user"):
            user = users.get_user(seed.session, name)
            users.set_disabled(seed.session, user, True, now=seed.now)
    assert client.get("/v1/me").status_code == 401
    assert program.get("/v1/me").status_code == 401
    assert status_of(api.client(), "ada", PASSWORD) == 401


def test_users_are_made_by_the_rules(api: Api) -> None:
    with api.seed() as seed:
        session = seed.session
        seed.user("ada")
        with pytest.raises(Conflict, match="already"):
            seed.user("ada")
        for name in ("", " bob", "b\x00b", "x" * 101):
            with pytest.raises(Invalid, match="user name"):
                seed.user(name)
        with pytest.raises(Invalid, match="no password"):
            users.create_user(
                session, PASSWORDS, name="bot", role=Role.SERVICE, password=PASSWORD, now=seed.now
            )
        with pytest.raises(Invalid, match="366 days"):
            tokens.issue(
                session,
                users.get_user(session, "ada"),
                name="long",
                now=seed.now,
                lifetime=timedelta(days=400),
            )


def test_weaker_hashes_are_replaced_when_their_owner_signs_in(api: Api) -> None:
    with api.seed() as seed:
        user = seed.user("ada")
        old = user.password_hash = Passwords(memory_kib=16, passes=1).hash(PASSWORD)
    assert status_of(api.client(), "ada", PASSWORD) == 200
    new = api.rows(User)[0].password_hash
    assert new != old
    assert new.startswith("$argon2id$")
