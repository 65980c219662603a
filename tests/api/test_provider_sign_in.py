"""People come in through a real Keycloak with what it says they are, or are told why not."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from fraudwatch.casework import users
from fraudwatch.casework.models import AuditRow, ProviderSignIn, User, UserSession
from fraudwatch.casework.provider import KEYS_AGAIN_SECONDS, Provider, make_provider
from fraudwatch.domain.access import Role
from fraudwatch.settings import Settings, load_settings
from tests.api.conftest import Api
from tests.api.console import HTML, parse
from tests.kafka_broker import free_ports
from tests.keycloak import CLIENT_ID, CLIENT_SECRET, PASSWORD, PUBLIC_URL, Keycloak

pytestmark = pytest.mark.oidc


@pytest.fixture
def settings(keycloak: Keycloak) -> Settings:
    return load_settings(
        secret_key="0123456789abcdef" * 4,
        public_url=PUBLIC_URL,
        oidc_issuer=keycloak.issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_label="Bank & Sons",
        oidc_roles="fraud-leads=senior,fraud-analysts=analyst,fraud-officers=risk_officer",
        second_factor_roles="senior",
    )


@pytest.fixture
def house(api: Api) -> Api:
    """The application in Keycloak's own time: its tokens have a beginning and an end."""
    api.clock.moment = datetime.now(UTC)
    return api


@pytest.fixture
def outside() -> Iterator[httpx2.Client]:
    """A browser at Keycloak. Like browsers, it sends Secure cookies to this machine over HTTP."""
    policy = DefaultCookiePolicy(secure_protocols=("http", "https"))
    with httpx2.Client(cookies=CookieJar(policy), timeout=20) as client:
        yield client


def begin(browser: TestClient, back: str = "/me") -> str:
    """Follow the link of the sign-in page; the address at the provider."""
    page = browser.get("/signin", params={"next": back}, headers=HTML)
    link = re.search(r'href="(/signin/provider[^"]*)"', page.text)
    assert link is not None
    away = browser.get(html.unescape(link[1]), headers=HTML, follow_redirects=False)
    assert away.status_code == 303, away.text
    return str(away.headers["location"])


def at_keycloak(outside: httpx2.Client, address: str, name: str) -> str:
    """Give name and password in Keycloak's form, unless it still knows us; where it sends us."""
    page = outside.get(address)
    if page.status_code == 200:
        action = re.search(r'<form[^>]*action="([^"]+)"', page.text)
        assert action is not None, page.text
        page = outside.post(html.unescape(action[1]), data={"username": name, "password": PASSWORD})
    assert page.status_code == 302, page.text
    return str(page.headers["location"])


def come_back(browser: TestClient, address: str) -> httpx2.Response:
    return browser.get(address, headers=HTML, follow_redirects=False)


def sign_in(
    browser: TestClient, outside: httpx2.Client, name: str, back: str = "/me"
) -> httpx2.Response:
    return come_back(browser, at_keycloak(outside, begin(browser, back), name))


def refusals(api: Api) -> list[tuple[str, str]]:
    """Subject and reason of those in the audit log."""
    return [
        (row.subject, row.data["reason"])
        for row in api.rows(AuditRow)
        if row.action == "login.refused"
    ]


def test_a_person_signs_in_works_and_signs_out_at_both_places(
    house: Api, keycloak: Keycloak, outside: httpx2.Client
) -> None:
    """The session is the one a password gives; a second factor is the provider's business."""
    subject = keycloak.add_person("ada", "fraud-leads")
    browser = house.client()
    assert "Sign in with Bank &amp; Sons" in browser.get("/signin", headers=HTML).text
    back = sign_in(browser, outside, "ada", back="/me?tab=1")
    assert (back.status_code, back.headers["location"]) == (303, "/me?tab=1")
    me = browser.get("/v1/me").json()
    assert (me["name"], me["display_name"], me["role"]) == ("ada", "Ada Example", "senior")
    assert me["first"] is None
    assert "cases:work" in me["permissions"]
    (user,) = house.rows(User)
    assert (user.provider, user.provider_subject) == (keycloak.issuer, subject)
    assert user.password_hash is None
    (session,) = house.rows(UserSession)
    assert session.method == "provider"
    assert session.provider_session
    assert [(row.action, row.data) for row in house.rows(AuditRow)] == [
        (
            "user.create",
            {"name": "ada", "role": "senior", "units": None, "provider": keycloak.issuer},
        ),
        ("login", {"method": "provider"}),
    ]
    assert not house.rows(ProviderSignIn)
    assert browser.get("/cases", headers=HTML).status_code == 200
    assert browser.post("/cases/next", headers=HTML).status_code == 403, "CSRF holds as ever"

    page = browser.post("/signout", data={"csrf": me["csrf"]}, headers=HTML)
    link = re.search(r'<a class="button" href="([^"]+)"', page.text)
    assert link is not None
    assert f'content="0; url={link[1]}"' in page.text
    assert next(parse(page).root.all("h1")).text == "You are signed out here"
    assert browser.get("/v1/me").status_code == 401
    left = outside.get(html.unescape(link[1]))
    assert left.status_code == 302
    assert left.headers["location"].startswith(f"{PUBLIC_URL}/signin?bye=true")
    assert "signed out" in browser.get(left.headers["location"], headers=HTML).text
    assert outside.get(begin(browser)).status_code == 200, "Keycloak asks for the password again"


def test_role_and_name_follow_the_provider_and_old_sessions_end(
    house: Api, keycloak: Keycloak, outside: httpx2.Client
) -> None:
    person = keycloak.add_person("bob", "fraud-analysts", "canteen")
    before, after = house.client(), house.client()
    sign_in(before, outside, "bob")
    assert before.get("/v1/me").json()["role"] == "analyst"
    keycloak.move_person(person, "fraud-officers")
    sign_in(after, outside, "bob")
    assert after.get("/v1/me").json()["role"] == "risk_officer"
    assert before.get("/v1/me").status_code == 401
    assert len(house.rows(User)) == 1
    changes = [row.data for row in house.rows(AuditRow) if row.action == "user.change"]
    assert changes == [{"role": "risk_officer"}]


def test_who_has_no_role_is_told_so_and_loses_what_they_had(
    house: Api, keycloak: Keycloak, outside: httpx2.Client
) -> None:
    person = keycloak.add_person("cleo", "canteen")
    browser = house.client()
    page = sign_in(browser, outside, "cleo")
    assert page.status_code == 403
    assert "None of your groups at the provider has a role here" in page.text
    assert next(parse(page).root.all("h1")).text == "You are not signed in"
    assert not house.rows(User)
    assert not house.rows(UserSession)
    keycloak.move_person(person, "fraud-analysts")
    assert sign_in(browser, outside, "cleo").status_code == 303
    keycloak.move_person(person, "canteen")
    assert sign_in(house.client(), outside, "cleo").status_code == 403
    assert browser.get("/v1/me").status_code == 401
    (user,) = house.rows(User)
    assert refusals(house) == [("provider", "role"), (f"user:{user.id}", "role")]


def test_who_is_disabled_here_stays_out(
    house: Api, keycloak: Keycloak, outside: httpx2.Client
) -> None:
    keycloak.add_person("dora", "fraud-analysts")
    browser = house.client()
    sign_in(browser, outside, "dora")
    with house.services.sessions.begin() as session:
        user = users.get_user(session, "dora")
        users.set_disabled(session, user, True, now=house.clock.now())
    page = sign_in(browser, outside, "dora")
    assert page.status_code == 403
    assert "disabled here" in page.text
    assert browser.get("/v1/me").status_code == 401
    assert [reason for _, reason in refusals(house)] == ["disabled"]


@pytest.mark.parametrize("role", [Role.ADMIN, Role.SERVICE])
def test_a_user_of_this_house_is_never_taken_over(
    house: Api, keycloak: Keycloak, outside: httpx2.Client, role: Role
) -> None:
    """Whoever may name people at the provider must not become an administrator here by it."""
    name = f"root-{role.value}"
    keycloak.add_person(name, "fraud-analysts")
    with house.seed() as seed:
        seed.user(name, role)
    browser = house.client()
    page = sign_in(browser, outside, name)
    assert page.status_code == 403
    assert "another user&#39;s" in page.text
    assert browser.get("/v1/me").status_code == 401
    (user,) = house.rows(User)
    assert (user.role, user.provider) == (role.value, None)
    assert refusals(house) == [("provider", "taken")]


def test_a_sign_in_is_good_once_in_its_browser_and_for_ten_minutes(
    house: Api, keycloak: Keycloak, outside: httpx2.Client
) -> None:
    """Else somebody could have another's browser finish a sign-in of their own."""
    keycloak.add_person("emil", "fraud-analysts")
    browser, stranger = house.client(), house.client()
    begin(stranger)
    address = at_keycloak(outside, begin(browser), "emil")
    for wrong in (come_back(stranger, address), come_back(house.client(), address)):
        assert wrong.status_code == 403
        assert "another browser" in wrong.text
    assert come_back(browser, address.replace("state=", "state=x")).status_code == 403
    assert come_back(browser, address).status_code == 303
    assert come_back(browser, address).status_code == 403, "used before"
    address = at_keycloak(outside, begin(browser), "emil")
    house.clock.moment += timedelta(minutes=10)
    assert come_back(browser, address).status_code == 403
    assert not refusals(house), "strangers must not fill the audit log"


@pytest.mark.parametrize("column", ["nonce", "verifier"])
def test_a_code_is_bound_to_the_sign_in_that_asked_for_it(
    house: Api, keycloak: Keycloak, outside: httpx2.Client, column: str
) -> None:
    """A code that somebody else obtained must not be redeemed here: nonce, and PKCE."""
    keycloak.add_person(f"fay-{column}", "fraud-analysts")
    browser = house.client()
    address = at_keycloak(outside, begin(browser), f"fay-{column}")
    with house.services.sessions.begin() as session:
        session.execute(update(ProviderSignIn).values({column: "x" * 64}))
    assert come_back(browser, address).status_code == 403
    assert [reason for _, reason in refusals(house)] == ["token" if column == "nonce" else "code"]
    assert not house.rows(User)


@pytest.mark.parametrize(("wrong", "status"), [(5.5, 303), (7.0, 403), (-0.5, 303), (-2.0, 403)])
def test_clocks_may_differ_by_a_minute(
    house: Api, keycloak: Keycloak, outside: httpx2.Client, wrong: float, status: int
) -> None:
    """Keycloak's tokens live five minutes; ours is the clock that is wrong here."""
    keycloak.add_person(f"gil{status}{'late' if wrong > 0 else 'early'}", "fraud-analysts")
    browser = house.client()
    name = f"gil{status}{'late' if wrong > 0 else 'early'}"
    address = at_keycloak(outside, begin(browser), name)
    house.clock.moment += timedelta(minutes=wrong)
    assert come_back(browser, address).status_code == status


def test_a_new_signing_key_is_read_at_most_once_a_minute(
    house: Api, keycloak: Keycloak, outside: httpx2.Client, settings: Settings
) -> None:
    keycloak.add_person("hal", "fraud-analysts")
    moment = [0.0]
    house.app.state.provider = make_provider(settings, lambda: moment[0])
    assert sign_in(house.client(), outside, "hal").status_code == 303
    keycloak.add_signing_key(priority=500)
    assert sign_in(house.client(), outside, "hal").status_code == 403
    moment[0] += KEYS_AGAIN_SECONDS
    assert sign_in(house.client(), outside, "hal").status_code == 303


def test_units_follow_their_claim(
    house: Api, keycloak: Keycloak, outside: httpx2.Client, settings: Settings
) -> None:
    """Who has none in it is refused: nothing must not mean everything."""
    keycloak.add_person("ida", "fraud-analysts", units=("north", "south"))
    keycloak.add_person("jon", "fraud-analysts", units=("*",))
    keycloak.add_person("kim", "fraud-analysts")
    provider: Provider = house.app.state.provider
    provider.rules = replace(provider.rules, units="work.units")
    found = {}
    for name in ("ida", "jon"):
        browser = house.client()
        outside.cookies.clear()
        assert sign_in(browser, outside, name).status_code == 303
        found[name] = browser.get("/v1/me").json()["units"]
    assert found == {"ida": ["north", "south"], "jon": None}
    outside.cookies.clear()
    page = sign_in(house.client(), outside, "kim")
    assert page.status_code == 403
    assert "your units" in page.text


def test_who_goes_back_at_the_provider_gets_a_page(house: Api, keycloak: Keycloak) -> None:
    browser = house.client()
    state = parse_qs(urlsplit(begin(browser)).query)["state"][0]
    page = come_back(browser, f"/signin/provider/callback?state={state}&error=access_denied")
    assert page.status_code == 403
    assert "did not let you in" in page.text
    state = parse_qs(urlsplit(begin(browser)).query)["state"][0]
    address = f"/signin/provider/callback?state={state}&code=x&iss=https://id.example.org"
    assert come_back(browser, address).status_code == 403, "another provider's answer"
    assert [reason for _, reason in refusals(house)] == ["provider", "state"]


def test_passwords_and_signing_out_work_while_the_provider_is_away(
    house: Api, keycloak: Keycloak, outside: httpx2.Client, settings: Settings
) -> None:
    keycloak.add_person("lea", "fraud-analysts")
    with house.seed() as seed:
        seed.user("max")
    browser = house.client()
    sign_in(browser, outside, "lea")
    csrf = browser.get("/v1/me").json()["csrf"]
    away = f"http://127.0.0.1:{free_ports(1)[0]}/realms/bank"
    house.app.state.provider = make_provider(
        settings.model_copy(update={"oidc_issuer": away}), lambda: 0.0
    )
    for _ in range(2):
        gone = browser.get("/signin/provider", headers=HTML, follow_redirects=False)
        assert gone.status_code == 503
        assert "Not available for the moment" in gone.text
    assert not house.rows(ProviderSignIn)
    house.browser("max")
    left = browser.post("/signout", data={"csrf": csrf}, headers=HTML, follow_redirects=False)
    assert (left.status_code, left.headers["location"]) == (303, "/signin?bye=true")
    assert browser.get("/v1/me").status_code == 401
