"""Pages of queues: people choose one, say that they are away, and see the board."""

from __future__ import annotations

import pytest

from fraudwatch.domain.access import Role
from fraudwatch.domain.decision import Outcome
from tests.api.cases import a_case
from tests.api.conftest import Api
from tests.api.console import Browser
from tests.api.test_board import RULES, place


@pytest.fixture
def ada(api: Api) -> Browser:
    with api.seed() as seed:
        seed.user("ada")
    return Browser.signed_in(api, "ada")


def test_a_person_takes_the_next_case_of_the_queue_that_they_choose(api: Api, ada: Browser) -> None:
    api.program(Role.SENIOR, "sia").post("/v1/queue-rules", json=RULES)
    a_case(api, account="acc-1")
    high = a_case(api, (Outcome.HIGH_RISK,), account="acc-2", priority=0.0)
    place(api)
    page = ada.get("/queues")
    assert "high" in page.text
    forms = [form for form in page.root.all("form") if form.attributes["action"] == "/cases/next"]
    chosen = [
        field.attributes["value"]
        for form in forms
        for field in form.all("input")
        if field.attributes["name"] == "queue"
    ]
    assert chosen == ["high", "rest"]
    page = ada.submit("/cases/next", queue="high")
    assert page.path == f"/cases/{high}"
    assert "acc-1" not in ada.get("/cases?queue=high").text


def test_a_person_says_that_they_are_away_and_which_account_is_theirs(
    api: Api, ada: Browser
) -> None:
    a_case(api)
    ada.get("/queues")
    assert "You are out of office" in ada.submit("/queues/away", hours="4").text
    assert "out of office" in ada.submit("/cases/next").text
    ada.get("/queues")
    assert "back at work" in ada.submit("/queues/away", hours="0").text
    page = ada.submit("/queues/own-accounts", account_id="acc-000000000111")
    assert "acc-000000000111" in page.text
    assert "No case waits" in ada.submit("/cases/next").text
    page = ada.get("/cases/1")
    assert "one of yours" in ada.submit("/cases/1/claim").text


def test_saved_views_lead_to_the_list_that_they_name(api: Api, ada: Browser) -> None:
    kept = {"status": ["escalated"], "late": True}
    body = {"name": "Late and escalated", "filter": kept, "shared": True}
    api.program(Role.SENIOR, "sia").post("/v1/views", json=body)
    page = ada.get("/queues")
    link = next(a for a in page.root.all("a") if a.text == "Late and escalated")
    assert link.attributes["href"] == "/cases?status=escalated&late=true"
    assert "No case fits" in ada.get(link.attributes["href"]).text


def test_the_board_is_for_those_who_steer(api: Api, ada: Browser) -> None:
    with api.seed() as seed:
        seed.user("otto", Role.RISK_OFFICER)
    a_case(api)
    assert ada.get("/board").status == 403
    page = Browser.signed_in(api, "otto").get("/board?hours=12")
    assert "unknown" in page.text
    assert "1 for what waits" in page.text
    assert "Erlang" in page.text
