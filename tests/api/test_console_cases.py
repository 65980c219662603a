"""What a team does to cases, by forms alone: put aside, escalate, take over, differ, look twice."""

from __future__ import annotations

import pytest

from fraudwatch.casework.models import Case, CaseEvent, OutcomeRow
from fraudwatch.domain.access import Role
from fraudwatch.domain.decision import Outcome
from tests.api.cases import a_case, add_alert, set_rules
from tests.api.conftest import Api
from tests.api.console import Browser


def signed_in(api: Api, name: str, role: Role = Role.ANALYST) -> Browser:
    with api.seed() as seed:
        seed.user(name, role)
    return Browser.signed_in(api, name)


@pytest.fixture
def ada(api: Api) -> Browser:
    return signed_in(api, "ada")


@pytest.fixture
def bob(api: Api) -> Browser:
    return signed_in(api, "bob")


def held(api: Api, browser: Browser, outcomes: tuple[Outcome, ...] = (Outcome.REVIEW,)) -> str:
    path = f"/cases/{a_case(api, outcomes)}"
    browser.get(path)
    browser.submit(f"{path}/claim")
    return path


def test_a_case_is_put_aside_for_a_while_with_what_it_waits_for(api: Api, ada: Browser) -> None:
    path = held(api, ada)
    page = ada.submit(f"{path}/wait", hours="4")
    assert page.status == 422
    assert "#wait-why" in [link.attributes["href"] for link in page.root.all("a")]
    page = ada.submit(f"{path}/wait", hours="4", reason="Calls back after work.")
    assert "Put aside until 2 Mar 16:00" in page.text
    assert "Calls back after work." in page.text
    assert "Put aside" in ada.get("/cases?status=aside").text
    assert "No case fits" in ada.get("/cases?status=waiting").text
    assert "Held by you" in (ada.get(path), ada.submit(f"{path}/claim"))[1].text


def test_what_joined_is_marked_until_it_was_seen(api: Api, ada: Browser) -> None:
    path = held(api, ada)
    add_alert(api)
    page = ada.get(path)
    assert "1 payment added since you looked" in page.text
    assert len([tag for tag in page.root.all("span") if tag.text == "New"]) == 1
    page = ada.submit(f"{path}/seen")
    assert "added since you looked" not in page.text
    assert not [tag for tag in page.root.all("span") if tag.text == "New"]


def test_escalating_and_taking_over(api: Api, ada: Browser, bob: Browser) -> None:
    path = held(api, ada)
    sia = signed_in(api, "sia", Role.SENIOR)
    sia.get(path)
    assert "Take the case over" not in bob.get(path).text
    page = sia.submit(f"{path}/take-over", reason="Ada has gone home.")
    assert "Held by you" in page.text
    page = sia.submit(f"{path}/escalate", reason="One for the night shift.")
    assert "Escalated" in page.text
    page = bob.get(path)
    assert not [
        form for form in page.root.all("form") if form.attributes["action"].endswith("claim")
    ]
    sia.submit("/cases/next")
    assert sia.page is not None
    assert "Held by you" in sia.page.text


def test_payments_that_differ_are_chosen_one_by_one(api: Api, ada: Browser) -> None:
    path = held(api, ada, (Outcome.REVIEW, Outcome.REVIEW))
    page = ada.submit(
        f"{path}/resolve",
        resolution="fraud",
        reason_codes=["stolen_card"],
        differs=["", "customer_confirmed tx-000000"],
    )
    assert "found legitimate" in page.text
    assert {row.transaction_id: row.action for row in api.rows(OutcomeRow)} == {
        "tx-000000": "release",
        "tx-000001": "decline",
    }


def test_a_second_person_looks_without_being_told(api: Api, ada: Browser, bob: Browser) -> None:
    set_rules(api, second_share=1.0)
    path = held(api, ada)
    page = ada.submit(
        f"{path}/resolve", resolution="fraud", reason_codes=["stolen_card"], note="As I see it."
    )
    assert "Another person looks at the case before it counts" in page.text
    assert "You have decided on this case" in page.text
    bob.get("/cases")
    page = bob.submit("/cases/next")
    assert "decide as you find" in page.text
    assert "As I see it." not in page.text
    assert "Who found what" not in page.text
    page = bob.submit(f"{path}/resolve", resolution="legitimate", reason_codes=["travel"])
    assert "a third person decides" in page.text
    assert "Who found what" in page.text
    assert api.rows(OutcomeRow) == []


def test_cases_are_opened_linked_and_merged(api: Api, ada: Browser) -> None:
    path = held(api, ada)
    ada.get("/cases")
    page = ada.submit("/cases/open", account_id="acc-000000000999", reason="They rang.")
    assert page.path == "/cases/2"
    ada.get("/cases")
    again = ada.submit("/cases/open", account_id="acc-000000000999", reason="They rang again.")
    assert again.path == "/cases/2"
    ada.get(path)
    page = ada.submit(f"{path}/links", case_id="99", reason="x")
    assert page.status == 404
    ada.get(path)
    page = ada.submit(f"{path}/links", case_id="2", reason="One customer.")
    assert "Linked cases" in page.text
    page = ada.submit(f"{path}/merge")
    assert "The other case is part of this one now." in page.text
    assert [(case.status, case.merged_into) for case in api.rows(Case)] == [
        ("claimed", None),
        ("merged", 1),
    ]
    assert "Merged into case 1" in ada.get("/cases/2").text


def test_the_page_sends_what_was_on_screen(api: Api, ada: Browser) -> None:
    path = f"/cases/{a_case(api)}"
    ada.get(path)
    ada.submit(f"{path}/claim", dwell="945", looks="reasons:300 history:410 <script>:1 x:y")
    (claimed,) = [row for row in api.rows(CaseEvent) if row.kind == "claimed"]
    assert claimed.data["screen"] == {
        "view": "case",
        "version": 1,
        "risk_shown": False,
        "dwell_seconds": 94.5,
        "looks": [["reasons", 30.0], ["history", 41.0]],
    }
