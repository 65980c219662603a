"""Asking over REST: one path, one answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fraudwatch.casework.app import create_app
from fraudwatch.casework.models import DeadLetter, LedgerRow
from fraudwatch.domain.access import Role
from fraudwatch.domain.transaction import REASONS
from fraudwatch.settings import load_settings
from tests.api.asking import Stream, payment
from tests.api.conftest import Api
from tests.api.test_problems import check

PATIENCE = {"wait_ms": 10_000}


@pytest.fixture
def stream(api: Api, tmp_path: Path) -> Stream:
    return Stream(api, tmp_path)


@pytest.fixture
def client(api: Api) -> TestClient:
    return api.program(Role.PAYMENT_SYSTEM)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_answer_is_the_decision_of_the_stream(
    api: Api, stream: Stream, client: TestClient
) -> None:
    with stream.worker():
        answer = client.post("/v1/transactions", json=payment(), params=PATIENCE)
    assert answer.status_code == 200, answer.text
    published = [json.loads(v) for v, _ in stream.messages(stream.settings.topic_decisions)]
    told = answer.json()
    assert [{"reasons": [], **message} for message in published] == [
        {**told, "account_id": "acc-1"} | {"decided_at": published[0]["decided_at"]}
    ]
    (row,) = api.rows(LedgerRow)
    assert json.loads(row.payload) == payment(), "the ledger keeps the message as it came"
    assert told["decision"] == "refer", "without a model everything goes to people"
    assert "acc-1" not in answer.text


def test_what_is_not_decided_in_time_has_a_link_that_answers_later(
    stream: Stream, client: TestClient
) -> None:
    odd = payment(transaction_id="a/b?c#…", event_time="2026-03-02T11:00:00.25+00:00")
    answer = client.post("/v1/transactions", json=odd, params={"wait_ms": 1500})
    assert answer.status_code == 202, answer.text
    pending = answer.json()
    assert answer.headers["location"] == pending["link"]
    assert answer.headers["retry-after"] == "1"
    assert stream.asked() == 1
    check(client.get(pending["link"]), 404, "not-found")
    with stream.worker():
        until(lambda: client.get(pending["link"]).status_code == 200)
        again = client.post("/v1/transactions", json=odd)
    assert again.json() == client.get(pending["link"]).json()
    assert client.get(pending["link"].partition("?")[0]).json() == again.json()
    assert stream.asked() == 1, "what is decided is not put on the stream again"


def test_sent_by_stream_first_and_by_rest_first_it_is_one_decision(
    api: Api, stream: Stream, client: TestClient
) -> None:
    other_way_of_writing = json.dumps(payment(amount=12.5, merchant_id=None), indent=1)
    stream.publish(payment())
    with stream.worker():
        first = client.post("/v1/transactions", content=other_way_of_writing, params=PATIENCE)
        stream.publish(payment())
        stream.publish(payment(transaction_id="t-2"))
        last = client.post("/v1/transactions", json=payment(transaction_id="t-2"), params=PATIENCE)
        again = client.post("/v1/transactions", json=payment(), params=PATIENCE)
    assert (first.status_code, last.status_code) == (200, 200)
    assert again.json() == first.json()
    assert sorted(row.transaction_id for row in api.rows(LedgerRow)) == ["t-1", "t-2"]
    assert {row.reason for row in api.rows(DeadLetter)} <= {"duplicate"}


def test_other_content_under_a_known_id_is_a_conflict_with_a_link_to_what_was_decided(
    stream: Stream, client: TestClient
) -> None:
    with stream.worker():
        decided = client.post("/v1/transactions", json=payment(), params=PATIENCE).json()
    answer = client.post("/v1/transactions", json=payment(amount="99.00"))
    current = check(answer, 409, "conflict")["current"]
    assert client.get(current["link"]).json() == decided
    assert "99.00" not in answer.text
    assert stream.asked() == 1


def test_two_contents_that_wait_under_one_id_get_one_decision_and_one_conflict(
    api: Api, stream: Stream, client: TestClient
) -> None:
    """The dead letter of the second must answer too, at once rather than by the clock."""
    bodies = [payment(amount=amount) for amount in ("1.00", "2.00")]
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(client.post, "/v1/transactions", json=body, params=PATIENCE)
            for body in bodies
        ]
        until(lambda: stream.asked() == 2)
        with stream.worker():
            answers = [future.result() for future in asked]
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert [row.reason for row in api.rows(DeadLetter)] == ["conflict"]


def test_what_the_decoder_refuses_is_refused_with_its_field_and_reason(
    stream: Stream, client: TestClient
) -> None:
    bodies: list[tuple[bytes, str]] = [
        (json.dumps(payment(currency="EURO")).encode(), "currency"),
        (json.dumps(payment(amount="-1")).encode(), "amount"),
        (json.dumps(payment(event_time="2026-03-02T11:59:00")).encode(), "event_time"),
        (json.dumps(payment(event_time="2026-03-03T11:59:00Z")).encode(), "event_time"),
        (json.dumps(payment(deep={"er": 1})).encode(), "attributes.deep"),
        (b'{"transaction_id": "x", "transaction_id": "y"}', "transaction_id"),
        (b'{"transaction_id": "\\ud800"}', ""),
        (b"[1]", ""),
        (b"", ""),
        (b"\xff", ""),
        (b"[" * 70_000, ""),
    ]
    for body, field in bodies:
        answer = client.post("/v1/transactions", content=body)
        (fault,) = check(answer, 422, "input")["errors"]
        assert fault["message"].partition(":")[0] in REASONS
        if field:
            assert fault["field"] == field
    check(
        client.post("/v1/transactions", content=b"x=1", headers={"content-type": "text/plain"}),
        415,
        "media-type",
    )
    assert stream.asked() == 0


def test_a_message_that_the_worker_refuses_is_refused(
    api: Api, stream: Stream, client: TestClient
) -> None:
    """The worker has the last word; its settings may be stricter than this process's."""
    strict = load_settings(secret_key="k" * 32, max_message_bytes=256)
    with stream.worker(strict):
        answer = client.post("/v1/transactions", json=payment(note="x" * 300), params=PATIENCE)
    (fault,) = check(answer, 422, "input")["errors"]
    assert fault["message"].startswith("oversized")
    assert [row.reason for row in api.rows(DeadLetter)] == ["oversized"]


def test_a_key_belongs_to_one_request_for_a_day(
    api: Api, stream: Stream, client: TestClient
) -> None:
    def ask(who: TestClient, key: str, **values: object) -> Any:
        return who.post(
            "/v1/transactions",
            json=payment(**values),
            params=PATIENCE,
            headers={"Idempotency-Key": key},
        )

    other = api.program(Role.PAYMENT_SYSTEM, "other")
    with stream.worker():
        first = ask(client, "k1")
        assert ask(client, "k1").json() == first.json()
        check(ask(client, "k1", transaction_id="t-2"), 422, "idempotency-key")
        assert stream.asked() == 1
        assert ask(other, "k1", transaction_id="t-2").status_code == 200, "keys are one's own"
        check(ask(client, "a key", transaction_id="t-3"), 422, "invalid")
        api.clock.moment += timedelta(hours=24)
        assert ask(client, "k1", transaction_id="t-4").status_code == 200


def test_each_of_a_batch_has_its_own_answer(stream: Stream, client: TestClient) -> None:
    with stream.worker():
        decided = client.post("/v1/transactions", json=payment(), params=PATIENCE).json()
        answer = client.post(
            "/v1/transactions/batch",
            json={
                "transactions": [
                    payment(),
                    payment(amount="7"),
                    payment(transaction_id="t-2", currency="?"),
                    payment(transaction_id="t-3"),
                    payment(transaction_id="t-3"),
                ]
            },
            params=PATIENCE,
        )
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    assert [item["status"] for item in items] == [200, 409, 422, 200, 200]
    assert items[0]["decision"] == decided
    assert items[1]["problem"]["code"] == "conflict"
    assert items[2]["problem"]["errors"][0]["field"] == "currency"
    assert items[3] == items[4], "the same twice is one question"
    assert stream.asked() == 2
    late = client.post(
        "/v1/transactions/batch",
        json={"transactions": [payment(transaction_id="t-4")]},
        params={"wait_ms": 1500},
    )
    assert late.json()["items"][0]["pending"]["transaction_id"] == "t-4"
    bodies: list[object] = [{"transactions": []}, {"transactions": [payment()] * 101}, {}, [], 1]
    for body in bodies:
        check(client.post("/v1/transactions/batch", json=body), 422, "invalid")


def restarted(api: Api, **settings: Any) -> None:
    """The same application with other settings."""
    api.app.state.asking.close()
    changed = load_settings(secret_key="0123456789abcdef" * 4, **settings)
    api.services = replace(api.services, settings=changed)
    api.app = create_app(api.services)


def test_when_too_many_wait_nothing_more_is_put_on_the_stream(api: Api, stream: Stream) -> None:
    restarted(api, ask_most_waiting=3)
    client = api.program(Role.PAYMENT_SYSTEM)
    with ThreadPoolExecutor(3) as pool:
        waiting = [
            pool.submit(
                client.post,
                "/v1/transactions",
                json=payment(transaction_id=f"t-{number}"),
                params=PATIENCE,
            )
            for number in range(3)
        ]
        until(lambda: stream.asked() == 3)
        answer = client.post("/v1/transactions", json=payment(transaction_id="t-9"))
        check(answer, 429, "busy")
        assert int(answer.headers["retry-after"]) >= 1
        assert stream.asked() == 3
        # Who waits holds no connection; what looks at the backlog has one for a moment.
        until(lambda: "Checked out connections: 0" in api.services.engine.pool.status())
        with stream.worker():
            assert {future.result().status_code for future in waiting} == {200}
    assert api.app.state.asking.waiting() == 0


def test_while_the_workers_are_too_far_behind_nothing_more_is_put_on_the_stream(
    api: Api, stream: Stream
) -> None:
    restarted(api, ask_most_lag=2, stream_url=f"file://{stream.folder}")
    client = api.program(Role.PAYMENT_SYSTEM)
    at_once = {"wait_ms": 0}
    with stream.worker():
        assert client.post("/v1/transactions", json=payment(), params=PATIENCE).status_code == 200
    for number in range(3):
        stream.publish(payment(transaction_id=f"s-{number}"))
    late = payment(transaction_id="t-2")
    until(lambda: client.post("/v1/transactions", json=late, params=at_once).status_code == 429)
    before = stream.asked()
    answer = client.post("/v1/transactions", json=payment(transaction_id="t-3"))
    check(answer, 429, "busy")
    assert answer.headers["retry-after"] == "5"
    assert stream.asked() == before
    with stream.worker():
        until(lambda: client.post("/v1/transactions", json=late).status_code == 200)


def test_a_token_has_its_rate_and_others_theirs(api: Api, stream: Stream) -> None:
    restarted(api, ask_rate=0.01, ask_burst=2)
    client, other = (api.program(Role.PAYMENT_SYSTEM, name) for name in ("one", "other"))
    batch = {"transactions": [payment(transaction_id=f"t-{n}") for n in range(3)]}
    check(client.post("/v1/transactions/batch", json=batch), 422, "invalid")
    batch["transactions"].pop()
    at_once = {"wait_ms": 0}
    assert client.post("/v1/transactions/batch", json=batch, params=at_once).status_code == 200
    answer = client.post("/v1/transactions", json=payment(), params=at_once)
    check(answer, 429, "busy")
    assert 90 <= int(answer.headers["retry-after"]) <= 100
    assert (
        other.post("/v1/transactions", json=payment(), params={"wait_ms": 1500}).status_code == 202
    )
    assert stream.asked() <= 3


def test_a_lost_notification_costs_time_and_no_answer(
    api: Api, stream: Stream, client: TestClient
) -> None:
    """Here nobody notifies: the row is simply there."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.post, "/v1/transactions", json=payment(), params=PATIENCE)
        until(lambda: stream.asked() == 1)
        with api.seed() as seed:
            row = seed.transaction("acc-1")
            row.transaction_id = "t-1"
            row.payload = json.dumps(payment()).encode()
        assert asked.result().status_code == 200


def test_a_stream_that_is_away_is_said_to_be_away(client: TestClient) -> None:
    """There is no folder of the topic: nothing was put anywhere, and the caller may try again."""
    check(client.post("/v1/transactions", json=payment()), 503, "unavailable")


def test_who_waits_when_the_process_stops_is_told(
    api: Api, stream: Stream, client: TestClient
) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.post, "/v1/transactions", json=payment(), params=PATIENCE)
        until(lambda: stream.asked() == 1)
        api.app.state.asking.close()
        check(asked.result(), 503, "unavailable")
    check(client.post("/v1/transactions", json=payment()), 503, "unavailable")


def test_two_processes_answer_from_one_commit(api: Api, stream: Stream) -> None:
    """Each has its own ear at the database."""
    second = create_app(api.services)
    header = {"authorization": api.program(Role.PAYMENT_SYSTEM).headers["authorization"]}
    started = threading.Barrier(2)

    def ask(app: Any) -> Any:
        started.wait()
        client = TestClient(app, base_url="https://testserver", headers=header)
        return client.post("/v1/transactions", json=payment(), params=PATIENCE)

    with ThreadPoolExecutor(2) as pool, stream.worker():
        answers = list(pool.map(ask, [api.app, second]))
    second.state.asking.close()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert len(api.rows(LedgerRow)) == 1
