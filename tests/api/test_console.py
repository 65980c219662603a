"""The console by plain HTTP, as a browser without JavaScript uses it."""

from __future__ import annotations

import json

import pytest

from fraudwatch.casework.models import LabelRow, OutboxRow
from tests.api.conftest import Api
from tests.api.console import Browser


@pytest.fixture
def browser(api: Api) -> Browser:
    """A signed-in analyst."""
    with api.seed() as seed:
        seed.user("ada")
    return Browser.signed_in(api, "ada")


def test_from_sign_in_to_a_decision(api: Api, browser: Browser) -> None:
    """The whole work of an analyst by forms alone; it leaves what a decision by REST leaves."""
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
    page = browser.get("/")
    assert page.path == "/cases"
    page = browser.submit("/cases/next")
    assert page.path == f"/cases/{case_id}"
    assert "Held by you" in page.text
    page = browser.submit(
        f"/cases/{case_id}/resolve",
        resolution="fraud",
        reason_codes=["stolen_card"],
        note="Card reported stolen.",
    )
    assert (page.status, page.path) == (200, f"/cases/{case_id}")
    assert "Resolved: fraud by ada" in page.text
    assert [label.fraud for label in api.rows(LabelRow)] == [True]
    (message,) = api.rows(OutboxRow)
    assert json.loads(message.payload)["action"] == "decline"


def test_the_queue_says_whose_case_it_is_and_what_an_empty_one_means(
    api: Api, browser: Browser
) -> None:
    assert "No case is open" in browser.get("/cases").text
    with api.seed() as seed:
        seed.case("acc-000000000111", priority=2.0)
    page = browser.get("/cases")
    assert "acc-000000000111" in page.text
    assert "Waiting" in page.text
    browser.submit("/cases/next")
    assert "Held by you" in browser.get("/cases").text
    assert "No case fits this filter" in browser.get("/cases?status=waiting").text
    assert "Risk" not in page.text
