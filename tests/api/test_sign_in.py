"""Guessing is slowed without locking the owner out; the second factor is asked for and holds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyotp
import pytest
from fastapi.testclient import TestClient

from fraudwatch.casework import second_factor, throttle, users
from fraudwatch.casework.models import AuditRow, KnownDevice, SignInSource, User, UserSession
from fraudwatch.casework.password_strength import check_password
from fraudwatch.domain.access import Role
from fraudwatch.errors import Invalid
from fraudwatch.settings import load_settings
from tests.api.conftest import Api
from tests.api.seed import PASSWORD, PASSWORDS

NEW = "another good passphrase"


def status_of(client: TestClient, name: str, password: str) -> int:
    return client.post("/v1/login", json={"name": name, "password": password}).status_code


def unknown(api: Api, address: str = "192.0.2.1") -> TestClient:
    """A browser that nobody has signed in with, at an address."""
    return TestClient(api.app, base_url="https://testserver", client=(address, 50000))


def with_factor(api: Api, name: str = "ada") -> tuple[pyotp.TOTP, list[str], TestClient, str]:
    """A person who set up a second factor: app, recovery codes, browser and CSRF token."""
    client, csrf = api.browser(name)
    headers = {"X-CSRF-Token": csrf}
    offer = client.post("/v1/me/second-factor", json={"password": PASSWORD}, headers=headers)
    assert "<svg" in offer.json()["qr_svg"]
    app = pyotp.TOTP(offer.json()["secret"])
    code = app.at(api.clock.now())
    path = "/v1/me/second-factor/confirm"
    codes = client.post(path, json={"code": code}, headers=headers).json()["recovery_codes"]
    return app, codes, client, client.get("/v1/me").json()["csrf"]


def test_guesses_from_elsewhere_do_not_lock_the_owner_out(api: Api) -> None:
    """A lock on the account alone would hand everybody the key to keep an analyst out."""
    with api.seed() as seed:
        seed.user("ada")
    owner, _ = api.browser("ada")
    attacker = unknown(api)
    for _ in range(throttle.FREE_ATTEMPTS + 3):
        assert status_of(attacker, "ada", "wrong") == 401
    assert status_of(attacker, "ada", PASSWORD) == 401, (
        "the attacker waits, even with the right one"
    )
    assert status_of(owner, "ada", PASSWORD) == 200
    assert status_of(attacker, "ada", PASSWORD) == 401, (
        "the owner's sign-in opens nothing to others"
    )


def test_a_known_browser_is_no_place_to_guess(api: Api) -> None:
    """Who has the cookie has five tries, then waits; it is good for its own person alone."""
    with api.seed() as seed:
        seed.user("ada")
        seed.user("bob")
    owner, _ = api.browser("ada")
    for _ in range(throttle.FREE_ATTEMPTS):
        assert status_of(owner, "ada", "wrong") == 401
    assert status_of(owner, "ada", PASSWORD) == 401
    for _ in range(throttle.FREE_ATTEMPTS):
        status_of(owner, "bob", "wrong")
    assert {user.name: user.failed_logins for user in api.rows(User)} == {"ada": 0, "bob": 5}
    api.clock.moment += timedelta(seconds=31)
    assert status_of(owner, "ada", PASSWORD) == 200


def test_an_address_that_tries_many_names_is_slowed_and_its_own_success_clears_nothing(
    api: Api,
) -> None:
    with api.seed() as seed:
        for name in ("ada", "bob", "eve"):
            seed.user(name)
    attacker = unknown(api)
    for number in range(throttle.FREE_OF_SOURCE - 1):
        assert status_of(attacker, f"nobody-{number}", "wrong") == 401
    assert status_of(unknown(api), "eve", PASSWORD) == 200, "the attacker's own account"
    assert status_of(attacker, "bob", "wrong") == 401
    assert status_of(unknown(api), "ada", PASSWORD) == 401, "the address waits, for every name"
    assert status_of(unknown(api, "192.0.2.2"), "ada", PASSWORD) == 200, "others do not"
    assert len(api.rows(SignInSource)) == 2
    api.clock.moment += timedelta(hours=2)
    assert status_of(unknown(api), "ada", PASSWORD) == 200


def test_addresses_are_kept_as_keyed_hashes_and_ipv6_by_its_network() -> None:
    key = b"k" * 32
    one = throttle.source_of("2001:db8:1:2::17", key)
    assert one == throttle.source_of("2001:db8:1:2:ffff::1", key)
    assert one != throttle.source_of("2001:db8:1:3::17", key)
    assert throttle.source_of("::ffff:192.0.2.1", key) == throttle.source_of("192.0.2.1", key)
    assert throttle.source_of("192.0.2.1", key) != throttle.source_of("192.0.2.1", b"l" * 32)


def test_a_new_password_forgets_known_browsers(api: Api) -> None:
    """Somebody else may have a cookie of one."""
    with api.seed() as seed:
        seed.user("ada")
    client, csrf = api.browser("ada")
    body = {"current": PASSWORD, "new": NEW}
    before = client.cookies["__Host-fraudwatch"]
    answer = client.post("/v1/me/password", json=body, headers={"X-CSRF-Token": csrf})
    assert answer.status_code == 204
    assert api.rows(KnownDevice) == []
    assert client.cookies["__Host-fraudwatch"] != before, "the session has a new token"
    assert client.get("/v1/me").json()["csrf"] != csrf
    assert api.client(cookie=f"__Host-fraudwatch={before}").get("/v1/me").status_code == 401


def test_sign_in_ends_the_session_that_the_browser_had(api: Api) -> None:
    """A session planted in a browser must not become its owner's."""
    with api.seed() as seed:
        seed.user("ada")
    client, _ = api.browser("ada")
    first = client.cookies["__Host-fraudwatch"]
    assert status_of(client, "ada", PASSWORD) == 200
    assert client.cookies["__Host-fraudwatch"] != first
    assert len(api.rows(UserSession)) == 1


def test_five_wrong_passwords_within_a_session_end_it(api: Api) -> None:
    """A session left open is no place to guess the password."""
    with api.seed() as seed:
        seed.user("ada")
    client, csrf = api.browser("ada")
    body = {"current": "wrong", "new": NEW}
    statuses = [
        client.post("/v1/me/password", json=body, headers={"X-CSRF-Token": csrf}).status_code
        for _ in range(6)
    ]
    assert statuses == [403] * 5 + [401]


def test_a_second_factor_is_asked_for_before_anything_is_allowed(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada")
    app, _, _, _ = with_factor(api)
    api.clock.moment += timedelta(minutes=1)
    client, csrf = api.browser("ada")
    me = client.get("/v1/me").json()
    assert (me["first"], me["permissions"]) == ("second-factor", [])
    headers = {"X-CSRF-Token": csrf}
    for method, path in (
        ("GET", "/v1/cases"),
        ("GET", "/v1/me/sessions"),
        ("GET", "/v1/me/tokens"),
    ):
        refused = client.request(method, path, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "second-factor"), path
    assert (
        client.post("/v1/login/code", json={"code": "000000"}, headers=headers).status_code == 401
    )
    before = client.cookies["__Host-fraudwatch"]
    right = {"code": app.at(api.clock.now())}
    answer = client.post("/v1/login/code", json=right, headers=headers)
    assert (answer.status_code, answer.json()["first"]) == (200, None)
    assert client.cookies["__Host-fraudwatch"] != before
    assert client.get("/v1/cases").status_code == 200


def test_a_code_is_good_once_and_near_its_time_alone(api: Api) -> None:
    """Who reads a code over a shoulder must not sign in with it a moment later."""
    with api.seed() as seed:
        seed.user("ada")
    app, _, _, _ = with_factor(api)
    start = api.clock.now() + timedelta(minutes=10)

    def give(code_at: timedelta, at: timedelta) -> int:
        api.clock.moment = start + at
        client, csrf = api.browser("ada")
        body = {"code": app.at(start + code_at)}
        path, headers = "/v1/login/code", {"X-CSRF-Token": csrf}
        return client.post(path, json=body, headers=headers).status_code

    zero, step = timedelta(0), timedelta(seconds=30)
    assert give(zero, zero) == 200
    assert give(zero, zero) == 401, "used"
    assert give(-step, zero) == 401, "older than the last used"
    assert give(step, zero) == 200, "a clock that is 30 seconds ahead"
    assert give(4 * step, zero) == 401
    assert give(4 * step, 6 * step) == 401
    assert give(5 * step, 6 * step) == 200, "typed slowly"


def test_the_same_code_sent_twice_at_once_is_good_once(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada")
    app, _, _, _ = with_factor(api)
    api.clock.moment += timedelta(minutes=1)
    code = app.at(api.clock.now())
    key = api.services.settings.require_secret()

    def use(_: int) -> bool:
        with api.services.sessions.begin() as session:
            user = users.by_id(session, api.rows(User)[0].id)
            return second_factor.fits(session, user, key, code, api.clock.now())

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(use, range(8))) == [False] * 7 + [True]


def test_recovery_codes_each_stand_in_once_and_are_kept_as_hashes(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada")
    _, codes, first, first_csrf = with_factor(api)
    assert len(set(codes)) == second_factor.RECOVERY_CODES

    def give(code: str) -> int:
        client, csrf = api.browser("ada")
        headers = {"X-CSRF-Token": csrf}
        return client.post("/v1/login/code", json={"code": code}, headers=headers).status_code

    assert give(codes[0].upper().replace("-", " ")) == 200
    assert give(codes[0]) == 401
    assert first.get("/v1/me/second-factor").json()["recovery_codes_left"] == 9
    renewed = first.post(
        "/v1/me/recovery-codes", json={"password": PASSWORD}, headers={"X-CSRF-Token": first_csrf}
    )
    assert renewed.status_code == 200
    assert give(codes[1]) == 401, "the old ones are good no more"
    assert give(renewed.json()["recovery_codes"][1]) == 200


def test_five_wrong_codes_ask_for_the_password_again(api: Api) -> None:
    """And they count as wrong sign-ins: who knows the password alone must not try all codes."""
    with api.seed() as seed:
        seed.user("ada")
    with_factor(api)
    client = unknown(api)
    csrf = client.post("/v1/login", json={"name": "ada", "password": PASSWORD}).json()["csrf"]
    statuses = [
        client.post(
            "/v1/login/code", json={"code": "000000"}, headers={"X-CSRF-Token": csrf}
        ).json()["code"]
        for _ in range(6)
    ]
    assert statuses == ["wrong-code"] * 5 + ["not-signed-in"]
    assert status_of(client, "ada", PASSWORD) == 401, "the account takes no tries for a while"
    actions = [row.action for row in api.rows(AuditRow)]
    assert actions.count("login.code_failed") == 5


def test_the_secret_of_a_second_factor_is_sealed_for_its_owner(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada")
        seed.user("bob")
    app, _, _, _ = with_factor(api)
    ada, bob = api.rows(User)
    assert app.secret.encode() not in ada.totp_secret
    key = api.services.settings.require_secret()
    bob.totp_secret = ada.totp_secret
    with api.services.sessions() as session:
        for user, other in ((bob, key), (ada, b"l" * 32)):
            with pytest.raises(Invalid, match="another FRAUDWATCH_SECRET_KEY"):
                second_factor.fits(session, user, other, "000000", api.clock.now())


def test_roles_that_need_a_second_factor_can_do_nothing_without(api: Api) -> None:
    settings = api.services.settings.model_copy(update={"second_factor_roles": "senior, admin"})
    with api.seed() as seed:
        seed.user("sam", Role.SENIOR)
        seed.user("ada")
    object.__setattr__(api.services, "settings", settings)
    client, _ = api.browser("sam")
    refused = client.get("/v1/cases")
    assert (refused.status_code, refused.json()["code"]) == (403, "second-factor-enrolment")
    with_factor(api, "sam")
    assert client.get("/v1/me").status_code == 401, "other sessions ended"
    plain, _ = api.browser("ada")
    assert plain.get("/v1/cases").status_code == 200


def test_removing_the_second_factor_needs_the_password(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada")
    _, _, client, csrf = with_factor(api)
    headers, path = {"X-CSRF-Token": csrf}, "/v1/me/second-factor/remove"
    assert client.post(path, json={"password": "wrong"}, headers=headers).status_code == 403
    assert client.get("/v1/me/second-factor").json()["active"] is True
    assert client.post(path, json={"password": PASSWORD}, headers=headers).status_code == 204
    assert client.get("/v1/me/second-factor").json()["active"] is False


def test_a_one_time_password_ends_after_three_days(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada", must_change_password=True)
    api.clock.moment += users.ONE_TIME_LIFE - timedelta(minutes=1)
    assert status_of(api.client(), "ada", PASSWORD) == 200
    api.clock.moment += timedelta(minutes=1)
    assert status_of(api.client(), "ada", PASSWORD) == 401


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "passwordpassword",
        "qwertyuiop1234567890",
        "aaaaaaaaaaaaaaaaaaaa",
        "abcdefghijklmnop",
        "2024-11-17-2024",
        "ada loves her engine",
        "Lovelace is the best one",
        "fraudwatch forever and ever",
    ],
)
def test_what_a_cracker_tries_first_is_refused(password: str) -> None:
    with pytest.raises(Invalid):
        check_password(password, ("ada", "Ada Lovelace"))


@pytest.mark.parametrize(
    "password", ["several unrelated words", "four quiet green lamps", "kT9#vq2!mZ8$", "x9" * 400]
)
def test_what_is_hard_to_guess_is_taken_whatever_it_is_made_of(password: str) -> None:
    if password.startswith("x9"):
        with pytest.raises(Invalid):
            check_password(password, ("ada",))
    else:
        check_password(password, ("ada", "Ada Lovelace"))


def test_hashes_are_made_with_the_parameters_that_are_told() -> None:
    assert PASSWORDS.hash(PASSWORD).startswith("$argon2id$")
    assert load_settings(secret_key="0" * 32).second_factor_roles == ""
