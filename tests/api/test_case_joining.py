"""Cases that people open, link and merge: what comes together is decided once."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from fraudwatch.casework.models import Alert, Case, LabelRow, OutcomeRow
from fraudwatch.domain.access import Role
from tests.api.cases import ACCOUNT, FRAUD, a_case, act, add_alert, kinds
from tests.api.conftest import Api

OTHER = "acc-000000000222"


@pytest.fixture
def ada(api: Api) -> TestClient:
    return api.program(Role.ANALYST, "ada")


@pytest.fixture
def bob(api: Api) -> TestClient:
    return api.program(Role.ANALYST, "bob")


def opened(client: TestClient, account: str, *transactions: str) -> tuple[int, dict[str, Any]]:
    body = {"account_id": account, "reason": "They rang.", "transaction_ids": transactions}
    answer = client.post("/v1/cases", json=body)
    return answer.status_code, answer.json()


def test_a_person_opens_a_case_on_any_account_with_payments_that_were_cleared(
    api: Api, ada: TestClient
) -> None:
    """The customer rang: what the machine let through was not theirs."""
    with api.seed() as seed:
        cleared = [seed.transaction(ACCOUNT).transaction_id for _ in range(2)]
        elsewhere = seed.transaction(OTHER).transaction_id
    for wrong in (["tx-none"], [elsewhere], [cleared[0]] * 2):
        assert opened(ada, ACCOUNT, *wrong)[0] == 422
    status, case = opened(ada, ACCOUNT, *cleared)
    assert (status, case["alert_count"], case["amount"]) == (201, 2, "25.00")
    assert case["status"] == "new"
    status, refused = opened(ada, ACCOUNT)
    assert (status, refused["current"]["id"]) == (409, case["id"])
    act(ada, 1, "claim")
    act(ada, 1, "resolve", **FRAUD)
    assert [row.action for row in api.rows(OutcomeRow)] == ["decline", "decline"]
    assert [row.fraud for row in api.rows(LabelRow)] == [True, True]
    assert opened(ada, ACCOUNT, cleared[0])[0] == 422  # it has a case
    assert opened(ada, "acc-never-seen")[0] == 201


def test_the_stream_goes_on_in_a_case_that_a_person_opened(api: Api, ada: TestClient) -> None:
    opened(ada, ACCOUNT)
    add_alert(api)
    (case,) = api.rows(Case)
    assert (case.alert_count, case.outcome, case.opened_by) == (1, 2, 1)


def test_linked_cases_show_each_other(api: Api, ada: TestClient) -> None:
    first, second = a_case(api), a_case(api, account=OTHER)
    linked = act(ada, first, "links", case_id=second, reason="The same device.").json()
    assert [(link["case_id"], link["status"]) for link in linked["links"]] == [(second, "new")]
    other = ada.get(f"/v1/cases/{second}").json()
    assert [link["case_id"] for link in other["links"]] == [first]
    assert kinds(other)[-1] == "linked"
    assert act(ada, second, "links", case_id=first, reason="Again.").status_code == 409
    assert act(ada, first, "links", case_id=first, reason="x").status_code == 422
    assert act(ada, first, "links", case_id=99, reason="x").status_code == 404


def test_merged_cases_are_decided_as_one(api: Api, ada: TestClient, bob: TestClient) -> None:
    first, second = a_case(api), a_case(api, account=OTHER)
    merge: dict[str, Any] = {"case_id": second, "version": 1, "reason": "One customer, one fraud."}
    assert act(ada, first, "merge", **merge).status_code == 409  # nobody holds the first
    act(ada, first, "claim")
    act(bob, second, "claim")
    assert act(ada, first, "merge", **merge | {"version": 2}).status_code == 409  # bob has it
    act(bob, second, "release")
    assert act(ada, first, "merge", **merge).status_code == 409  # ada has not seen that
    whole = act(ada, first, "merge", **merge | {"version": 3}).json()
    assert (whole["alert_count"], whole["amount"], len(whole["alerts"])) == (2, "25.00", 2)
    gone = bob.get(f"/v1/cases/{second}").json()
    assert (gone["status"], gone["merged_into"], gone["alerts"]) == ("merged", first, [])
    assert "went into case" in act(bob, second, "claim").json()["detail"]

    # The other account's alerts come here, as new to the holder, and no case opens beside it.
    add_alert(api, account=OTHER)
    now = ada.get(f"/v1/cases/{first}").json()
    assert (now["alert_count"], now["new_alerts"], now["outcome"]) == (3, 1, "high_risk")
    assert len(api.rows(Case)) == 2
    act(ada, first, "resolve", **FRAUD)
    assert [row.action for row in api.rows(OutcomeRow)] == ["decline"] * 3
    assert {alert.case_id for alert in api.rows(Alert)} == {first}

    # After the decision the account is free for a case of its own; then the first stays alone.
    add_alert(api, account=OTHER)
    assert [case.status for case in api.rows(Case)] == ["resolved", "merged", "new"]
    act(api.program(Role.SENIOR), first, "reopen", reason="Once more.")
    add_alert(api, account=OTHER)
    assert [case.alert_count for case in api.rows(Case)][2] == 2


def test_reopening_takes_the_alerts_of_merged_accounts_again(api: Api, ada: TestClient) -> None:
    first, second = a_case(api), a_case(api, account=OTHER)
    act(ada, first, "claim")
    act(ada, first, "merge", case_id=second, version=1, reason="One customer.")
    act(ada, first, "resolve", **FRAUD)
    act(api.program(Role.SENIOR), first, "reopen", reason="Once more.")
    add_alert(api, account=OTHER)
    whole = api.rows(Case)[0]
    assert (whole.status, whole.alert_count) == ("reopened", 3)


def test_a_case_that_took_in_others_can_itself_be_taken_in(api: Api, ada: TestClient) -> None:
    third_account = "acc-000000000333"
    first, second = a_case(api), a_case(api, account=OTHER)
    third = a_case(api, account=third_account)
    act(ada, second, "claim")
    act(ada, second, "merge", case_id=third, version=1, reason="One device.")
    act(ada, first, "claim")
    version = ada.get(f"/v1/cases/{second}").json()["version"]
    act(ada, first, "merge", case_id=second, version=version, reason="One customer.")
    add_alert(api, account=third_account)
    assert [case.merged_into for case in api.rows(Case)] == [None, first, first]
    assert ada.get(f"/v1/cases/{first}").json()["alert_count"] == 4
