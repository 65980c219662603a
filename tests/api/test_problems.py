"""Every error is a problem with a code and an id; nothing of our insides gets out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.engine import make_url

from fraudwatch.casework.app import create_app
from fraudwatch.casework.context import SessionDep
from fraudwatch.casework.db import open_engine, session_factory
from fraudwatch.casework.edge import MAX_BODY_BYTES, SECURITY_HEADERS
from fraudwatch.casework.models import User
from fraudwatch.casework.permissions import PUBLIC
from fraudwatch.domain.access import Role
from fraudwatch.domain.case import OPEN
from fraudwatch.errors import ConfigurationError
from fraudwatch.settings import load_settings
from tests.api.conftest import Api


def check(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["request_id"] == answer.headers["x-request-id"]
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value
    return problem


def test_every_kind_of_error_is_a_problem(api: Api) -> None:
    analyst = api.program(Role.ANALYST)
    check(analyst.get("/v1/nothing"), 404, "not-found")
    check(analyst.get("/v1/cases/4711"), 404, "not-found")
    check(analyst.get("/v1/transactions/none"), 404, "not-found")
    check(analyst.get("/v1/accounts/none"), 404, "not-found")
    check(analyst.get("/v1/accounts/%00"), 422, "invalid")
    check(analyst.delete("/v1/cases"), 405, "method-not-allowed")
    check(analyst.get("/v1/cases/x"), 422, "invalid")
    check(analyst.get(f"/v1/cases/{2**70}"), 422, "invalid")
    check(analyst.get("/v1/policies"), 403, "not-allowed")
    check(api.client().get("/v1/me"), 401, "not-signed-in")
    check(analyst.post("/v1/cases/1/notes", content=b"{"), 422, "invalid")
    check(analyst.post("/v1/cases/1/notes", json={"text": "x" * 20_000}), 422, "invalid")
    check(
        analyst.post("/v1/cases/1/notes", json={"text": "x"}, headers={"If-Match": "old"}),
        422,
        "invalid",
    )
    check(
        analyst.post(
            "/v1/cases/1/notes", json={"text": "x", "version": 2}, headers={"If-Match": '"3"'}
        ),
        422,
        "invalid",
    )


def test_oversized_bodies_are_refused(api: Api) -> None:
    """Announced or not: a body without a length is cut off while it comes in."""
    analyst = api.program(Role.ANALYST)
    big = b'{"text": "' + b"x" * MAX_BODY_BYTES + b'"}'
    headers = {"content-type": "application/json"}
    check(analyst.post("/v1/cases/1/notes", content=big, headers=headers), 413, "too-large")
    parts = (big[i : i + 4096] for i in range(0, len(big), 4096))
    check(analyst.post("/v1/cases/1/notes", content=parts, headers=headers), 413, "too-large")


def test_faults_do_not_repeat_what_was_sent(api: Api) -> None:
    """A password in an error would end up in somebody's log."""
    answer = api.client().post("/v1/login", json={"name": 7, "password": "hunter2hunter2"})
    problem = check(answer, 422, "invalid")
    assert [fault["field"] for fault in problem["errors"]] == ["body.name"]
    assert "hunter2" not in answer.text


def test_an_unforeseen_error_tells_nothing(api: Api) -> None:
    @api.app.get("/v1/broken", dependencies=[PUBLIC])
    def broken() -> None:
        raise RuntimeError("secret of our insides")

    answer = api.client().get("/v1/broken")
    check(answer, 500, "internal")
    assert "secret" not in answer.text


def test_work_whose_commit_fails_is_not_reported_as_done(api: Api) -> None:
    """The answer must not leave before the commit."""
    with api.services.sessions.begin() as session:
        session.execute(
            text(
                "CREATE FUNCTION refuse_late() RETURNS trigger LANGUAGE plpgsql AS $$"
                " BEGIN RAISE EXCEPTION 'too late'; END $$"
            )
        )
        session.execute(
            text(
                "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON users DEFERRABLE"
                " INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_late()"
            )
        )

    @api.app.post("/v1/late", dependencies=[PUBLIC])
    def late(session: SessionDep) -> dict[str, str]:
        session.add(User(name="x", display_name="x", kind="person", role="analyst"))
        return {"done": "yes"}

    answer = api.client().post("/v1/late")
    check(answer, 500, "internal")
    assert "too late" not in answer.text
    assert api.rows(User) == []


def test_a_database_that_is_away_is_said_to_be_away(api: Api) -> None:
    """Waiting helps: 503, and the process stays alive."""
    engine = open_engine(make_url("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    away = replace(api.services, engine=engine, sessions=session_factory(engine))
    api.app.state.services = away
    client = api.client(authorization="Bearer x")
    assert client.get("/health").json() == {"status": "ok"}
    check(client.get("/ready"), 503, "unavailable")
    answer = client.get("/v1/me")
    check(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "2"
    engine.dispose()


def test_ready_means_the_schema_is_ours(api: Api) -> None:
    assert api.client().get("/ready").json() == {"status": "ready"}
    with api.services.sessions.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    problem = check(api.client().get("/ready"), 503, "schema")
    assert "fraudwatch migrate" in problem["detail"]


def test_metrics_count_requests_by_route_and_open_cases(api: Api) -> None:
    """By the route's template: a path would put account ids into the metrics."""
    with api.seed() as seed:
        seed.case("acc-000000000111")
    api.program(Role.ANALYST).get("/v1/accounts/acc-000000000111")
    api.program(Role.ANALYST).get("/no/such/page")
    answer = api.program(Role.SERVICE).get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    open_cases = {s.labels["status"]: s.value for s in families["fraudwatch_open_cases"].samples}
    assert open_cases == {status.value: float(status == "new") for status in OPEN}
    routes = {s.labels["route"] for s in families["fraudwatch_request_seconds"].samples}
    assert {"/v1/accounts/{account_id:path}", "none"} <= routes
    assert not any("acc-" in route for route in routes)


def test_the_application_does_not_start_without_a_secret(api: Api) -> None:
    bare = replace(api.services, settings=load_settings(secret_key=""))
    with pytest.raises(ConfigurationError, match="FRAUDWATCH_SECRET_KEY"):
        create_app(bare)
