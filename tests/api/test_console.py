"""The console by plain HTTP, as a browser without JavaScript uses it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from fraudwatch.casework import models_registry, traces
from fraudwatch.casework.models import AuditRow, Case, LabelRow, OutboxRow, PolicyRow
from fraudwatch.domain.access import Role
from fraudwatch.domain.decision import Outcome
from tests.api.conftest import Api
from tests.api.console import Browser
from tests.api.seed import NOW, PASSWORD


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
    assert "To be taken" in page.text
    browser.submit("/cases/next")
    assert "Held by you" in browser.get("/cases").text
    assert "No case fits this filter" in browser.get("/cases?status=waiting").text
    assert "Risk" not in page.text


def claimed(api: Api, browser: Browser, account: str = "acc-000000000111") -> str:
    """A case that the browser's person holds, opened in it."""
    with api.seed() as seed:
        path = f"/cases/{seed.case(account).id}"
    browser.get(path)
    browser.submit(f"{path}/claim")
    return path


def test_nothing_is_decided_beforehand_and_reasons_stand_before_the_verdict(
    api: Api, browser: Browser
) -> None:
    """A form that agrees with the machine by default would teach people to agree."""
    path = claimed(api, browser)
    page = browser.get(path)
    form = page.form(f"{path}/resolve")
    assert not [entry for entry in form.all("input") if "checked" in entry.attributes]
    choices = [e.attributes["value"] for e in form.all("input") if e.attributes["type"] == "radio"]
    assert choices == ["fraud", "legitimate", "inconclusive"]
    text = page.text
    assert text.index("never paid in this country") < text.index("The machine's outcome")
    assert text.index("never paid in this country") < text.index("9 times what this account")


def test_a_mistaken_decision_comes_back_with_its_input_and_says_where_the_mistake_is(
    api: Api, browser: Browser
) -> None:
    path = claimed(api, browser)
    resolve = f"{path}/resolve"
    page = browser.submit(resolve, note="Called twice.")
    assert page.status == 422
    assert "Choose fraud, legitimate or inconclusive." in page.text
    assert "Called twice." in page.form(resolve).text
    browser.get(path)
    page = browser.submit(resolve, resolution="fraud", reason_codes=["travel", "fraud_other"])
    links = [link.attributes["href"] for link in page.root.all("a")]
    assert page.status == 422
    assert "#reason_codes" in links
    assert "#note" in links
    ticked = [
        e.attributes["value"] for e in page.form(resolve).all("input") if "checked" in e.attributes
    ]
    assert ticked == ["fraud", "fraud_other", "travel"]
    assert api.rows(LabelRow) == []
    page = browser.submit(resolve, resolution="fraud", reason_codes=["fraud_other"], note="Found.")
    assert page.status == 200


def test_a_case_that_has_changed_is_shown_with_what_is_new_and_the_input_kept(
    api: Api, browser: Browser
) -> None:
    """Deciding on what one has not seen is refused, and nothing that was typed is lost."""
    path = claimed(api, browser)
    with api.seed() as seed:
        seed.user("bob")
    other = Browser.signed_in(api, "bob")
    other.get(path)
    other.submit(f"{path}/notes", text="The customer just called us.")
    page = browser.submit(
        f"{path}/resolve", resolution="legitimate", reason_codes=["travel"], note="Holiday."
    )
    assert page.status == 409
    assert "Nothing was saved" in page.text
    notice = page.text[page.text.index("Since you loaded it") : page.text.index("This page shows")]
    assert "The customer just called us." in notice
    assert "Claimed" not in notice
    assert "Holiday." in page.form(f"{path}/resolve").text
    # The page's form has the version of now: sending it again is enough.
    page = browser.submit(f"{path}/resolve", note="Holiday.")
    assert page.status == 200
    assert [label.fraud for label in api.rows(LabelRow)] == [False]


def test_a_lost_claim_keeps_the_words_and_offers_the_case_again(api: Api, browser: Browser) -> None:
    path = claimed(api, browser)
    api.clock.moment += timedelta(minutes=20)
    page = browser.submit(
        f"{path}/resolve", resolution="fraud", reason_codes=["scam"], note="Long work."
    )
    assert page.status == 409
    assert "Long work." in page.text
    page = browser.submit(f"{path}/claim")
    assert "Held by you" in page.text


def test_renewing_giving_back_and_noting(api: Api, browser: Browser) -> None:
    path = claimed(api, browser)
    api.clock.moment += timedelta(minutes=5)
    before = api.rows(Case)[0].lease_until
    browser.submit(f"{path}/renew")
    assert api.rows(Case)[0].lease_until == before + timedelta(minutes=5)
    page = browser.submit(f"{path}/notes", text="<b>bold</b> & plain\nsecond line")
    assert "<b>bold</b> & plain second line" in page.text
    assert not list(page.root.all("b"))
    assert "To be taken" in browser.submit(f"{path}/release").text
    assert browser.submit(f"{path}/notes", text="  ").status == 422
    assert browser.submit(f"{path}/notes", text="a\0b").status == 422


def test_those_who_may_reopen_find_the_form(api: Api, browser: Browser) -> None:
    path = claimed(api, browser)
    browser.submit(f"{path}/resolve", resolution="fraud", reason_codes=["scam"])
    assert "Reopen" not in browser.get(path).text
    with api.seed() as seed:
        seed.user("sia", Role.SENIOR)
    senior = Browser.signed_in(api, "sia")
    senior.get(path)
    assert senior.submit(f"{path}/reopen").status == 422
    page = senior.submit(f"{path}/reopen", reason="The customer called.")
    assert page.status == 200
    assert "Reopened" in page.text


def test_a_password_for_one_use_must_be_changed_first(api: Api) -> None:
    with api.seed() as seed:
        seed.user("new", must_change_password=True)
    browser = Browser.signed_in(api, "new")
    assert browser.page is not None
    assert browser.page.path == "/password"
    assert browser.get("/cases").path == "/password"
    new = "four other plain words"
    page = browser.submit("/password", current=PASSWORD, new=new, again="something else entirely")
    assert (page.status, "differ" in page.text) == (422, True)
    assert browser.submit("/password", current="wrong", new=new, again=new).status == 422
    page = browser.submit("/password", current=PASSWORD, new="short", again="short")
    assert (page.status, "12 to" in page.text) == (422, True)
    assert browser.submit("/password", current=PASSWORD, new=new, again=new).path == "/cases"
    browser.submit("/signout")
    assert Browser.signed_in(api, "new", new).get("/cases").path == "/cases"


def test_signing_in_with_a_wrong_password_counts_and_keeps_the_name_only(api: Api) -> None:
    with api.seed() as seed:
        seed.user("ada")
    browser = Browser.signed_in(api, "ada", "not her password")
    page = browser.page
    assert page is not None
    assert (page.status, page.path) == (422, "/signin")
    values = [entry.attributes.get("value") for entry in page.form("/signin").all("input")]
    assert values == ["/", "ada", None]


def test_filters_and_pages_of_the_queue(api: Api, browser: Browser) -> None:
    with api.seed() as seed:
        for number in range(60):
            outcome = Outcome.HIGH_RISK if number == 59 else Outcome.REVIEW
            seed.case(f"acc-{number:012d}", outcomes=(outcome,), priority=float(number))
    page = browser.get("/cases?status=waiting")
    following = next(e for e in page.root.all("a") if e.attributes.get("rel") == "next")
    assert "acc-000000000059" in page.text
    page = browser.get(following.attributes["href"])
    assert "acc-000000000009" in page.text
    assert "acc-000000000059" not in page.text
    page = browser.get("/cases?outcome=high_risk")
    assert page.text.count("acc-") == 1
    assert browser.get("/cases?account_id=acc-000000000007").text.count("acc-") == 2
    assert "No case fits" in browser.get("/cases?mine=true").text


def test_pages_take_as_many_queries_for_many_rows_as_for_one(
    api: Api, browser: Browser, count_queries: Callable[[Callable[[], object]], int]
) -> None:
    with api.seed() as seed:
        one = seed.case("acc-000000000111", priority=9.0).id
        traces.gather(seed.session, NOW)
    few = count_queries(lambda: browser.get("/cases"))
    short = count_queries(lambda: browser.get(f"/cases/{one}"))
    with api.seed() as seed:
        seed.offsets = itertools.count(1)
        many = seed.case("acc-000000000222", outcomes=(Outcome.REVIEW,) * 40).id
        for number in range(40):
            seed.case(f"acc-9{number:011d}")
        traces.gather(seed.session, NOW)
    assert count_queries(lambda: browser.get("/cases")) == few <= 4
    assert count_queries(lambda: browser.get(f"/cases/{many}")) == short <= 26


def test_readers_without_personal_data_see_masked_ids_and_no_way_around(api: Api) -> None:
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
        seed.user("otto", Role.AUDITOR)
    browser = Browser.signed_in(api, "otto")
    for path in ("/cases", f"/cases/{case_id}", "/transactions/tx-000000"):
        page = browser.get(path)
        assert "acc-…111~" in page.text
        assert "acc-000000000111" not in page.response.text
    assert "Risk" in browser.get("/cases").text


def test_a_blind_spot_draw_looks_like_any_other_case_to_analysts(
    api: Api, browser: Browser
) -> None:
    """One word that gives a draw away would spoil the only measure of missed fraud."""
    with api.seed() as seed:
        usual = seed.case("acc-of-somebody-1", risk=0.4).id
        drawn = seed.blind_spot_case("acc-of-somebody-2").id
        traces.gather(seed.session, NOW)
    for path, keys in {
        "/cases/{}": (usual, drawn),
        "/transactions/{}": ("tx-000000", "tx-000001"),
        "/accounts/{}": ("acc-of-somebody-1", "acc-of-somebody-2"),
    }.items():
        one, other = (
            re.sub(r"somebody-\d|[Cc]ase \d|tx-\d+", "#", browser.get(path.format(key)).text)
            for key in keys
        )
        assert one == other


def test_a_risk_officer_proposes_and_activates_a_policy(api: Api) -> None:
    with api.seed() as seed:
        seed.user("olga", Role.RISK_OFFICER)
    browser = Browser.signed_in(api, "olga")
    browser.get("/policies")
    page = browser.submit("/policies", review_from="0.9", high_risk_from="0.5", comment="Try.")
    assert (page.status, "review_from <= high_risk_from" in page.text) == (422, True)
    page = browser.submit("/policies", review_from="much")
    assert page.status == 422
    page = browser.submit("/policies", review_from="0.9", high_risk_from="0.95", comment="Try.")
    assert "Proposed." in page.text
    proposed = api.rows(PolicyRow)[-1]
    assert (proposed.status, proposed.review_from) == ("proposed", 0.9)
    page = browser.submit(f"/policies/{proposed.id}/activate")
    assert "Activated." in page.text
    assert api.rows(PolicyRow)[-1].status == "active"


def test_a_model_is_promoted_in_the_name_of_a_person(api: Api) -> None:
    with api.seed() as seed:
        seed.user("olga", Role.RISK_OFFICER)
        model_id = models_registry.register(seed.session, "first", "ab" * 32, {}, NOW).id
    browser = Browser.signed_in(api, "olga")
    assert "candidate" in browser.get("/models").text
    page = browser.submit(f"/models/{model_id}/promote")
    assert "champion" in page.text
    assert api.rows(AuditRow)[-1].action == "model.promote"
    with api.seed() as seed:
        seed.user("otto", Role.AUDITOR)
    page = Browser.signed_in(api, "otto").get("/audit?subject=model:1")
    assert "model.promote" in page.text
    assert "user.create" not in page.text
