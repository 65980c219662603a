"""Server-sent events: none missed, none of other units, rights looked at again and again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fraudwatch.casework import live
from fraudwatch.casework.live import Live
from fraudwatch.domain.access import Role
from tests.api.cases import a_case, act
from tests.api.conftest import Api


@pytest.fixture
def short(api: Api) -> Iterator[Api]:
    """Streams of two seconds, that look by themselves only after ten."""
    found = Live(api.services.engine, api.services.sessions, seconds=2, quiet=10, gap=0.01)
    api.app.state.live = found
    yield api
    found.close()


def events(text: str) -> list[dict[str, Any]]:
    found = []
    for part in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.split("\n") if line > ":~")
        if "data" in fields:
            found.append({"id": int(fields["id"]), **json.loads(fields["data"])})
    return found


def test_what_happens_meanwhile_is_told_and_what_was_before_is_not(short: Api) -> None:
    case_id = a_case(short)
    ana, olga = short.program(Role.ANALYST), short.program(Role.AUDITOR)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(olga.get, "/v1/events")
        time.sleep(0.7)
        assert act(ana, case_id, "claim").status_code == 200
        answer = following.result()
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = events(answer.text)
    assert [(one["case_id"], one["kind"]) for one in told] == [(case_id, "claimed")]
    assert set(told[0]) == {"id", "case_id", "kind", "at"}


def test_a_client_that_comes_again_gets_what_it_missed(short: Api) -> None:
    case_id = a_case(short)
    ana = short.program(Role.ANALYST)
    first = ana.get(f"/v1/cases/{case_id}").json()["events"][-1]["id"]
    act(ana, case_id, "claim")
    act(ana, case_id, "release")
    again = ana.get("/v1/events", headers={"Last-Event-ID": str(first)})
    assert [one["kind"] for one in events(again.text)] == ["claimed", "released"]


def test_wrong_ids_and_too_many_streams_are_refused(
    short: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana = short.program(Role.ANALYST)
    assert ana.get("/v1/events", headers={"Last-Event-ID": "x"}).status_code == 422
    monkeypatch.setattr(live, "MOST_STREAMS", 0)
    refused = ana.get("/v1/events")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
