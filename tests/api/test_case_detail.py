"""All around a case in one answer: what is usual, what is alike, what is linked, what happened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from fraudwatch.casework import traces
from fraudwatch.casework.models import Alert, AlertTrace
from fraudwatch.domain.access import Role
from fraudwatch.domain.decision import Outcome
from tests.api.cases import FRAUD, a_case, act
from tests.api.conftest import Api
from tests.api.seed import NOW

OTHER = "acc-000000000222"


@pytest.fixture
def ada(api: Api) -> TestClient:
    with api.seed() as seed:
        for day in range(1, 6):
            amount = str(10 * day)
            seed.transaction("acc-000000000111", at=NOW - timedelta(days=day), amount=amount)
    return api.program(Role.ANALYST, "ada")


def gather(api: Api) -> int:
    """As the keeper of cases does every few seconds."""
    with api.services.sessions.begin() as session:
        return traces.gather(session, api.clock.now())


def set_trace(api: Api, case_id: int, **values: Any) -> None:
    """As if the stream had brought these values with the case's alerts."""
    with api.services.sessions.begin() as session:
        of_case = AlertTrace.alert_id.in_(
            session.query(Alert.id).filter(Alert.case_id == case_id).scalar_subquery()
        )
        session.execute(update(AlertTrace).where(of_case).values(**values))


def detail(client: TestClient, case_id: int) -> dict[str, Any]:
    answer = client.get(f"/v1/cases/{case_id}/detail")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def resolved(api: Api, client: TestClient, account: str, finding: dict[str, Any]) -> int:
    case_id = a_case(api, account=account)
    act(client, case_id, "claim")
    answer = act(client, case_id, "resolve", **finding)
    assert answer.status_code == 200, answer.text
    return case_id


def test_one_call_tells_all_that_the_page_of_a_case_needs(api: Api, ada: TestClient) -> None:
    case_id = a_case(api)
    act(ada, case_id, "notes", text="Rang: no answer.")
    found = detail(ada, case_id)
    plain = ada.get(f"/v1/cases/{case_id}").json()
    assert {name: found[name] for name in plain} == plain
    assert found["normal"]["payments"] == 5
    assert found["normal"]["amounts"] == [
        {"currency": "EUR", "low": "14.00", "middle": "30.00", "high": "46.00"}
    ]
    assert found["normal"]["countries"] == ["FR"]
    moments = [(moment["kind"], moment["what"]) for moment in found["timeline"]]
    assert moments.count(("transaction", "12.50 EUR")) == 1
    assert ("change", "noted") in moments
    at = [moment["at"] for moment in found["timeline"]]
    assert at == sorted(at, reverse=True)


def test_earlier_cases_of_the_account_are_in_the_timeline(api: Api, ada: TestClient) -> None:
    earlier = resolved(api, ada, "acc-000000000111", FRAUD)
    found = detail(ada, a_case(api))
    told = [(m["what"], m["case_id"]) for m in found["timeline"] if m["kind"] == "case"]
    assert set(told) == {("opened", earlier), ("resolved: fraud", earlier)}


def test_similar_cases_are_decided_ones_and_the_most_alike_comes_first(
    api: Api, ada: TestClient
) -> None:
    near, far = (resolved(api, ada, account, FRAUD) for account in ("acc-near", "acc-far"))
    undecided = a_case(api, account="acc-undecided")
    own = a_case(api)
    gather(api)
    for case_id, values in ((own, [1.0, 2.0]), (near, [1.1, 2.0]), (far, [9.0, -4.0])):
        set_trace(api, case_id, features=np.array(values, dtype="<f8").tobytes())
    found = detail(ada, own)["similar"]
    assert [one["case_id"] for one in found] == [near, far]
    assert undecided not in [one["case_id"] for one in found]
    assert found[0]["likeness"] > found[1]["likeness"]
    assert found[0]["resolution"] == "fraud"
    assert found[0]["resolved_by"] == "ada"
    assert found[0]["shared_reasons"] == ["new_country", "amount_ratio"]


def test_accounts_are_linked_by_what_few_share(api: Api, ada: TestClient) -> None:
    """A shop that everybody uses must not outweigh a device of two accounts."""
    own, other = a_case(api), a_case(api, account=OTHER)
    crowd = [a_case(api, account=f"acc-crowd-{n}") for n in range(6)]
    gather(api)
    for case_id in (own, other):
        set_trace(api, case_id, device_id="device-9", ip=None, counterparty_id=None)
    for case_id in crowd:
        set_trace(api, case_id, ip=None, counterparty_id=None)
    found = detail(ada, own)["linked"]
    assert found[0]["account_id"] == OTHER
    assert found[0]["case_id"] == other
    by = {link["kind"]: link for link in found[0]["links"]}
    assert by["device_id"] == {
        "kind": "device_id",
        "value": "device-9",
        "accounts": 2,
        "strength": 1.0,
    }
    assert by["merchant_id"]["accounts"] == 8
    assert by["merchant_id"]["strength"] == 0.1
    assert [one["strength"] for one in found[1:]] == [0.1] * 6


def test_links_older_than_the_look_back_are_not_shown(api: Api, ada: TestClient) -> None:
    own, other = a_case(api), a_case(api, account=OTHER)
    gather(api)
    set_trace(api, other, at=NOW - timedelta(days=400))
    assert detail(ada, own)["linked"] == []


def test_accounts_and_devices_are_masked_by_role(api: Api, ada: TestClient) -> None:
    own = a_case(api)
    a_case(api, account=OTHER)
    gather(api)
    found = detail(api.program(Role.AUDITOR), own)
    assert OTHER not in str(found)
    assert "192.0.2.17" not in str(found)
    assert found["linked"][0]["account_id"].startswith("acc-…")


def test_traces_are_filled_in_once_and_by_the_case_itself_where_nobody_has(
    api: Api, ada: TestClient
) -> None:
    case_id = a_case(api)
    assert detail(ada, case_id)["similar"] == []
    row = api.rows(AlertTrace)[0]
    assert (row.merchant_id, row.ip) == ("shop-1", "192.0.2.17")
    assert row.themes == ["new_country", "amount_ratio"]
    assert gather(api) == 0


def test_the_number_of_queries_is_fixed(
    api: Api, ada: TestClient, count_queries: Callable[[Callable[[], object]], int]
) -> None:
    """However many alerts, similar cases and links there are."""
    few = a_case(api, account="acc-few")
    gather(api)
    detail(ada, few)
    short = count_queries(lambda: detail(ada, few))
    many = a_case(api, (Outcome.HIGH_RISK,) * 15)
    for n in range(8):
        resolved(api, ada, f"acc-like-{n}", FRAUD)
        act(ada, many, "notes", text=f"Note {n}")
    gather(api)
    found = detail(ada, many)
    assert (len(found["similar"]), len(found["linked"])) == (5, 9)
    assert count_queries(lambda: detail(ada, many)) == short <= 26
