"""A case's way over REST; stale and forbidden acts are refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from fraudwatch.casework.models import (
    AuditRow,
    Case,
    CaseEvent,
    LabelRow,
    OutboxRow,
    OutcomeRow,
)
from fraudwatch.domain.access import Role
from fraudwatch.domain.decision import Outcome
from tests.api.cases import FRAUD, HABIT, act
from tests.api.conftest import Api


def test_an_analyst_takes_the_next_case_and_decides_it(api: Api) -> None:
    """One commit holds the label, the outcome, the message, the event and the audit row."""
    with api.seed() as seed:
        seed.case("acc-000000000111", priority=1)
        urgent = seed.case(
            "acc-000000000222", outcomes=(Outcome.HIGH_RISK, Outcome.REVIEW), priority=5
        ).id
    analyst = api.program(Role.ANALYST)

    found = analyst.post("/v1/cases/next").json()
    assert found["id"] == urgent
    assert found["status"] == "claimed"
    assert found["claimed_by_me"] is True
    assert [a["outcome"] for a in found["alerts"]] == ["high_risk", "review"]
    assert [r["feature"] for r in found["alerts"][0]["reasons"]] == ["new_country", "amount_ratio"]
    assert len(found["history"]) == 2
    assert found["account"]["transactions"] == 2
    assert found["account"]["amounts"] == {"EUR": "25.00"}

    note = "Customer has the card."
    answer = act(analyst, urgent, "resolve", found["version"], **FRAUD, note=note)
    assert answer.status_code == 200, answer.text
    decided = answer.json()
    assert (decided["status"], decided["resolution"], decided["action"]) == (
        "resolved",
        "fraud",
        "decline",
    )
    assert answer.headers["etag"] == f'"{decided["version"]}"'
    assert decided["alerts"][0]["transaction"]["label"]["fraud"] is True

    transaction = decided["alerts"][0]["transaction"]["transaction_id"]
    read = analyst.get(f"/v1/transactions/{transaction}").json()
    assert (read["action"], read["outcome"], read["policy_id"]) == ("decline", "high_risk", 1)
    assert [label["fraud"] for label in read["labels"]] == [True]
    assert len(read["reasons"]) == 2

    labels = api.rows(LabelRow)
    assert [(r.fraud, r.source, r.case_id) for r in labels] == [(True, "analyst", urgent)] * 2
    outcomes = api.rows(OutcomeRow)
    assert [(r.action, r.decider_kind) for r in outcomes] == [("decline", "person")] * 2
    messages = api.rows(OutboxRow)
    assert {row.topic for row in messages} == {"fraudwatch.outcomes"}
    assert {row.key for row in messages} == {"acc-000000000222"}
    assert len({row.message_id for row in messages}) == 2
    payload = msgspec.json.decode(messages[0].payload)
    assert payload["action"] == "decline"
    assert payload["case_id"] == urgent
    assert payload["reason_codes"] == ["stolen_card"]
    assert [e["kind"] for e in decided["events"]][-2:] == ["claimed", "resolved"]
    assert [row.action for row in api.rows(AuditRow)][-2:] == ["case.claim", "case.resolve"]


def test_no_case_waits(api: Api) -> None:
    assert api.program(Role.ANALYST).post("/v1/cases/next").status_code == 204


def test_a_stale_version_gets_the_current_state_and_changes_nothing(api: Api) -> None:
    """An alert that joined after the analyst looked must be seen before the decision."""
    with api.seed() as seed:
        seed.case("acc-000000000111")
    analyst = api.program(Role.ANALYST)
    found = analyst.post("/v1/cases/next").json()
    act(analyst, found["id"], "notes", text="Called, no answer.")

    answer = act(analyst, found["id"], "resolve", found["version"], **FRAUD)
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "conflict"
    assert problem["current"]["version"] == found["version"] + 1
    assert problem["current"]["claimed_by"] == "analyst-user"
    assert api.rows(LabelRow) == []
    assert api.rows(OutboxRow) == []


def test_only_the_holder_decides_and_only_while_the_lease_runs(api: Api) -> None:
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
    ada = api.program(Role.ANALYST, "ada")
    bob = api.program(Role.ANALYST, "bob")
    act(ada, case_id, "claim")

    assert act(bob, case_id, "claim").status_code == 409
    assert act(bob, case_id, "resolve", **FRAUD).status_code == 409

    api.clock.moment += timedelta(minutes=16)
    assert act(ada, case_id, "resolve", **FRAUD).status_code == 409
    assert ada.post(f"/v1/cases/{case_id}/renew").status_code == 409
    assert ada.get(f"/v1/cases/{case_id}").json()["status"] == "new"

    taken = bob.post("/v1/cases/next").json()
    assert taken["id"] == case_id
    assert [e["kind"] for e in taken["events"]][-3:] == ["claimed", "expired", "claimed"]
    assert taken["claimed_by"] == "bob"


def test_renewing_holds_the_case_longer_and_keeps_the_version(api: Api) -> None:
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
    analyst = api.program(Role.ANALYST)
    first = act(analyst, case_id, "claim").json()
    api.clock.moment += timedelta(minutes=10)
    renewed = analyst.post(f"/v1/cases/{case_id}/renew").json()
    assert renewed["version"] == first["version"]
    assert renewed["lease_until"] > first["lease_until"]
    api.clock.moment += timedelta(minutes=10)
    assert act(analyst, case_id, "resolve", first["version"], **HABIT).status_code == 200


def test_a_case_given_back_waits_again_and_only_seniors_take_it_from_others(api: Api) -> None:
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
    ada = api.program(Role.ANALYST, "ada")
    act(ada, case_id, "claim")
    bob = api.program(Role.ANALYST, "bob")
    assert act(bob, case_id, "release").status_code == 403
    released = act(api.program(Role.SENIOR), case_id, "release")
    assert released.json()["status"] == "new"
    assert act(bob, case_id, "claim").status_code == 200


WRONG_RESOLUTIONS: list[tuple[dict[str, Any], str]] = [
    ({"resolution": "fraud", "reason_codes": ["travel"]}, "reason for legitimate"),
    ({"resolution": "fraud", "reason_codes": ["nonsense"]}, "no reason code"),
    ({"resolution": "fraud", "reason_codes": ["fraud_other"]}, "needs a note"),
    ({"resolution": "fraud", "reason_codes": ["scam", "scam"]}, "at most once"),
    ({"resolution": "fraud", "reason_codes": []}, "at least 1"),
    ({"resolution": "maybe", "reason_codes": ["scam"]}, "resolution"),
    ({**FRAUD, "note": "nul \x00"}, "NUL"),
]


def test_a_resolution_needs_reasons_that_belong_to_it(api: Api) -> None:
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
    analyst = api.program(Role.ANALYST)
    act(analyst, case_id, "claim")
    for body, words in WRONG_RESOLUTIONS:
        answer = act(analyst, case_id, "resolve", **body)
        assert answer.status_code == 422
        assert words in answer.json()["detail"]
    assert api.rows(LabelRow) == []


def test_doubt_releases_and_labels_nothing(api: Api) -> None:
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
    analyst = api.program(Role.ANALYST)
    act(analyst, case_id, "claim")
    body: dict[str, Any] = {
        "resolution": "inconclusive",
        "reason_codes": ["not_reached"],
        "note": "Three calls.",
    }
    assert act(analyst, case_id, "resolve", **body).json()["action"] == "release"
    assert api.rows(LabelRow) == []
    assert [row.action for row in api.rows(OutcomeRow)] == ["release"]


def test_a_reopened_case_is_decided_again_and_keeps_its_history(api: Api) -> None:
    """The first label stays; the payment system hears the second decision too."""
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
    analyst, senior = api.program(Role.ANALYST), api.program(Role.SENIOR)
    act(analyst, case_id, "claim")
    act(analyst, case_id, "resolve", **FRAUD)
    reason = "The customer called."
    assert act(analyst, case_id, "reopen", reason=reason).status_code == 403
    reopened = act(senior, case_id, "reopen", reason=reason).json()
    assert reopened["status"] == "reopened"
    assert reopened["resolution"] is None

    api.clock.moment += timedelta(minutes=1)
    again = senior.post("/v1/cases/next").json()
    assert again["id"] == case_id
    done = act(senior, case_id, "resolve", again["version"], **HABIT).json()
    assert done["alerts"][0]["transaction"]["label"]["fraud"] is False
    assert [row.fraud for row in api.rows(LabelRow)] == [True, False]
    assert [row.action for row in api.rows(OutcomeRow)] == ["decline", "release"]
    events = [e for e in done["events"] if e["kind"] in {"resolved", "reopened"}]
    assert [e["resolution"] for e in events] == ["fraud", "fraud", "legitimate"]
    assert events[1]["text"] == "The customer called."


def test_a_case_cannot_be_reopened_beside_a_newer_one_of_its_account(api: Api) -> None:
    """One open case per account: the newer one is where the work goes on."""
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
    senior = api.program(Role.SENIOR)
    act(senior, case_id, "claim")
    act(senior, case_id, "resolve", **FRAUD)
    with api.seed() as seed:
        seed.offsets = itertools.count(100)
        seed.case("acc-000000000111")
    answer = act(senior, case_id, "reopen", reason="Look again.")
    assert answer.status_code == 409
    assert "another open case" in answer.json()["detail"]


def test_lists_are_paged_and_filtered(api: Api) -> None:
    with api.seed() as seed:
        for number in range(7):
            seed.case(
                f"acc-{number:012d}",
                priority=float(number // 2),
                outcomes=(Outcome.HIGH_RISK if number == 3 else Outcome.REVIEW,),
            )
    analyst = api.program(Role.ANALYST)
    seen: list[int] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = analyst.get("/v1/cases", params=params).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    cases = api.rows(Case)
    assert seen == [c.id for c in sorted(cases, key=lambda c: (-c.priority, c.id))]

    def ids(**params: Any) -> list[str]:
        answer = analyst.get("/v1/cases", params=params)
        assert answer.status_code == 200, answer.text
        return [item["account_id"] for item in answer.json()["items"]]

    assert ids(outcome="high_risk") == ["acc-000000000003"]
    assert ids(account_id="acc-000000000005") == ["acc-000000000005"]
    assert ids(status=["resolved"]) == []
    mine = analyst.post("/v1/cases/next").json()["account_id"]
    assert ids(claimed_by="me") == [mine]
    assert ids(status=["claimed"]) == [mine]
    assert len(ids(status=["new", "claimed"])) == 7
    api.clock.moment += timedelta(hours=25)
    assert ids(status=["claimed"]) == []
    assert len(ids(late="true")) == 7
    assert ids(opened_from="2026-03-03T00:00:00Z") == []


def test_a_list_refuses_parameters_that_mean_nothing(api: Api) -> None:
    analyst = api.program(Role.ANALYST)
    for query in (
        "limit=0",
        "limit=201",
        "cursor=%21",
        "cursor=",
        "cursor=OTk",  # of a case that never was
        "status=open",
        "opened_from=2026-01-01T00:00:00",
        "account_id=%00",
    ):
        answer = analyst.get(f"/v1/cases?{query}")
        assert answer.status_code == 422, query
        assert answer.json()["code"] == "invalid"


def test_lists_and_details_take_a_fixed_number_of_queries(
    api: Api, count_queries: Callable[[Callable[[], object]], int]
) -> None:
    """A query for each row would make the queue slow on the day it is full."""
    with api.seed() as seed:
        first = seed.case("acc-000000000000").id
    analyst = api.program(Role.ANALYST)
    analyst.get("/v1/me")
    few = (
        count_queries(lambda: analyst.get("/v1/cases")),
        count_queries(lambda: analyst.get(f"/v1/cases/{first}")),
    )
    with api.seed() as seed:
        seed.offsets = itertools.count(100)
        for number in range(1, 60):
            seed.case(f"acc-{number:012d}")
        many = seed.case("acc-many", outcomes=(Outcome.REVIEW,) * 40).id
        for number in range(60):
            seed.transaction("acc-many", at=seed.now - timedelta(hours=number))
    assert len(analyst.get("/v1/cases", params={"limit": 200}).json()["items"]) == 61
    assert few == (
        count_queries(lambda: analyst.get("/v1/cases", params={"limit": 200})),
        count_queries(lambda: analyst.get(f"/v1/cases/{many}")),
    )
    assert few[0] <= 4


def test_a_service_never_works_on_cases(api: Api) -> None:
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
    service = api.program(Role.SERVICE)
    assert service.post(f"/v1/cases/{case_id}/claim").status_code == 403
    assert [row.kind for row in api.rows(CaseEvent)] == ["opened", "alert_added"]
