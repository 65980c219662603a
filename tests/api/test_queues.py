"""Queues: cases come to the right people in the right order, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from fraudwatch.casework import placing, queue_rules
from fraudwatch.casework.models import AuditRow, Case, LedgerRow
from fraudwatch.domain import queues
from fraudwatch.domain.access import Role
from fraudwatch.domain.decision import Outcome
from tests.api.cases import a_case, act, add_alert
from tests.api.conftest import Api

REST: dict[str, Any] = {"name": "rest", "title": "All other cases"}
HIGH: dict[str, Any] = {
    "name": "high",
    "title": "High risk",
    "match": {"outcome": "high_risk"},
    "due_high_risk": 60,
    "warn_minutes": 15,
}


@pytest.fixture
def ada(api: Api) -> TestClient:
    return api.program(Role.ANALYST, "ada")


@pytest.fixture
def sia(api: Api) -> TestClient:
    return api.program(Role.SENIOR, "sia")


def set_queues(client: TestClient, *found: dict[str, Any], **more: Any) -> None:
    body = {"queues": [*found, REST], "comment": "test", **more}
    answer = client.post("/v1/queue-rules", json=body)
    assert answer.status_code == 200, answer.text


def place(api: Api) -> None:
    with api.services.sessions.begin() as session:
        placing.place(session, queue_rules.rules(session), api.clock.now())


def take(client: TestClient, queue: str | None = None) -> int | None:
    answer = client.post("/v1/queue/next", json={"queue": queue})
    if answer.status_code == 204:
        return None
    assert answer.status_code == 200, answer.text
    found: int = answer.json()["id"]
    return found


def by_queue(client: TestClient, field: str = "waiting") -> dict[str, Any]:
    return {each["name"]: each[field] for each in client.get("/v1/queues").json()["items"]}


def test_rules_send_each_case_to_one_queue_and_anew_when_an_alert_changes_it(
    api: Api, ada: TestClient, sia: TestClient
) -> None:
    set_queues(sia, HIGH)
    case_id = a_case(api)
    place(api)
    assert by_queue(ada) == {"high": 0, "rest": 1}
    before = api.rows(Case)[0]
    add_alert(api)
    assert api.rows(Case)[0].placed_by == 0
    place(api)
    assert by_queue(ada) == {"high": 1, "rest": 0}
    after = api.rows(Case)[0]
    assert after.due_at == api.clock.now() + timedelta(minutes=60)
    assert after.warn_at == api.clock.now() + timedelta(minutes=45)
    assert after.version == before.version + 1  # for the alert; placing is no act
    assert take(ada, "rest") is None
    assert take(ada, "high") == case_id


def test_what_transactions_say_sends_a_case_to_its_queue(api: Api, sia: TestClient) -> None:
    """Category, segment and language are of the payments, also once their days are archived."""
    shop = {"name": "shops", "title": "Shops", "match": {"categories": ["5411"]}}
    set_queues(sia, {"name": "french", "title": "x", "match": {"languages": ["fr"]}}, shop)
    a_case(api)
    place(api)
    assert by_queue(sia) == {"french": 0, "shops": 1, "rest": 0}
    with api.services.sessions.begin() as session:
        rows = session.scalars(select(LedgerRow)).all()
        assert len(rows) == 1


def test_a_new_version_places_all_open_cases_anew(api: Api, sia: TestClient) -> None:
    a_case(api, (Outcome.HIGH_RISK,))
    a_case(api, account="acc-000000000222")
    place(api)
    due = [case.due_at for case in api.rows(Case)]
    set_queues(sia, HIGH)
    place(api)
    assert by_queue(sia) == {"high": 1, "rest": 1}
    moved, stayed = api.rows(Case)
    assert moved.due_at == min(due[0], api.clock.now() + timedelta(minutes=60))
    assert stayed.due_at == due[1]  # a promise that was made is kept
    assert {case.placed_by for case in api.rows(Case)} == {2}


def test_the_database_ranks_as_the_rules_do(api: Api) -> None:
    with api.seed() as seed:
        for pace, (points, hours) in enumerate(
            [(1.0, 0), (10_300.0, 5), (10_900.0, 0), (20_000.0, 900), (20_599.5, 1), (30_000.0, 2)]
        ):
            opened = seed.now - timedelta(hours=hours)
            seed.case(f"acc-{pace}", priority=points, opened_at=opened).fair_hours = 24 + pace
    with api.services.sessions() as session:
        for row in session.execute(
            select(Case.priority, Case.opened_at, Case.fair_hours, Case.rank)
        ):
            expected = queues.rank(row.priority, row.opened_at, row.fair_hours)
            assert row.rank == pytest.approx(expected, rel=1e-12)


def test_age_counts_so_that_a_small_old_case_comes_before_a_great_new_one(
    api: Api, ada: TestClient
) -> None:
    now = api.clock.now()
    old = a_case(api, account="acc-1", opened_at=now - timedelta(hours=73))
    great = a_case(api, account="acc-2", priority=20_600.0, opened_at=now)
    middle = a_case(api, account="acc-3", opened_at=now - timedelta(hours=36))
    assert [take(ada) for _ in range(4)] == [old, great, middle, None]


def test_queues_with_other_paces_are_compared_as_they_stand_now(
    api: Api, ada: TestClient, sia: TestClient
) -> None:
    """In the quick queue half an hour weighs as much as days do in the other one."""
    set_queues(sia, HIGH | {"fair_hours": 1})
    now = api.clock.now()
    slow = a_case(api, account="acc-1", opened_at=now - timedelta(hours=30))
    quick = a_case(api, (Outcome.HIGH_RISK,), account="acc-2", opened_at=now)
    api.clock.moment += timedelta(minutes=20)
    assert take(ada) == slow
    api.clock.moment += timedelta(minutes=20)
    assert [take(ada), take(ada)] == [quick, slow]  # the lease of the slow one has ended


def test_work_goes_to_members_with_the_skills(api: Api, ada: TestClient, sia: TestClient) -> None:
    set_queues(sia, HIGH | {"skills": ["cards"]})
    case_id = a_case(api, (Outcome.HIGH_RISK,))
    assert take(ada) is None
    refused = ada.post("/v1/queue/next", json={"queue": "high"})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    me = ada.get("/v1/queue/me").json()["user_id"]
    assert sia.put(f"/v1/queue-workers/{me}", json={"skills": ["cards"]}).status_code == 200
    assert by_queue(ada, "mine") == {"high": True, "rest": True}
    sia.put("/v1/queues/high/members", json={"members": {"sia": "lead"}})
    assert by_queue(ada, "mine") == {"high": False, "rest": True}
    assert take(ada) is None
    members = {"ada": "worker", "sia": "lead"}
    answer = sia.put("/v1/queues/high/members", json={"members": members})
    assert answer.json() == {"queue": "high", "members": members}
    assert take(ada) == case_id
    assert ada.post("/v1/queue/next", json={"queue": "none"}).status_code == 404


def test_who_leads_a_queue_says_who_belongs_to_it(
    api: Api, ada: TestClient, sia: TestClient
) -> None:
    refused = ada.put("/v1/queues/rest/members", json={"members": {"ada": "lead"}})
    assert (refused.status_code, refused.json()["code"]) == (403, "not-lead")
    sia.put("/v1/queues/rest/members", json={"members": {"ada": "lead"}})
    api.program(Role.ANALYST, "bob")
    members = {"ada": "lead", "bob": "worker"}
    assert ada.put("/v1/queues/rest/members", json={"members": members}).status_code == 200
    unknown = ada.put("/v1/queues/rest/members", json={"members": {"nobody": "lead"}})
    assert unknown.status_code == 422
    assert ada.put("/v1/queues/other/members", json={"members": {}}).status_code == 404


def test_who_is_away_or_holds_enough_gets_no_case(
    api: Api, ada: TestClient, sia: TestClient
) -> None:
    for number in range(4):
        a_case(api, account=f"acc-00000000011{number}")
    set_queues(sia, HIGH | {"most_open": 1}, most_open=3)
    until = (api.clock.now() + timedelta(hours=1)).isoformat()
    away = {"away_from": api.clock.now().isoformat(), "away_until": until}
    assert ada.put("/v1/queue/me/away", json=away).json()["away"] is True
    refused = ada.post("/v1/queue/next")
    assert (refused.status_code, refused.json()["code"]) == (409, "out-of-office")
    api.clock.moment += timedelta(hours=1)
    taken = [take(ada) for _ in range(3)]
    assert None not in taken
    full = ada.post("/v1/queue/next")
    assert (full.status_code, full.json()["code"]) == (409, "holds-enough")
    act(ada, int(taken[0] or 0), "release")
    high = a_case(api, (Outcome.HIGH_RISK,), account="acc-000000000221")
    a_case(api, (Outcome.HIGH_RISK,), account="acc-000000000222")
    assert take(ada, "high") == high
    act(ada, int(taken[1] or 0), "release")
    only = ada.post("/v1/queue/next", json={"queue": "high"})
    assert (only.status_code, only.json()["code"]) == (409, "holds-enough")
    assert take(ada) in taken  # of the other queue: one of this one is the most
    me = ada.get("/v1/queue/me").json()["user_id"]
    sia.put(f"/v1/queue-workers/{me}", json={"most_open": 1})
    assert ada.post("/v1/queue/next").json()["code"] == "holds-enough"
    back = {"away_from": until, "away_until": api.clock.now().isoformat()}
    assert ada.put("/v1/queue/me/away", json=back).status_code == 422
    assert ada.put("/v1/queue/me/away", json={"away_until": until}).status_code == 422


def test_nobody_gets_the_case_of_an_account_of_theirs(
    api: Api, ada: TestClient, sia: TestClient
) -> None:
    case_id = a_case(api)
    declared = ada.post("/v1/queue/me/own-accounts", json={"account_id": "acc-000000000111"})
    assert declared.json()["own_accounts"] == ["acc-000000000111"]
    assert take(ada) is None
    assert take(sia) == case_id
    said = [row for row in api.rows(AuditRow) if row.action == "queue_worker.own_account"]
    assert [row.data for row in said] == [{"own_accounts": 1}]


@pytest.mark.parametrize(
    "wrong",
    [
        [HIGH],
        [REST, HIGH],
        [HIGH, HIGH, REST],
        [HIGH | {"name": "No Name"}, REST],
        [REST | {"skills": ["x"]}],
        [REST | {"match": {"outcome": "review"}}],
        [REST | {"hours": {"zone": "Nowhere/Here", "monday": [["09:00", "10:00"]]}}],
        [REST | {"hours": {"zone": "Europe/Paris"}}],
        [REST | {"hours": {"zone": "Europe/Paris", "monday": [["10:00", "09:00"]]}}],
    ],
)
def test_rules_that_leave_cases_for_nobody_are_refused(
    api: Api, sia: TestClient, wrong: list[dict[str, Any]]
) -> None:
    answer = sia.post("/v1/queue-rules", json={"queues": wrong, "comment": "x"})
    assert answer.status_code == 422
    assert len(sia.get("/v1/queue-rules").json()["items"]) == 1


def test_due_times_count_only_hours_of_work(api: Api, sia: TestClient) -> None:
    """A case that opens on Monday at noon in Paris, with two hours a day, is due on Wednesday."""
    hours: dict[str, Any] = {"zone": "Europe/Paris", "holidays": ["2026-03-03"]}
    hours |= {day: [["12:00", "14:00"]] for day in ("monday", "tuesday", "wednesday")}
    body = {"queues": [REST | {"due_review": 90, "hours": hours}], "comment": "x"}
    sia.post("/v1/queue-rules", json=body)
    a_case(api)  # opened at 12:59 in Paris
    place(api)
    assert api.rows(Case)[0].due_at == datetime.fromisoformat("2026-03-04T12:29:00+01:00")


def test_the_next_case_takes_a_fixed_number_of_queries(
    api: Api, ada: TestClient, count_queries: Callable[[Callable[[], object]], int]
) -> None:
    for number in range(3):
        a_case(api, account=f"acc-{number}")
    place(api)
    ada.get("/v1/queue/me")  # the first use of a token is written down
    first = count_queries(lambda: take(ada))
    for number in range(3, 20):
        a_case(api, account=f"acc-{number}")
    place(api)
    assert count_queries(lambda: take(ada)) == first <= 24
    assert count_queries(lambda: ada.get("/v1/queues")) <= 8
