"""The API's description is complete, and its examples are true."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pydantic import BaseModel

from fraudwatch.casework import (
    bodies,
    bodies_bulk,
    bodies_cases,
    bodies_labels,
    bodies_people,
    bodies_queues,
    bodies_webhooks,
    schemas,
    schemas_asking,
    schemas_board,
    schemas_bulk,
    schemas_cases,
    schemas_disputes,
    schemas_labels,
    schemas_people,
    schemas_queues,
    schemas_webhooks,
)
from fraudwatch.domain.transaction import decode
from tests.api.conftest import Api


def test_the_description_is_complete(api: Api) -> None:
    """Each operation: its own id, a tag, a summary, problems, and examples for what it takes."""
    described = api.client().get("/openapi.json").json()
    operations = [
        (path, operation) for path in described["paths"].values() for operation in path.values()
    ]
    ids = [operation["operationId"] for _, operation in operations]
    assert len(ids) == len(set(ids)) >= 27
    for _, operation in operations:
        assert operation["tags"]
        assert operation["summary"]
        if operation["operationId"] not in {"health", "ready"}:
            assert any(status in operation["responses"] for status in ("401", "403"))
        for status, described_answer in operation["responses"].items():
            if status >= "400":
                assert list(described_answer["content"]) == ["application/problem+json"]
    schemas = described["components"]["schemas"]
    for name in ("SignIn", "NoteIn", "ResolveIn", "ReasonIn", "PolicyIn", "Problem"):
        assert schemas[name]["examples"], name
    assert "cdn" not in json.dumps(described).lower()
    for page in ("/docs", "/redoc"):
        assert api.client().get(page).status_code == 404


def test_examples_are_what_the_models_take_and_give() -> None:
    """An example that the API itself would refuse sends every reader the wrong way."""
    checked = 0
    modules = (
        bodies,
        bodies_bulk,
        bodies_cases,
        bodies_labels,
        bodies_people,
        bodies_queues,
        bodies_webhooks,
        schemas,
        schemas_asking,
        schemas_board,
        schemas_bulk,
        schemas_cases,
        schemas_disputes,
        schemas_labels,
        schemas_people,
        schemas_queues,
        schemas_webhooks,
    )
    for model in [model for module in modules for model in vars(module).values()]:
        if isinstance(model, type) and issubclass(model, BaseModel) and model is not BaseModel:
            for example in model.model_json_schema().get("examples", []):
                model.model_validate_json(json.dumps(example))
                checked += 1
    assert checked > 20
    decode(json.dumps(schemas_asking.ASKED).encode(), now=datetime.now(UTC))


def test_operations_say_which_permission_they_need(api: Api) -> None:
    paths = api.client().get("/openapi.json").json()["paths"]
    assert paths["/v1/cases"]["get"]["x-permission"] == "cases:read"
    assert paths["/v1/cases/{case_id}/reopen"]["post"]["x-permission"] == "cases:reopen"
    assert paths["/v1/me"]["get"]["security"] == [{"token": []}, {"session": []}]
    assert paths["/v1/login"]["post"]["security"] == []
