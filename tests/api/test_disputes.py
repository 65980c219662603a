"""Customers who object: to whom it goes, what they learn, and that late truth is not overlooked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fraudwatch.casework import contradictions, holds
from fraudwatch.casework.case_keeper import CaseKeeper
from fraudwatch.casework.models import Case, CaseEvent, Dispute, LabelRow, OutcomeRow
from fraudwatch.domain.access import Role
from fraudwatch.domain.label import PRECEDENCE, Label, LabelSource
from fraudwatch.errors import NotFound
from tests.api.cases import FRAUD, HABIT, a_case, act, add_alert, kinds, set_rules
from tests.api.conftest import Api


@pytest.fixture
def portal(api: Api) -> TestClient:
    return api.program(Role.CUSTOMER_PORTAL)


@pytest.fixture
def ada(api: Api) -> TestClient:
    return api.program(Role.ANALYST, "ada")


@pytest.fixture
def bob(api: Api) -> TestClient:
    return api.program(Role.ANALYST, "bob")


def hold(api: Api, transaction_id: str = "tx-000000") -> str:
    answer = api.program(Role.PAYMENT_SYSTEM).get(f"/v1/holds/{transaction_id}")
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["token"]
    return token


def dispute(portal: TestClient, token: str, statement: str = "It was me.") -> dict[str, object]:
    answer = portal.post("/v1/disputes", json={"token": token, "statement": statement})
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def test_the_service_learns_the_state_and_the_promised_time_and_nothing_else(
    api: Api, portal: TestClient, ada: TestClient
) -> None:
    a_case(api)
    token = hold(api)
    assert portal.get(f"/v1/disputes/{token}").status_code == 404
    told = dispute(portal, token)
    promised = (api.clock.now() + timedelta(hours=24)).isoformat().replace("+00:00", "Z")
    assert told == {"state": "received", "promised_at": promised}
    assert dispute(portal, token) == told
    assert len(api.rows(Dispute)) == 1
    case = ada.post("/v1/cases/next").json()
    assert portal.get(f"/v1/disputes/{token}").json()["state"] == "in_review"
    act(ada, case["id"], "resolve", **HABIT)
    done = portal.get(f"/v1/disputes/{token}").json()
    assert done == {"state": "released", "promised_at": promised}
    for path in ("/v1/cases", "/v1/cases/1", "/v1/transactions/tx-000000", "/v1/accounts/x"):
        assert portal.get(path).status_code == 403
    texts = portal.get("/v1/customer-texts").json()["texts"]
    assert set(texts) == {"en", "fr"}
    assert all(told["state"] in texts[language] for language in texts)


def test_a_token_cannot_be_guessed_or_changed(api: Api, portal: TestClient) -> None:
    a_case(api)
    token = hold(api)
    key = api.services.settings.require_secret()
    assert holds.read(token, key) == 1
    changed = token[:-1] + ("A" if token[-1] != "A" else "B")
    other = holds.make(1, b"another key")
    for wrong in (changed, other, "hold_", "hold_é", token.removeprefix("hold_"), "x" * 200):
        assert portal.post("/v1/disputes", json={"token": wrong}).status_code == 404
        with pytest.raises(NotFound):
            holds.read(wrong, key)


def test_what_was_cleared_has_no_hold(api: Api) -> None:
    """A token for a blind-spot draw would tell the customer that it was looked at."""
    with api.seed() as seed:
        case_id = seed.blind_spot_case("acc-000000000222").id
        seed.transaction("acc-000000000111")
    system = api.program(Role.PAYMENT_SYSTEM)
    for transaction_id in ("tx-000000", "tx-000001", "tx-none"):
        assert system.get(f"/v1/holds/{transaction_id}").status_code == 404
    senior = api.program(Role.SENIOR)
    act(senior, case_id, "claim")
    act(senior, case_id, "resolve", **FRAUD)
    assert system.get("/v1/holds/tx-000000").status_code == 200  # declined: there is one now


def test_an_objection_to_a_decline_goes_to_somebody_else_before_all_other_work(
    api: Api, portal: TestClient, ada: TestClient, bob: TestClient
) -> None:
    case_id = a_case(api)
    act(ada, case_id, "claim")
    act(ada, case_id, "resolve", **FRAUD)
    with api.seed() as seed:
        seed.offsets = iter(range(50, 60))  # type: ignore[assignment]
        seed.case("acc-000000000222", priority=1e6)
    assert dispute(portal, hold(api))["state"] == "received"
    # What was told to the payment system stays in force: the machine only brings the case back.
    assert [row.action for row in api.rows(OutcomeRow)] == ["decline"]
    back = ada.get(f"/v1/cases/{case_id}").json()
    assert (back["status"], back["urgency"], back["not_for_me"]) == ("reopened", "disputed", True)
    assert back["events"][-1]["text"] == "It was me."
    assert kinds(back)[-2:] == ["brought_back", "disputed"]
    assert act(ada, case_id, "claim").status_code == 403
    assert ada.post("/v1/cases/next").json()["id"] != case_id
    taken = bob.post("/v1/cases/next").json()
    assert taken["id"] == case_id
    done = act(bob, case_id, "resolve", **HABIT).json()
    assert (done["status"], done["urgency"]) == ("resolved", "normal")
    assert [row.action for row in api.rows(OutcomeRow)] == ["decline", "release"]
    assert portal.get(f"/v1/disputes/{hold(api)}").json()["state"] == "released"


def test_an_objection_takes_the_case_from_one_who_decided_before(
    api: Api, portal: TestClient, ada: TestClient, bob: TestClient
) -> None:
    """Also from one who reopened it and holds it now."""
    case_id = a_case(api)
    senior = api.program(Role.SENIOR)
    act(senior, case_id, "claim")
    act(senior, case_id, "resolve", **FRAUD)
    act(senior, case_id, "reopen", reason="Once more.")
    act(senior, case_id, "claim")
    dispute(portal, hold(api))
    found = bob.get(f"/v1/cases/{case_id}").json()
    assert (found["claimed_by"], found["status"]) == (None, "new")
    assert act(senior, case_id, "claim").status_code == 403
    assert act(bob, case_id, "claim").status_code == 200


def test_an_objection_moves_to_the_open_case_of_the_account(
    api: Api, portal: TestClient, ada: TestClient, bob: TestClient
) -> None:
    """One open case per account; nothing that was decided is lost."""
    case_id = a_case(api)
    act(ada, case_id, "claim")
    act(ada, case_id, "resolve", **FRAUD)
    add_alert(api)
    token = hold(api)
    dispute(portal, token)
    other = bob.post("/v1/cases/next").json()
    assert other["id"] != case_id
    assert {alert["transaction"]["transaction_id"] for alert in other["alerts"]} == {
        "tx-000000",
        "tx-000001",
    }
    assert other["alert_count"] == 2
    assert kinds(other)[-3:] == ["payment_came", "disputed", "claimed"]
    assert ada.get(f"/v1/cases/{case_id}").json()["events"][-1]["other_case"] == other["id"]
    act(bob, other["id"], "resolve", **HABIT)
    assert portal.get(f"/v1/disputes/{token}").json()["state"] == "released"
    assert [row.action for row in api.rows(OutcomeRow) if row.transaction_id == "tx-000000"] == [
        "decline",
        "release",
    ]


def test_a_payment_is_objected_to_a_few_times_at_most(api: Api, portal: TestClient) -> None:
    a_case(api)
    token = hold(api)
    for number in range(3):
        dispute(portal, token)
        analyst = api.program(Role.ANALYST, f"analyst-{number}")
        case = analyst.post("/v1/cases/next").json()
        act(analyst, case["id"], "resolve", **FRAUD)
        assert portal.get(f"/v1/disputes/{token}").json()["state"] == "declined"
    assert portal.post("/v1/disputes", json={"token": token}).status_code == 409


def test_a_hold_that_nobody_looked_at_in_time_raises_an_alarm_and_escalates(
    api: Api, ada: TestClient
) -> None:
    """And decides nothing. Whoever was given the case has looked at it."""
    case_id = a_case(api)
    seen = a_case(api, account="acc-000000000222")
    act(ada, seen, "claim")
    act(ada, seen, "release")
    keeper = CaseKeeper(api.services.sessions, api.clock)
    assert keeper.tick() == 0
    api.clock.moment += timedelta(hours=24)
    assert keeper.tick() == 1
    assert keeper.tick() == 0
    late = ada.get(f"/v1/cases/{case_id}").json()
    assert (late["status"], late["escalation"], late["urgency"]) == (
        "escalated",
        "late",
        "escalated",
    )
    assert (kinds(late)[-1], late["events"][-1]["actor"]) == ("late", None)
    assert api.rows(OutcomeRow) == api.rows(LabelRow) == []
    assert ada.post("/v1/cases/next").json()["id"] == case_id


@pytest.mark.parametrize(("decision", "fraud"), [(HABIT, True), (FRAUD, False)])
def test_later_truth_that_contradicts_a_decision_raises_it_for_review(
    api: Api, ada: TestClient, decision: dict[str, Any], fraud: bool
) -> None:
    """The machine raises, a person reopens or upholds."""
    case_id = a_case(api)
    act(ada, case_id, "claim")
    act(ada, case_id, "resolve", **decision)
    senior = api.program(Role.SENIOR)

    def come(fraud: bool) -> list[int]:
        source = LabelSource.CHARGEBACK
        label = Label("tx-000000", fraud, source, api.clock.now(), PRECEDENCE[source])
        with api.services.sessions.begin() as session:
            return contradictions.raise_for(session, [label], api.clock.now())

    assert come(not fraud) == []
    assert come(fraud) == [case_id]
    raised = ada.get(f"/v1/cases/{case_id}").json()
    assert (raised["status"], raised["raised_why"]) == ("resolved", "chargeback")
    assert [item["id"] for item in ada.get("/v1/cases?raised=true").json()["items"]] == [case_id]
    assert act(ada, case_id, "uphold", reason="x").status_code == 403
    upheld = act(senior, case_id, "uphold", reason="The customer is mistaken.").json()
    assert (upheld["raised_at"], upheld["resolution"]) == (None, decision["resolution"])
    assert act(senior, case_id, "uphold", reason="x").status_code == 409
    assert come(fraud) == [case_id]
    reopened = act(senior, case_id, "reopen", reason="They are right.").json()
    assert (reopened["status"], reopened["raised_at"]) == ("reopened", None)
    assert come(fraud) == []  # in work: there is no decision to contradict
    machine = [row for row in api.rows(CaseEvent) if row.kind == "raised"]
    assert [row.actor_id for row in machine] == [None, None]


def test_a_dispute_on_a_case_with_a_first_decision_keeps_its_first_person_out(
    api: Api, portal: TestClient, ada: TestClient, bob: TestClient
) -> None:
    set_rules(api, second_share=1.0)
    case_id = a_case(api)
    act(ada, case_id, "claim")
    act(ada, case_id, "resolve", **FRAUD)
    dispute(portal, hold(api))
    assert api.rows(Case)[0].status == "second_look"
    assert act(ada, case_id, "claim").status_code == 403
    taken = bob.post("/v1/cases/next").json()
    assert taken["id"] == case_id
    act(bob, case_id, "resolve", **FRAUD)
    assert portal.get(f"/v1/disputes/{hold(api)}").json()["state"] == "declined"
