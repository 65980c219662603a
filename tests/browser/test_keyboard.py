"""The console in a real browser, by keyboard alone, with JavaScript and without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, Request, expect
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework.models import LabelRow
from tests.api.seed import PASSWORD

pytestmark = pytest.mark.browser

MOST_TABS = 80


@contextmanager
def opened(
    chromium: Browser, *, javascript: bool = True, width: int = 1280, refusals: int = 0
) -> Iterator[Page]:
    """A page in a fresh context; nothing may be reported on its console but form refusals."""
    context = chromium.new_context(
        java_script_enabled=javascript, viewport={"width": width, "height": 800}
    )
    page = context.new_page()
    reports: list[str] = []
    page.on("console", lambda found: reports.append(f"{found.type}: {found.text}"))
    page.on("pageerror", lambda error: reports.append(str(error)))
    page.on("requestfailed", lambda request: note_failure(request, reports))
    yield page
    context.close()
    refused = [report for report in reports if "status of 422" in report]
    assert len(refused) == refusals
    assert [report for report in reports if report not in refused] == []


def note_failure(request: Request, reports: list[str]) -> None:
    """Report a request that failed, but not one that the page's own end cut short."""
    if request.failure != "net::ERR_ABORTED":
        reports.append(f"failed: {request.url} {request.failure}")


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus, which must be visible."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.locator(f"{selector}:focus").count():
            outline = page.locator(selector).evaluate("e => getComputedStyle(e).outlineStyle")
            assert outline == "solid", f"the focus on {selector} cannot be seen"
            return
    pytest.fail(f"{MOST_TABS} times Tab did not reach {selector}")


def sign_in(page: Page, address: str) -> None:
    page.goto(address)
    tab_to(page, "#name")
    page.keyboard.type("ada")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Queue")
    page.wait_for_load_state("load")  # keys work once the page's modules have run


def decide(page: Page) -> None:
    """From a claimed case to its resolution."""
    expect(page.locator("main")).to_contain_text("Held by you")
    assert page.locator("input:checked").count() == 0, "nothing may be decided beforehand"
    tab_to(page, "#resolution")
    page.keyboard.press("ArrowDown")  # the choice moves on to "legitimate"
    tab_to(page, "#code-known_habit")
    page.keyboard.press("Space")
    tab_to(page, "#note")
    page.keyboard.type("Same shop, same amount, every month.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("Resolved: legitimate by ada")


@pytest.mark.parametrize("javascript", [False, True])
def test_from_sign_in_to_a_decision_by_keyboard(
    chromium: Browser, address: str, sessions: sessionmaker[Session], javascript: bool
) -> None:
    """Neither a mouse nor JavaScript may be needed for the work."""
    with opened(chromium, javascript=javascript) as page:
        sign_in(page, address)
        page.keyboard.press("Tab")  # the way past the navigation
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Take next case")).to_be_focused()
        page.keyboard.press("Enter")
        decide(page)
    with sessions() as session:
        assert [row.fraud for row in session.query(LabelRow)] == [False, False]


def test_keys_walk_the_queue_and_explain_themselves(chromium: Browser, address: str) -> None:
    with opened(chromium) as page:
        sign_in(page, address)
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("Take the next case")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).not_to_be_visible()
        page.keyboard.press("j")
        expect(page.get_by_role("link", name="1", exact=True)).to_be_focused()
        page.keyboard.press("j")
        expect(page.get_by_role("link", name="2", exact=True)).to_be_focused()
        page.keyboard.press("k")
        page.keyboard.press("o")
        expect(page.get_by_role("heading", level=1)).to_contain_text("Case 1")
        page.keyboard.press("c")
        expect(page.locator("main")).to_contain_text("Held by you")
        tab_to(page, "#text")
        page.keyboard.type("junction")  # letters in a field are letters
        expect(page.locator("#text")).to_have_value("junction")


def test_a_mistake_takes_the_focus_to_what_is_wrong(chromium: Browser, address: str) -> None:
    """The list of mistakes has the focus; its links lead to the fields."""
    with opened(chromium, refusals=1) as page:
        sign_in(page, address)
        page.keyboard.press("n")
        tab_to(page, "#resolution")
        page.keyboard.press("Space")
        page.locator("#note").press("Tab")
        with page.expect_navigation() as answer:
            page.keyboard.press("Enter")
        assert answer.value.status == 422
        expect(page.locator("#faults")).to_be_focused()
        expect(page.locator("#resolution")).to_be_checked()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#reason_codes")).to_be_focused()


@pytest.mark.parametrize("path", ["/cases", "/cases/1", "/transactions/tx-000012", "/reason-codes"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_cut_off_at_the_sides(
    chromium: Browser, address: str, path: str, width: int
) -> None:
    """Only tables scroll sideways, within themselves."""
    with opened(chromium, width=width) as page:
        sign_in(page, address)
        page.goto(address + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_claim_counts_down(chromium: Browser, address: str) -> None:
    with opened(chromium) as page:
        page.clock.install()
        sign_in(page, address)
        page.keyboard.press("n")
        expect(page.locator("[data-lease]")).to_contain_text("min")
        before = page.locator("[data-lease]").inner_text()
        page.clock.fast_forward("05:00")
        expect(page.locator("[data-lease]")).not_to_have_text(before)
