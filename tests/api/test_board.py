"""The board counts what is there; many cases are acted on with a result each; views are kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fraudwatch.casework import late, placing, queue_rules
from fraudwatch.casework.case_keeper import CaseKeeper
from fraudwatch.casework.models import AuditRow, Case, CaseEvent
from fraudwatch.domain.access import Role
from fraudwatch.domain.decision import Outcome
from tests.api.cases import HABIT, a_case, act
from tests.api.conftest import Api

RULES = {
    "queues": [
        {
            "name": "high",
            "title": "High risk",
            "match": {"outcome": "high_risk"},
            "due_high_risk": 60,
            "warn_minutes": 15,
        },
        {"name": "rest", "title": "All other cases"},
    ],
    "comment": "test",
}


@pytest.fixture
def ada(api: Api) -> TestClient:
    return api.program(Role.ANALYST, "ada")


@pytest.fixture
def sia(api: Api) -> TestClient:
    return api.program(Role.SENIOR, "sia")


def place(api: Api) -> None:
    with api.services.sessions.begin() as session:
        placing.place(session, queue_rules.rules(session), api.clock.now(), limit=1000)


def bulk(client: TestClient, action: str, *items: tuple[int, int], **more: Any) -> dict[str, Any]:
    given = [{"case_id": case_id, "version": version} for case_id, version in items]
    answer = client.post("/v1/cases/bulk", json={"action": action, "items": given, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_board_counts_open_work_and_what_each_person_found(
    api: Api, ada: TestClient, sia: TestClient
) -> None:
    sia.post("/v1/queue-rules", json=RULES)
    now = api.clock.now()
    a_case(api, (Outcome.HIGH_RISK,), account="acc-1", opened_at=now - timedelta(hours=3))
    for number in range(2, 7):
        a_case(api, account=f"acc-{number}", opened_at=now - timedelta(minutes=10))
    place(api)
    done, held, aside = (ada.post("/v1/queue/next", json={"queue": "rest"}) for _ in range(3))
    act(ada, done.json()["id"], "resolve", **HABIT)
    until = (now + timedelta(hours=2)).isoformat()
    act(ada, aside.json()["id"], "wait", until=until, reason="x")
    board = sia.get("/v1/board").json()
    high, rest = board["queues"]
    assert (high["open"], high["waiting"], high["late"], high["due_soon"]) == (1, 1, 1, 0)
    assert high["mean_age_minutes"] == 180
    counts = {name: rest[name] for name in ("open", "waiting", "held", "aside", "decided_day")}
    assert counts == {"open": 4, "waiting": 2, "held": 1, "aside": 1, "decided_day": 1}
    assert rest["people"] == 2
    people = {person["name"]: person for person in board["people"]}
    assert people["ada"]["holds"] == {"rest": 1}
    assert people["ada"]["decided_day"] == people["ada"]["decided_week"] == {"rest": 1}
    assert people["sia"]["holds"] == {}
    assert held.json()["claimed_by"] == "ada"
    assert "Erlang" in board["assumes"]
    api.clock.moment += timedelta(days=2)
    later = {p["name"]: p for p in sia.get("/v1/board").json()["people"]}["ada"]
    assert (later["holds"], later["decided_day"]) == ({}, {})
    assert later["decided_week"] == {"rest": 1}


def test_a_forecast_stands_on_the_same_hours_of_earlier_weeks(api: Api, sia: TestClient) -> None:
    """Hours are those of the queue's own zone: the clock of Paris changes in between."""
    hours = {"zone": "Europe/Paris", **{day: [["08:00", "20:00"]] for day in ("monday", "tuesday")}}
    rest = {"name": "rest", "title": "x", "hours": hours, "handling_minutes": 60}
    sia.post("/v1/queue-rules", json={"queues": [rest], "comment": "x"})
    now = api.clock.now()  # Monday, 13:00 in Paris
    assert sia.get("/v1/board").json()["queues"][0]["forecast"]["weeks"] == 0
    number = 0
    for week, count in ((1, 4), (2, 6), (3, 5), (4, 0)):
        for hour in [1.5] * count + [7.9, -0.5]:
            number += 1
            opened = now - timedelta(weeks=week) + timedelta(hours=hour)
            a_case(api, account=f"acc-{number}", opened_at=opened)
    place(api)
    begin = (now + timedelta(hours=1)).isoformat()
    params: dict[str, Any] = {"shift_from": begin, "shift_hours": 4}
    board = sia.get("/v1/board", params=params).json()
    found = board["queues"][0]["forecast"]
    assert (found["weeks"], found["expected"]) == (4, 3.75)
    assert found["low"] < 3.75 < found["high"]
    assert found["people_now"] <= found["people_low"] <= found["people"] <= found["people_high"]
    assert found["handling_minutes"] == 60
    assert not found["handling_measured"]
    assert board["shift"] == {"since": "2026-03-02T13:00:00Z", "until": "2026-03-02T17:00:00Z"}
    far = (now + timedelta(days=40)).isoformat()
    assert sia.get("/v1/board", params={"shift_from": far}).status_code == 422


def test_the_board_takes_a_fixed_number_of_queries(
    api: Api, sia: TestClient, count_queries: Callable[[Callable[[], object]], int]
) -> None:
    a_case(api)
    sia.get("/v1/board")
    few = count_queries(lambda: sia.get("/v1/board"))
    sia.post("/v1/queue-rules", json=RULES)
    for number in range(15):
        a_case(api, account=f"acc-{number}")
        api.program(Role.ANALYST, f"analyst-{number}")
    place(api)
    assert count_queries(lambda: sia.get("/v1/board")) == few <= 12


def test_bulk_acts_give_each_case_a_result_of_its_own(
    api: Api, ada: TestClient, sia: TestClient
) -> None:
    ids = [a_case(api, account=f"acc-{number}") for number in range(4)]
    act(sia, ids[2], "claim")
    found = bulk(ada, "claim", (ids[3], 1), (ids[0], 1), (ids[1], 7), (ids[2], 2), (999, 1))
    assert (found["done"], found["failed"]) == (2, 3)
    assert [item["case_id"] for item in found["items"]] == [ids[3], ids[0], ids[1], ids[2], 999]
    assert [item["version"] for item in found["items"]] == [2, 2, None, None, None]
    problems = [item["problem"] for item in found["items"]]
    assert [each and each["code"] for each in problems] == [
        None,
        None,
        "conflict",
        "conflict",
        "not-found",
    ]
    assert problems[2]["current"]["version"] == 1
    assert problems[3]["current"]["claimed_by"] == "sia"
    audited = [row for row in api.rows(AuditRow) if row.action == "case.claim"]
    assert len(audited) == 3
    until = (api.clock.now() + timedelta(hours=1)).isoformat()
    aside = bulk(ada, "wait", (ids[0], 2), (ids[3], 2), until=until, text="The bank calls back.")
    assert aside["done"] == 2
    assert bulk(ada, "wait", (ids[1], 1), until=until, text="x")["failed"] == 1  # not held
    assert bulk(ada, "note", (ids[0], 3), text="")["failed"] == 1


def test_all_or_none_leaves_nothing_behind(api: Api, ada: TestClient) -> None:
    ids = [a_case(api, account=f"acc-{number}") for number in range(2)]
    before = len(api.rows(CaseEvent)), len(api.rows(AuditRow))
    found = bulk(ada, "note", (ids[0], 1), (ids[1], 5), text="x", all_or_none=True)
    assert (found["done"], found["failed"]) == (0, 2)
    assert [bool(item["problem"]) for item in found["items"]] == [False, True]
    assert (len(api.rows(CaseEvent)), len(api.rows(AuditRow))) == before
    assert [case.version for case in api.rows(Case)] == [1, 1]
    assert bulk(ada, "note", (ids[0], 1), (ids[1], 1), text="x", all_or_none=True)["done"] == 2


@pytest.mark.parametrize(
    "body",
    [
        {"action": "resolve", "items": [{"case_id": 1, "version": 1}]},
        {"action": "claim", "items": []},
        {"action": "claim", "items": [{"case_id": 1}]},
        {"action": "claim", "items": [{"case_id": 1, "version": 1}] * 2},
        {"action": "wait", "items": [{"case_id": 1, "version": 1}], "text": "x"},
    ],
)
def test_bulk_acts_that_cannot_be_are_refused(
    api: Api, ada: TestClient, body: dict[str, Any]
) -> None:
    """Deciding many cases at once would be deciding without looking."""
    assert ada.post("/v1/cases/bulk", json=body).status_code == 422


def test_views_are_kept_by_their_owner_and_read_by_all_where_shared(
    api: Api, ada: TestClient, sia: TestClient
) -> None:
    view = {"name": "Late", "filter": {"late": True, "queue": "rest"}, "shared": False}
    saved = ada.post("/v1/views", json=view)
    assert saved.status_code == 201
    view_id = saved.json()["id"]
    assert saved.json()["filter"]["late"] is True
    assert ada.post("/v1/views", json=view).status_code == 409
    assert sia.get("/v1/views").json()["items"] == []
    assert sia.put(f"/v1/views/{view_id}", json=view).status_code == 404
    assert sia.delete(f"/v1/views/{view_id}").status_code == 404
    ada.put(f"/v1/views/{view_id}", json=view | {"shared": True})
    (seen,) = sia.get("/v1/views").json()["items"]
    assert (seen["owner"], seen["mine"], seen["shared"]) == ("ada", False, True)
    wrong = view | {"filter": {"status": ["no such"]}}
    assert ada.post("/v1/views", json=wrong).status_code == 422
    assert ada.delete(f"/v1/views/{view_id}").status_code == 204
    assert sia.get("/v1/views").json()["items"] == []


def test_the_list_of_a_queue_comes_in_its_order_page_by_page(api: Api, ada: TestClient) -> None:
    now = api.clock.now()
    ids = [
        a_case(
            api,
            account=f"acc-{number}",
            priority=[20_300.0, 1.0, 10_500.0][number % 3],
            opened_at=now - timedelta(hours=[0, 90, 10][number % 3]),
        )
        for number in range(9)
    ]
    seen: list[int] = []
    cursor = None
    while True:
        params: dict[str, Any] = {"queue": "rest", "limit": 2}
        params |= {"cursor": cursor} if cursor else {}
        page = ada.get("/v1/cases", params=params).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[1::3] + ids[0::3] + ids[2::3]
    assert ada.get("/v1/cases", params={"queue": "other"}).json()["items"] == []


def test_the_keeper_places_warns_and_escalates(api: Api, sia: TestClient) -> None:
    """One warning before the promised time, an alarm after it; no time decides anything."""
    sia.post("/v1/queue-rules", json=RULES)
    a_case(api, (Outcome.HIGH_RISK,), account="acc-1")
    seen = a_case(api, (Outcome.HIGH_RISK,), account="acc-2")
    keeper = CaseKeeper(api.services.sessions, api.clock)
    assert keeper.tick() == 0
    assert {case.queue for case in api.rows(Case)} == {"high"}
    act(sia, seen, "claim")
    for minutes, kinds in (
        (43, []),
        (2, ["due_soon"]),
        (5, ["due_soon"]),
        (60, ["due_soon", "late"]),
    ):
        api.clock.moment += timedelta(minutes=minutes)
        keeper.tick()
        told = [e.kind for e in api.rows(CaseEvent) if e.kind in {"due_soon", "late"}]
        assert told == kinds
    assert [case.status for case in api.rows(Case)] == ["escalated", "claimed"]
    with api.services.sessions.begin() as session:
        assert late.warn_soon(session, api.clock.now()) == []
