"""Cases in a team: put aside, escalated, taken over; decided by payment, by two, by three."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fraudwatch.casework import second_looks
from fraudwatch.casework.models import (
    CaseDecision,
    CaseEvent,
    CaseworkRules,
    LabelRow,
    OutboxRow,
    OutcomeRow,
)
from fraudwatch.domain.access import Role
from fraudwatch.domain.decision import Outcome
from fraudwatch.domain.finding import Finding
from fraudwatch.domain.reason_codes import Resolution
from tests.api.cases import FRAUD, HABIT, a_case, act, add_alert, kinds, set_rules
from tests.api.conftest import Api


@pytest.fixture
def ada(api: Api) -> TestClient:
    return api.program(Role.ANALYST, "ada")


@pytest.fixture
def bob(api: Api) -> TestClient:
    return api.program(Role.ANALYST, "bob")


@pytest.fixture
def sia(api: Api) -> TestClient:
    return api.program(Role.SENIOR, "sia")


def test_every_write_says_which_version_it_stands_on(api: Api, ada: TestClient) -> None:
    """Without it nobody knows what the person had seen; a `*` names no version either."""
    case_id = a_case(api)
    a_case(api, account="acc-000000000222")
    bodies: dict[str, dict[str, Any]] = {
        "claim": {},
        "release": {},
        "seen": {},
        "notes": {"text": "x"},
        "wait": {"until": "2026-03-02T13:00:00Z", "reason": "x"},
        "escalate": {"reason": "x"},
        "resolve": FRAUD,
        "links": {"case_id": 2, "reason": "x"},
        "merge": {"case_id": 2, "version": 1, "reason": "x"},
    }
    for what, body in bodies.items():
        for headers in ({}, {"If-Match": "*"}):
            answer = ada.post(f"/v1/cases/{case_id}/{what}", json=body, headers=headers)
            assert answer.status_code == 428, what
            assert answer.json()["code"] == "precondition-required"
        stale = act(ada, case_id, what, 7, **body)
        assert stale.status_code == 409, what
        assert stale.json()["current"]["version"] == 1
    assert [event.kind for event in api.rows(CaseEvent) if event.case_id == case_id] == [
        "opened",
        "alert_added",
    ]


def test_what_joins_is_shown_as_new_to_the_holder_until_they_say_so(
    api: Api, ada: TestClient, bob: TestClient
) -> None:
    case_id = a_case(api)
    act(ada, case_id, "claim")
    transaction = add_alert(api)
    # The heartbeat goes on: an alert does not take the case from whoever works on it.
    renewed = ada.post(f"/v1/cases/{case_id}/renew").json()
    assert renewed["new_alerts"] == 1
    assert renewed["outcome"] == "high_risk"
    new = [a["transaction"]["transaction_id"] for a in renewed["alerts"] if a["new"]]
    assert new == [transaction]
    assert not any(a["new"] for a in bob.get(f"/v1/cases/{case_id}").json()["alerts"])
    assert act(ada, case_id, "resolve", renewed["version"] - 1, **FRAUD).status_code == 409
    seen = act(ada, case_id, "seen").json()
    assert seen["new_alerts"] == 0
    assert not any(alert["new"] for alert in seen["alerts"])
    assert act(ada, case_id, "resolve", seen["version"], **FRAUD).status_code == 200


def test_a_case_put_aside_comes_back_by_its_time_or_with_an_alert(
    api: Api, ada: TestClient, bob: TestClient
) -> None:
    case_id = a_case(api)
    act(ada, case_id, "claim")
    due = ada.get(f"/v1/cases/{case_id}").json()["due_at"]
    until = (api.clock.now() + timedelta(hours=2)).isoformat()
    past = (api.clock.now() - timedelta(hours=2)).isoformat()
    assert act(ada, case_id, "wait", until=past, reason="x").status_code == 422
    aside = act(ada, case_id, "wait", until=until, reason="The customer calls back.").json()
    assert (aside["status"], aside["claimed_by"], aside["due_at"]) == ("waiting", None, due)
    assert aside["events"][-1]["until"] is not None
    assert bob.post("/v1/cases/next").status_code == 204
    assert len(bob.get("/v1/cases", params={"status": "waiting"}).json()["items"]) == 1

    api.clock.moment += timedelta(hours=2)
    assert bob.get(f"/v1/cases/{case_id}").json()["status"] == "new"
    assert bob.get("/v1/cases", params={"status": "waiting"}).json()["items"] == []
    again = bob.post("/v1/cases/next").json()
    assert kinds(again)[-3:] == ["put_aside", "woken", "claimed"]

    until = (api.clock.now() + timedelta(hours=2)).isoformat()
    act(bob, case_id, "wait", until=until, reason="Once more.")
    add_alert(api)
    woken = ada.post("/v1/cases/next").json()
    assert kinds(woken)[-3:] == ["alert_added", "woken", "claimed"]


def test_what_is_escalated_goes_to_someone_with_more_experience_first(
    api: Api, ada: TestClient, bob: TestClient, sia: TestClient
) -> None:
    with api.seed() as seed:
        seed.case("acc-000000000222", priority=99.0)
    case_id = a_case(api)
    act(ada, case_id, "claim")
    act(ada, case_id, "escalate", reason="A scam of a kind that I do not know.")
    assert act(bob, case_id, "claim").status_code == 403
    assert bob.post("/v1/cases/next").json()["id"] == 1
    taken = sia.post("/v1/cases/next").json()
    assert (taken["id"], taken["escalation"], taken["urgency"]) == (2, "person", "escalated")
    # Given back it is still escalated; an ended lease changes nothing in that either.
    assert act(sia, case_id, "release").json()["status"] == "escalated"
    act(sia, case_id, "claim")
    api.clock.moment += timedelta(minutes=20)
    assert sia.get(f"/v1/cases/{case_id}").json()["status"] == "escalated"
    assert act(bob, case_id, "claim").status_code == 403
    act(sia, case_id, "claim")
    done = act(sia, case_id, "resolve", **FRAUD).json()
    assert (done["status"], done["escalation"], done["urgency"]) == ("resolved", None, "normal")


def test_a_senior_takes_over_and_says_why(
    api: Api, ada: TestClient, bob: TestClient, sia: TestClient
) -> None:
    case_id = a_case(api)
    assert act(sia, case_id, "take-over", reason="x").status_code == 409  # nobody holds it
    act(ada, case_id, "claim")
    assert act(bob, case_id, "take-over", reason="x").status_code == 403
    assert act(sia, case_id, "take-over", reason=" ").status_code == 422
    taken = act(sia, case_id, "take-over", reason="Ada has left for today.").json()
    assert (taken["claimed_by"], taken["claimed_by_me"]) == ("sia", True)
    assert taken["events"][-1]["text"] == "Ada has left for today."
    assert act(ada, case_id, "resolve", **FRAUD).status_code == 409
    assert act(sia, case_id, "resolve", **FRAUD).status_code == 200


def test_payments_of_one_case_may_be_found_different(api: Api, ada: TestClient) -> None:
    """One fraud and two payments of the customer's own: each gets its outcome and label."""
    case_id = a_case(api, (Outcome.REVIEW, Outcome.HIGH_RISK, Outcome.REVIEW))
    found = act(ada, case_id, "claim").json()
    ids = sorted(alert["transaction"]["transaction_id"] for alert in found["alerts"])
    own = [
        {"transaction_id": each, "resolution": "legitimate", "reason_codes": ["known_habit"]}
        for each in ids[:2]
    ]
    strange = {**own[0], "transaction_id": "tx-999999"}
    assert act(ada, case_id, "resolve", **FRAUD, transactions=[strange]).status_code == 422
    assert act(ada, case_id, "resolve", **HABIT, transactions=own).status_code == 422
    done = act(ada, case_id, "resolve", **FRAUD, transactions=own).json()
    by_id = {alert["transaction"]["transaction_id"]: alert for alert in done["alerts"]}
    assert [by_id[each]["action"] for each in ids] == ["release", "release", "decline"]
    assert done["resolution"] == "fraud"
    assert {row.transaction_id: row.action for row in api.rows(OutcomeRow)} == {
        ids[0]: "release",
        ids[1]: "release",
        ids[2]: "decline",
    }
    assert {row.transaction_id: row.fraud for row in api.rows(LabelRow)} == {
        ids[0]: False,
        ids[1]: False,
        ids[2]: True,
    }
    assert len(api.rows(OutboxRow)) == 3
    assert done["decisions"][0]["transactions"] == own
    assert done["catalogue"] == 1
    told = ada.get(f"/v1/transactions/{ids[0]}").json()
    assert told["action"] == "release"


@pytest.mark.parametrize(
    "rules",
    [
        {"second_amount": Decimal("12.50")},
        {"second_codes": ("stolen_card",)},
        {"second_share": 1.0},
    ],
    ids=["amount", "reason", "share"],
)
def test_nothing_is_told_before_another_person_has_found_the_same(
    api: Api, ada: TestClient, bob: TestClient, rules: dict[str, Any]
) -> None:
    set_rules(api, **rules)
    case_id = a_case(api)
    act(ada, case_id, "claim")
    first = act(ada, case_id, "resolve", **FRAUD, note="My own reading.").json()
    assert (first["status"], first["resolution"], first["not_for_me"]) == (
        "second_look",
        None,
        True,
    )
    assert [row["resolution"] for row in first["decisions"]] == ["fraud"]
    assert api.rows(OutcomeRow) == api.rows(OutboxRow) == api.rows(LabelRow) == []

    refused = act(ada, case_id, "claim")
    assert (refused.status_code, refused.json()["code"]) == (403, "same-person")
    assert ada.post("/v1/cases/next").status_code == 204
    second = bob.post("/v1/cases/next")
    assert second.json()["status"] == "second_look"
    for hidden in ("My own reading.", "stolen_card", '"fraud"'):
        assert hidden not in second.text, "the second person finds by themselves"
    assert second.json()["decisions"] == []
    done = act(bob, case_id, "resolve", resolution="fraud", reason_codes=["scam"]).json()
    assert (done["status"], done["resolution"], done["resolved_by"]) == (
        "resolved",
        "fraud",
        "bob",
    )
    assert [row["decided_by"] for row in done["decisions"]] == ["ada", "bob"]
    assert [row.action for row in api.rows(OutcomeRow)] == ["decline"]
    assert [row.fraud for row in api.rows(LabelRow)] == [True]
    assert kinds(done)[-4:] == ["claimed", "decided", "claimed", "resolved"]


def test_two_who_differ_leave_it_to_a_third(
    api: Api, ada: TestClient, bob: TestClient, sia: TestClient
) -> None:
    set_rules(api, second_share=1.0)
    case_id = a_case(api)
    for who, decision in ((ada, FRAUD), (bob, HABIT)):
        act(who, case_id, "claim")
        answer = act(who, case_id, "resolve", **decision)
        assert answer.status_code == 200
    differing = answer.json()
    assert (differing["status"], differing["escalation"]) == ("escalated", "disagreement")
    assert [row["resolution"] for row in differing["decisions"]] == ["fraud", "legitimate"]
    assert api.rows(OutcomeRow) == []
    assert act(bob, case_id, "claim").status_code == 403
    carl = api.program(Role.ANALYST, "carl")
    assert act(carl, case_id, "claim").status_code == 403
    act(sia, case_id, "claim")
    done = act(sia, case_id, "resolve", **HABIT).json()
    assert (done["status"], done["resolution"]) == ("resolved", "legitimate")
    assert [row.look for row in api.rows(CaseDecision)] == [1, 2, 3]
    assert [row.action for row in api.rows(OutcomeRow)] == ["release"]


def test_an_alert_that_joins_takes_a_first_decision_back(
    api: Api, ada: TestClient, bob: TestClient
) -> None:
    """It did not know of the alert: agreeing with it would decide what only one has seen."""
    set_rules(api, second_share=1.0)
    case_id = a_case(api)
    act(ada, case_id, "claim")
    act(ada, case_id, "resolve", **HABIT)
    held = bob.post("/v1/cases/next").json()
    assert held["status"] == "second_look"
    add_alert(api)
    assert act(bob, case_id, "resolve", held["version"], **HABIT).status_code == 409
    back = ada.get(f"/v1/cases/{case_id}").json()
    assert (back["status"], back["round"], back["claimed_by"]) == ("new", 2, None)
    assert kinds(back)[-2:] == ["alert_added", "overtaken"]
    assert act(ada, case_id, "claim").status_code == 200
    assert act(ada, case_id, "resolve", **HABIT).json()["status"] == "second_look"
    act(bob, case_id, "claim")
    assert act(bob, case_id, "resolve", **HABIT).json()["status"] == "resolved"
    assert len(api.rows(OutcomeRow)) == 2


def test_the_draw_for_a_second_look_is_the_same_however_often_it_is_asked(api: Api) -> None:
    """Otherwise deciding again until nobody looks would be a way around it."""
    with api.seed() as seed:
        cases = [seed.case(f"acc-{n}") for n in range(60)]
        seed.session.flush()
    key = api.services.settings.require_secret()
    rules = CaseworkRules(second_codes=[], second_share=0.3)
    finding = Finding(Resolution.FRAUD, ("scam",))
    drawn = [second_looks.why_second(case, finding, rules, key) for case in cases]
    assert drawn == [second_looks.why_second(case, finding, rules, key) for case in cases]
    assert 5 < drawn.count("share") < 35
    other = [second_looks.why_second(case, finding, rules, b"other") for case in cases]
    assert drawn != other


def test_rules_are_set_by_officers_and_every_decision_names_its_version(
    api: Api, ada: TestClient
) -> None:
    officer = api.program(Role.RISK_OFFICER)
    body = {"second_share": 0.5, "dispute_hours": 12, "comment": "More eyes."}
    assert ada.get("/v1/casework-rules").status_code == 403
    wrong = {**body, "second_codes": ["nonsense"]}
    assert officer.post("/v1/casework-rules", json=wrong).status_code == 422
    made = officer.post("/v1/casework-rules", json=body).json()
    listed = officer.get("/v1/casework-rules").json()["items"]
    assert [row["id"] for row in listed] == [made["id"], 1]
    assert listed[0]["set_by"] == "risk_officer-user"
    case_id = a_case(api)
    act(ada, case_id, "claim")
    act(ada, case_id, "resolve", **FRAUD)
    assert [row.rules_id for row in api.rows(CaseDecision)] == [made["id"]]


def test_what_was_on_screen_is_kept_with_the_act(api: Api, ada: TestClient) -> None:
    case_id = a_case(api)
    screen = {
        "view": "case",
        "version": 1,
        "risk_shown": False,
        "dwell_seconds": 94.5,
        "looks": [{"part": "history", "seconds": 30.0}, {"part": "reasons", "seconds": 41.0}],
    }
    act(ada, case_id, "claim", screen=screen)
    claimed = [row for row in api.rows(CaseEvent) if row.kind == "claimed"]
    assert claimed[0].data["screen"] == {
        "view": "case",
        "version": 1,
        "risk_shown": False,
        "dwell_seconds": 94.5,
        "looks": [["history", 30.0], ["reasons", 41.0]],
    }
