"""The blind-spot sample looks like other work to analysts, and measures what the machine missed."""

from __future__ import annotations

from typing import Any

import pytest

from fraudwatch.casework.models import Case, LabelRow, OutboxRow, OutcomeRow
from fraudwatch.domain.access import Role
from fraudwatch.domain.decision import Rule
from tests.api.cases import FRAUD, HABIT, act
from tests.api.conftest import Api


def test_blind_spot_draws_label_by_their_source_and_need_no_release(api: Api) -> None:
    """The payment went through long ago; only fraud found later must be told."""
    with api.seed() as seed:
        seed.blind_spot_case("acc-000000000111")
        seed.blind_spot_case("acc-000000000222")
    analyst = api.program(Role.ANALYST)
    for decision in (HABIT, FRAUD):
        found = analyst.post("/v1/cases/next").json()
        done = act(analyst, found["id"], "resolve", found["version"], **decision)
        assert done.status_code == 200
    assert [(r.fraud, r.source, r.precedence) for r in api.rows(LabelRow)] == [
        (False, "blind_spot", 20),
        (True, "blind_spot", 20),
    ]
    assert [row.action for row in api.rows(OutcomeRow)] == ["decline"]
    assert len(api.rows(OutboxRow)) == 1


def test_a_blind_spot_draw_once_declined_is_released_when_the_decision_turns(api: Api) -> None:
    """Otherwise the customer's card stayed blocked after the mistake was found."""
    with api.seed() as seed:
        case_id = seed.blind_spot_case("acc-000000000111").id
    senior = api.program(Role.SENIOR)
    for decision in (FRAUD, HABIT):
        act(senior, case_id, "claim")
        act(senior, case_id, "resolve", **decision)
        act(senior, case_id, "reopen", reason="Again.")
    assert [row.action for row in api.rows(OutcomeRow)] == ["decline", "release"]


def without_ids(value: Any) -> Any:
    """The answer without what differs between any two cases."""
    if isinstance(value, dict):
        ids = {"id", "case_id", "transaction_id"}
        return {name: without_ids(part) for name, part in value.items() if name not in ids}
    if isinstance(value, list):
        return [without_ids(part) for part in value]
    return value.replace("222", "111") if isinstance(value, str) else value


def test_analysts_cannot_tell_a_blind_spot_draw_from_a_review(api: Api) -> None:
    """Whatever an analyst can read of a draw looks like what they can read of a review."""
    with api.seed() as seed:
        plain = seed.case("acc-000000000111", priority=2)
        drawn = seed.blind_spot_case("acc-000000000222", priority=1)
        ids = plain.id, drawn.id
    analyst = api.program(Role.ANALYST)

    def shape(case_id: int) -> object:
        case = analyst.get(f"/v1/cases/{case_id}").json()
        transaction = case["alerts"][0]["transaction"]["transaction_id"]
        listed = analyst.get("/v1/cases").json()["items"]
        return without_ids(
            [
                case,
                analyst.get(f"/v1/transactions/{transaction}").json(),
                next(item for item in listed if item["id"] == case_id),
                analyst.get(f"/v1/accounts/{case['account_id']}").json(),
            ]
        )

    assert shape(ids[0]) == shape(ids[1])
    listed = analyst.get("/v1/cases", params={"outcome": "review"}).json()["items"]
    assert {item["id"] for item in listed} == set(ids)
    for decision in (HABIT, HABIT):
        found = analyst.post("/v1/cases/next").json()
        act(analyst, found["id"], "resolve", found["version"], **decision)
    assert shape(ids[0]) == shape(ids[1])

    officer = api.program(Role.RISK_OFFICER).get(f"/v1/cases/{ids[1]}").json()
    assert officer["alerts"][0]["rule"] == "blind_spot"
    assert officer["alerts"][0]["outcome"] == "auto_clear"
    assert officer["alerts"][0]["risk"] == pytest.approx(0.4)


def test_rules_of_the_machine_are_shown_to_those_who_steer_it(api: Api) -> None:
    with api.seed() as seed:
        seed.case("acc-000000000111", rule=Rule.NO_HISTORY_AMOUNT)
    case = api.rows(Case)[0].id
    auditor = api.program(Role.AUDITOR).get(f"/v1/cases/{case}").json()
    assert auditor["alerts"][0]["rule"] == "no_history_amount"
    assert auditor["risk"] == pytest.approx(0.995)
    analyst = api.program(Role.ANALYST).get(f"/v1/cases/{case}").json()
    assert analyst["alerts"][0]["rule"] is None
    assert analyst["risk"] is None
