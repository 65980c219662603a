"""The API's description: what FastAPI knows, and problems, ways to sign in, needed permissions."""

from __future__ import annotations

import json
from threading import Lock
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from fraudwatch.casework.permissions import (
    Everybody,
    Requires,
    RequiresToken,
    cookie_name,
    guards,
)
from fraudwatch.casework.problems import Problem, responses
from fraudwatch.casework.schemas_asking import ASKED
from fraudwatch.domain.transaction import json_schema
from fraudwatch.settings import Settings

TAGS = [
    {"name": "sessions", "description": "Sign in and out, and who am I."},
    {"name": "account", "description": "One's own account: second factor, sessions, tokens."},
    {"name": "users", "description": "People and services, for administrators."},
    {"name": "cases", "description": "The queue, and what people do to cases."},
    {"name": "queues", "description": "Which case comes next, for whom; the board of open work."},
    {"name": "disputes", "description": "Holds, and customers who object to them."},
    {"name": "transactions", "description": "What came in, and what was decided about it."},
    {"name": "labels", "description": "Late truth: chargebacks and appeals."},
    {"name": "dead letters", "description": "Messages that could not be used."},
    {"name": "asking", "description": "Decisions, for payment systems that wait for them."},
    {"name": "steering", "description": "Policies and models, for risk officers."},
    {"name": "audit", "description": "Who did what, as a hash chain."},
    {"name": "webhooks", "description": "Who is told of events, for administrators."},
    {"name": "files", "description": "Lists and cases as files."},
    {"name": "operations", "description": "For those who run it."},
]


def describe(app: FastAPI, settings: Settings) -> None:
    """Have `app.openapi()` give the whole description. It takes a second to make and few ask for
    it: it is made on the first call, once, whoever else calls meanwhile."""
    plain, lock = app.openapi, Lock()
    made: list[dict[str, Any]] = []

    def described() -> dict[str, Any]:
        with lock:
            if not made:
                made.append(_completed(plain(), app, settings))
            return made[0]

    app.openapi = described  # type: ignore[method-assign]


def _completed(schema: dict[str, Any], app: FastAPI, settings: Settings) -> dict[str, Any]:
    """With what FastAPI does not know: problems, ways to sign in, permissions."""
    components = schema["components"]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"].update(problem.pop("$defs"))
    components["schemas"]["Problem"] = problem
    components["schemas"].update(transaction_schemas())
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "An API token."},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie_name(settings),
            "description": "From `POST /v1/login`; unsafe methods also need `X-CSRF-Token`.",
        },
    }
    needed = _permissions(app)
    for path in schema["paths"].values():
        for operation in path.values():
            # FastAPI describes errors of validation in its own form, which we never send.
            if "422" in operation["responses"]:
                operation["responses"]["422"] = responses(422)[422]
            permission = needed[operation["operationId"]]
            operation["security"] = [] if permission is None else [{"token": []}, {"session": []}]
            if permission:
                operation["x-permission"] = permission
                operation["description"] += f"\n\nNeeds `{permission}`."
    return schema


def transaction_schemas() -> dict[str, Any]:
    """A transaction message, as `fraudwatch schema` prints it, with an example; its parts too."""
    text = json.dumps(json_schema()).replace("#/$defs/", "#/components/schemas/")
    schema: dict[str, Any] = json.loads(text)
    parts = schema.pop("$defs")
    del schema["$schema"]
    return {"Transaction": schema | {"examples": [ASKED]}, **parts}


def _permissions(app: FastAPI) -> dict[str, str | None]:
    """By operation: the permission it needs, "" where signed in is enough, None for everybody."""
    needed: dict[str, str | None] = {}
    for route in iter_route_contexts(app.routes):
        found = guards(route)
        named = [
            guard.permission.value for guard in found if isinstance(guard, Requires | RequiresToken)
        ]
        public = any(isinstance(guard, Everybody) for guard in found)
        needed[str(getattr(route, "operation_id", None))] = (
            None if public else " ".join(sorted(set(named)))
        )
    return needed
