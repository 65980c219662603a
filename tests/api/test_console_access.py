"""Pages are closed by default, and hold nothing that a strict browser or a reader trips over."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest

from fraudwatch.casework import models_registry
from fraudwatch.domain.access import SERVICES, Role
from fraudwatch.domain.decision import Outcome
from tests.api.conftest import Api
from tests.api.console import HTML, Browser, Element, Page, parse
from tests.api.seed import NOW, PASSWORD
from tests.docs.access import YES, written

APART = {"/metrics", "/health", "/ready", "/openapi.json"}
PAGES = [row for row in written() if not row.path.startswith("/v1/") and row.path not in APART]
CLOSED = [row for row in PAGES if row.nobody != YES]
IDS = {"case_id": "1", "account_id": "acc-000000000111", "transaction_id": "tx-000000"}
PEOPLE = [role for role in Role if role not in SERVICES]


def url_of(method: str, path: str) -> str:
    """Users are looked at; what would be done to one is tried on somebody who does not exist."""
    ids = IDS | {"user_id": "1" if method == "GET" else "999"}
    return re.sub(r"\{(\w+)[^}]*\}", lambda found: ids.get(found[1], "999"), path)


@pytest.fixture
def people(api: Api) -> dict[Role, Browser]:
    """One signed-in person of each role, and a case."""
    with api.seed() as seed:
        seed.case("acc-000000000111", outcomes=(Outcome.HIGH_RISK, Outcome.REVIEW))
        models_registry.register(seed.session, "first", "ab" * 32, {}, NOW, {"recall": 0.4})
        for role in PEOPLE:
            seed.user(f"{role.value}-1", role)
    return {role: Browser.signed_in(api, f"{role.value}-1") for role in PEOPLE}


def test_without_a_session_every_page_leads_to_the_door_and_back(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada")
    client = api.client(**HTML)
    for row in CLOSED:
        url = url_of(row.method, row.path)
        answer = client.request(row.method, url, follow_redirects=False)
        assert answer.status_code == 303, row.path
        assert answer.headers["location"].startswith("/signin")
    browser = Browser(client)
    page = browser.get("/cases?status=all")
    assert page.path == "/signin"
    page = browser.submit("/signin", name="ada", password=PASSWORD)
    assert str(page.response.url) == "https://testserver/cases?status=all"


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "cases", "/a\nb"]
)
def test_signing_in_leads_to_no_other_site(api: Api, target: str) -> None:
    """A link to our own door must not hand people over to a copy of it."""
    with api.seed() as seed:
        seed.user("ada")
    client = api.client(**HTML)
    data = {"name": "ada", "password": PASSWORD, "next": target}
    answer = client.post("/signin", data=data, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_a_form_without_the_token_of_its_session_is_refused(
    api: Api, people: dict[Role, Browser]
) -> None:
    """A page of another site can send our forms with the cookie, but does not know the token."""
    browser = people[Role.SENIOR]
    for row in CLOSED:
        if row.method == "POST":
            for data in ({}, {"csrf": ""}, {"csrf": "x" * 43}):
                url = url_of(row.method, row.path)
                answer = browser.client.post(url, data=data, follow_redirects=False)
                assert answer.status_code == 403, row.path
                assert "csrf" in parse(answer).text
    assert browser.get("/cases/1").text.count("To be taken") == 1


def pages(api: Api, people: dict[Role, Browser]) -> Iterator[Page]:
    """Every page as somebody who may see it, and pages of errors."""
    yield parse(api.client(**HTML).get("/signin"))
    yield parse(api.client(**HTML).post("/signin", data={"name": "nobody", "password": "x"}))
    analyst = people[Role.ANALYST]
    analyst.get("/cases")
    yield analyst.submit("/cases/next")
    yield analyst.submit("/cases/1/resolve")
    for row in CLOSED:
        if row.method == "GET":
            for role, browser in people.items():
                if row.cell(role):
                    yield browser.get(url_of(row.method, row.path))
    yield analyst.get("/cases/99")
    yield analyst.get("/nowhere")
    yield analyst.get("/policies")


def test_pages_are_sound_html_that_a_strict_browser_shows_whole(
    api: Api, people: dict[Role, Browser]
) -> None:
    """Inline script and style would be blocked; a control without a name cannot be used by ear."""
    seen = 0
    for page in pages(api, people):
        seen += 1
        elements = list(page.root.all())
        where = page.path
        policy = page.response.headers["content-security-policy"]
        assert "script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        for element in elements:
            assert element.name != "style", where
            for name in element.attributes:
                assert name != "style", f"{where}: {element}"
                assert not name.startswith("on"), f"{where}: {element}"
            if element.name == "script":
                assert element.attributes["src"].startswith("/static/"), where
                assert element.text == "", where
            for name in ("href", "src", "action"):
                assert re.match(r"(/(?!/)|#)", element.attributes.get(name, "/")), element
        check_structure(page, elements)
    assert seen > 25


def check_structure(page: Page, elements: list[Element]) -> None:
    """Language, title, one main heading, landmarks, unique ids, labels, names of buttons."""
    where = page.path
    assert next(page.root.all("html")).attributes["lang"] == "en"
    assert next(page.root.all("title")).text.endswith("· fraudwatch")
    for name in ("h1", "main", "header"):
        assert len(list(page.root.all(name))) == 1, f"{where}: {name}"
    ids = [element.attributes["id"] for element in elements if "id" in element.attributes]
    assert len(ids) == len(set(ids)), f"{where}: {sorted(ids)}"
    assert elements[[e.name for e in elements].index("a")].attributes["href"] == "#main"
    labels = {label.attributes["for"]: label.text for label in page.root.all("label")}
    assert set(labels) <= set(ids), where
    for element in page.root.all("input", "select", "textarea"):
        if element.attributes.get("type") != "hidden" and "hidden" not in element.attributes:
            assert labels.get(element.attributes["id"]), f"{where}: {element.attributes}"
        for name in element.attributes.get("aria-describedby", "").split():
            assert name in ids, f"{where}: {name}"
    for element in page.root.all("button", "a"):
        assert element.text or element.attributes.get("aria-label"), f"{where}: {element}"
    for link in page.root.all("a"):
        if link.attributes["href"].startswith("#"):
            assert link.attributes["href"][1:] in ids, f"{where}: {link.attributes}"
    for table in page.root.all("table"):
        assert next(table.all("caption")).text
        assert all("scope" in cell.attributes for cell in table.all("th"))
    for chart in page.root.all("svg"):
        assert chart.attributes.get("aria-label") or "aria-hidden" in chart.attributes
    levels = [int(element.name[1]) for element in elements if re.fullmatch("h[1-6]", element.name)]
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), f"{where}: {levels}"


def test_shipped_files_are_kept_by_browsers_until_they_change(api: Api) -> None:
    client = api.client()
    page = parse(client.get("/signin", headers=HTML))
    sheet = next(e for e in page.root.all("link") if e.attributes["rel"] == "stylesheet")
    answer = client.get(sheet.attributes["href"])
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    assert client.get("/static/console.css").headers["cache-control"] == "no-cache"
    assert client.get("/static/..%2fpages.py").status_code == 404
    assert client.get("/static/console.py").status_code == 404
    assert page.response.headers["cache-control"] == "no-store"


def test_programs_get_problems_and_browsers_get_pages(api: Api) -> None:
    """The same error, in the form that its reader can use."""
    assert api.client().get("/cases").json()["code"] == "not-signed-in"
    answer = api.client(**HTML).get("/v1/cases")
    assert answer.json()["code"] == "not-signed-in"
    page = parse(api.client(**HTML).get("/nowhere"))
    assert (page.status, "request" in page.text) == (404, True)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, 1.4.3."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_stands_out_from_its_ground_in_light_and_dark(api: Api) -> None:
    """4.5 to 1 for text, 3 to 1 for the edges of controls and the mark of the focus."""
    sheet = api.client().get("/static/console.css").text
    schemes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)
    ]
    assert len(schemes) == 2
    for colours in schemes:
        for text in ("ink", "quiet", "accent", "alert"):
            for ground in ("ground", "card", "accent-soft", "alert-soft", "good-soft"):
                found = contrast(colours[text], colours[ground])
                assert found >= 4.5, (text, ground, found)
        assert contrast(colours["accent-ink"], colours["accent"]) >= 4.5
        for edge in ("strong-line", "focus"):
            for ground in ("ground", "card"):
                assert contrast(colours[edge], colours[ground]) >= 3, (edge, ground)
