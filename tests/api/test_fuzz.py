"""Whatever is sent, the API answers with a problem, not with an error of its own."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraudwatch.domain.access import Role
from tests.api.cases import act
from tests.api.conftest import Api

TEXTS = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["\ud800", "\x00", "1", "9" * 40, "fraud", "stolen_card", "…", "../..", "' OR 1=1 --"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        "version",
        "text",
        "note",
        "reason",
        "resolution",
        "reason_codes",
        "name",
        "password",
        "current",
        "new",
        "review_from",
        "no_history_amount",
        "comment",
        "screen",
        "account_id",
        "transaction_ids",
        "case_id",
        "token",
        "statement",
        "until",
        "transactions",
        "second_amount",
        "second_codes",
        "second_share",
        "dispute_hours",
    ]
)
BODIES = st.dictionaries(FIELDS, VALUES, max_size=6) | VALUES
POSTS = st.sampled_from(
    [
        "/v1/login",
        "/v1/me/password",
        "/v1/cases/1/claim",
        "/v1/cases/1/renew",
        "/v1/cases/1/release",
        "/v1/cases/1/notes",
        "/v1/cases/1/resolve",
        "/v1/cases/1/reopen",
        "/v1/cases/1/take-over",
        "/v1/cases/1/seen",
        "/v1/cases/1/wait",
        "/v1/cases/1/escalate",
        "/v1/cases/1/uphold",
        "/v1/cases",
        "/v1/cases/1/links",
        "/v1/cases/1/merge",
        "/v1/disputes",
        "/v1/casework-rules",
        "/v1/policies",
        "/v1/transactions",
        "/v1/transactions/batch",
    ]
)
LISTS = st.sampled_from(["/v1/cases", "/v1/transactions", "/v1/audit", "/v1/dead-letters"])
QUERIES = st.dictionaries(
    st.sampled_from(
        [
            "cursor",
            "limit",
            "status",
            "outcome",
            "account_id",
            "claimed_by",
            "opened_from",
            "late",
            "subject",
        ]
    ),
    TEXTS | st.integers().map(str),
    max_size=4,
)
PATHS = st.sampled_from(["/v1/cases/", "/v1/accounts/", "/v1/transactions/", "/v1/policies/"])

ONE_DATABASE = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def json_text(value: object) -> bytes:
    """JSON as a careless program writes it: NaN, lone surrogates and all."""

    return json.dumps(value).encode()


@pytest.fixture
def claimed(api: Api) -> None:
    """Case 1, claimed, so that requests get past the lease."""
    with api.seed() as seed:
        seed.case("acc-000000000111")
    assert act(api.program(Role.SENIOR), 1, "claim").status_code == 200


@pytest.mark.usefixtures("claimed")
@ONE_DATABASE
@given(path=POSTS, body=BODIES)
def test_no_body_breaks_the_api(api: Api, path: str, body: object) -> None:
    for role in (Role.SENIOR, Role.RISK_OFFICER):
        headers = {"content-type": "application/json", "if-match": '"2"'}
        answer = api.program(role).post(path, content=json_text(body), headers=headers)
        assert answer.status_code < 500, answer.text


@ONE_DATABASE
@given(path=LISTS, query=QUERIES, tail=TEXTS, start=PATHS)
def test_no_query_or_path_breaks_the_api(
    api: Api, path: str, query: dict[str, str], tail: str, start: str
) -> None:
    sent = {name: value.encode("utf-8", "replace").decode() for name, value in query.items()}
    for role in (Role.SENIOR, Role.AUDITOR):
        client = api.program(role)
        assert client.get(path, params=sent).status_code < 500
        assert client.get(start + quote(tail.encode("utf-8", "surrogatepass"))).status_code < 500
