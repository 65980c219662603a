"""Webhooks end to end: real receivers, in order, at least once, never doubled by two senders."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.casework.models import AuditRow, WebhookDelivery, WebhookEndpoint
from fraudwatch.casework.webhook_http import read_networks
from fraudwatch.casework.webhook_sender import LONGEST_WAIT, WebhookSender, wait_after
from fraudwatch.domain.access import Role
from fraudwatch.domain.webhook_signature import verify
from fraudwatch.errors import Invalid
from tests.api.cases import FRAUD, a_case, act
from tests.api.conftest import Api
from tests.receivers import Receiver, receiving

HERE = read_networks("127.0.0.0/8")


def sender(api: Api, seconds: float = 5) -> WebhookSender:
    key = api.services.settings.require_secret()
    return WebhookSender(
        api.services.sessions, key, api.clock, Random(1), seconds=seconds, allowed=HERE
    )


def drain(api: Api) -> None:
    one = sender(api)
    while one.turn():
        pass


def webhook(api: Api, url: str, *events: str, **more: Any) -> dict[str, Any]:
    body = {"url": url, "events": list(events or ("case.*", "outcome.*")), **more}
    answer = api.program(Role.ADMIN).post("/v1/webhooks", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def declined(api: Api) -> int:
    case_id = a_case(api)
    ana = api.program(Role.ANALYST)
    act(ana, case_id, "claim")
    assert act(ana, case_id, "resolve", **FRAUD, note="x").status_code == 200
    return case_id


def kinds(receiver: Receiver) -> list[str]:
    return [json.loads(body)["type"] for _, body in receiver.got]


def test_what_happens_is_told_in_order_signed_and_without_personal_data(api: Api) -> None:
    with receiving() as receiver:
        made = webhook(api, receiver.url)
        case_id = declined(api)
        drain(api)
        drain(api)
        assert kinds(receiver)[-2:] == ["case.resolved", "outcome.decline"] or set(
            kinds(receiver)[-2:]
        ) == {"case.resolved", "outcome.decline"}
        ids = [
            verify(made["secret"], headers, body, api.clock.now()) for headers, body in receiver.got
        ]
        assert len(ids) == len(set(ids)) >= 3
        outcome = json.loads(receiver.got[kinds(receiver).index("outcome.decline")][1])["data"]
        assert (outcome["case_id"], outcome["action"]) == (case_id, "decline")
        assert not [
            body for _, body in receiver.got if b"acc-0000" in body or b"stolen the" in body
        ]
    assert {row.state for row in api.rows(WebhookDelivery)} == {"delivered"}


def test_an_act_that_is_refused_is_told_to_nobody(api: Api) -> None:
    """Deliveries are made with the change or not at all."""
    webhook(api, "https://example.org/x", "case.claimed")
    case_id = a_case(api)
    ana = api.program(Role.ANALYST)
    assert act(ana, case_id, "claim", 999).status_code == 409
    assert api.rows(WebhookDelivery) == []
    assert act(ana, case_id, "claim").status_code == 200
    assert [row.kind for row in api.rows(WebhookDelivery)] == ["case.claimed"]


def test_a_failing_receiver_is_tried_later_and_nothing_overtakes(api: Api) -> None:
    with receiving() as receiver:
        webhook(api, receiver.url)
        declined(api)
        receiver.status = 500
        drain(api)
        assert len(receiver.got) == 1
        drain(api)
        assert len(receiver.got) == 1, "it must wait before it is tried again"
        api.clock.moment += timedelta(seconds=6)
        drain(api)
        assert len(receiver.got) == 2
        receiver.status = 204
        api.clock.moment += timedelta(minutes=1)
        drain(api)
        sent = [headers["webhook-id"] for headers, _ in receiver.got]
        assert sent[0] == sent[1] == sent[2]
        assert sent[2:] == list(dict.fromkeys(sent))
    rows = api.rows(WebhookDelivery)
    assert sent[2:] == [row.message_id for row in rows]
    assert [row.attempts for row in rows] == [3] + [1] * (len(rows) - 1)


def test_a_receiver_that_is_down_or_hangs_stops_no_other(api: Api) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        gone = f"http://127.0.0.1:{found.getsockname()[1]}/"
    release = threading.Event()
    with receiving() as hanging, receiving() as good:

        def hang() -> None:
            release.wait(10)

        hanging.before_answer = hang
        for url in (gone, hanging.url, good.url):
            webhook(api, url, "case.claimed")
        declined(api)
        one = sender(api, seconds=0.3)
        while one.turn():
            pass
        release.set()
        assert kinds(good) == ["case.claimed"]
    rows = sorted(api.rows(WebhookDelivery), key=lambda row: row.endpoint_id)
    assert [row.state for row in rows] == ["waiting", "waiting", "delivered"]
    assert [bool(row.fault) for row in rows] == [True, True, False]


def test_two_senders_send_each_message_once(api: Api) -> None:
    with receiving() as receiver:
        webhook(api, receiver.url)
        for _ in range(3):
            declined(api)
        with ThreadPoolExecutor(4) as pool:
            for each in [pool.submit(drain, api) for _ in range(4)]:
                each.result()
        ids = [headers["webhook-id"] for headers, _ in receiver.got]
    assert ids == [row.message_id for row in api.rows(WebhookDelivery)]


def test_a_sender_that_died_is_followed_by_another_after_its_lease(api: Api) -> None:
    with receiving() as receiver:
        webhook(api, receiver.url, "case.claimed")
        declined(api)
        dead = sender(api)
        assert dead._take(uuid.uuid4()) is not None
        drain(api)
        assert receiver.got == []
        api.clock.moment += timedelta(seconds=66)
        drain(api)
        assert kinds(receiver) == ["case.claimed"]


def test_the_undeliverable_is_kept_and_sent_again_on_demand(api: Api) -> None:
    admin = api.program(Role.ADMIN)
    with receiving() as receiver:
        made = webhook(api, receiver.url, "case.claimed", give_up_hours=1)
        declined(api)
        receiver.status = 400
        drain(api)
        api.clock.moment += timedelta(hours=2)
        drain(api)
        path = f"/v1/webhooks/{made['id']}"
        (dead,) = admin.get(f"{path}/deliveries?state=dead").json()["items"]
        assert (dead["kind"], dead["status"], dead["attempts"]) == ("case.claimed", 400, 2)
        assert admin.get(path).json()["dead"] == 1
        receiver.status = 200
        assert admin.post(f"{path}/replay", json={"deliveries": [dead["id"] + 1]}).json() == {
            "count": 0
        }
        assert admin.post(f"{path}/replay", json={}).json() == {"count": 1}
        drain(api)
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
        assert api.rows(WebhookDelivery)[0].state == "delivered"


def test_both_secrets_hold_while_one_replaces_the_other(api: Api) -> None:
    admin = api.program(Role.ADMIN)
    with receiving() as receiver:
        made = webhook(api, receiver.url)
        path = f"/v1/webhooks/{made['id']}"
        new = admin.post(f"{path}/rotate", json={"hours": 2}).json()
        assert new["secret"] != made["secret"]
        assert admin.post(f"{path}/test").json() == {"count": 1}
        drain(api)
        for secret in (made["secret"], new["secret"]):
            assert verify(secret, *receiver.got[0], api.clock.now()).startswith("test:")
        api.clock.moment += timedelta(hours=3)
        admin.post(f"{path}/test")
        drain(api)
        verify(new["secret"], *receiver.got[1], api.clock.now())
        with pytest.raises(Invalid, match="no signature"):
            verify(made["secret"], *receiver.got[1], api.clock.now())
    assert "secret" not in admin.get(path).json()


def test_a_stopped_webhook_is_told_of_nothing(api: Api) -> None:
    admin = api.program(Role.ADMIN)
    with receiving() as receiver:
        made = webhook(api, receiver.url, "case.claimed")
        path = f"/v1/webhooks/{made['id']}"
        assert admin.patch(path, json={"enabled": False}).json()["enabled"] is False
        declined(api)
        assert api.rows(WebhookDelivery) == []
        admin.post(f"{path}/test")
        drain(api)
        assert receiver.got == []
        admin.patch(path, json={"enabled": True})
        drain(api)
        assert kinds(receiver) == ["webhook.test"]
    acts = [row.action for row in api.rows(AuditRow) if row.action.startswith("webhook.")]
    assert acts == [f"webhook.{what}" for what in ("created", "changed", "tested", "changed")]


def test_wrong_webhooks_are_refused(api: Api) -> None:
    admin = api.program(Role.ADMIN)
    for body in (
        {"url": "ftp://example.org", "events": ["case.*"]},
        {"url": "https://example.org", "events": []},
        {"url": "https://example.org", "events": ["everything"]},
        {"url": "https://a:b@example.org", "events": ["case.*"]},
    ):
        assert admin.post("/v1/webhooks", json=body).status_code == 422
    assert api.rows(WebhookEndpoint) == []


@given(st.integers(1, 10_000), st.integers())
def test_waits_grow_to_a_limit_and_differ(failures: int, seed: int) -> None:
    wait = wait_after(failures, Random(seed))
    full = min(LONGEST_WAIT, timedelta(seconds=5) * 2 ** min(failures - 1, 20))
    assert full / 2 <= wait <= full
