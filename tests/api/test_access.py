"""Closed by default: every route has a permission, and each role reaches exactly what it may."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from fraudwatch.casework.masking import Lens, masked
from fraudwatch.casework.permissions import Everybody, guards, require_guards
from fraudwatch.domain.access import ROLE_PERMISSIONS, SERVICES, Actor, Permission, Role
from fraudwatch.errors import ConfigurationError
from tests.api.conftest import Api

POLICY = {
    "review_from": 0.9,
    "high_risk_from": 0.95,
    "no_history_amount": "10",
    "no_history_count": 1,
    "blind_spot_rate": 0,
    "comment": "test",
}
DEAD_LETTER = "/v1/dead-letters/{topic}/{partition}/{offset}"
RESOLVE = {"resolution": "fraud", "reason_codes": ["scam"]}

# What each route needs. None: signed in is enough. A route that is missing here fails the test.
NEEDED: dict[tuple[str, str], Permission | None] = {
    ("POST", "/v1/logout"): None,
    ("GET", "/v1/me"): None,
    ("GET", "/v1/cases"): Permission.CASES_READ,
    ("POST", "/v1/cases/next"): Permission.CASES_WORK,
    ("GET", "/v1/cases/{case_id}"): Permission.CASES_READ,
    ("GET", "/v1/cases/{case_id}/detail"): Permission.CASES_READ,
    ("POST", "/v1/cases/{case_id}/first-judgement"): Permission.CASES_WORK,
    ("GET", "/v1/cases/{case_id}/brief"): Permission.CASES_WORK,
    ("POST", "/v1/cases/{case_id}/brief"): Permission.CASES_WORK,
    ("PUT", "/v1/cases/{case_id}/watch"): Permission.CASES_READ,
    ("DELETE", "/v1/cases/{case_id}/watch"): Permission.CASES_READ,
    ("GET", "/v1/cases/{case_id}/attachments"): Permission.CASES_READ,
    ("POST", "/v1/cases/{case_id}/attachments"): Permission.CASES_WORK,
    ("GET", "/v1/cases/{case_id}/attachments/{attachment_id}"): Permission.CASES_READ,
    ("GET", "/v1/mentions"): Permission.CASES_READ,
    ("GET", "/v1/search"): Permission.CASES_READ,
    ("POST", "/v1/cases/{case_id}/claim"): Permission.CASES_WORK,
    ("POST", "/v1/cases/{case_id}/renew"): Permission.CASES_WORK,
    ("POST", "/v1/cases/{case_id}/release"): Permission.CASES_WORK,
    ("POST", "/v1/cases/{case_id}/notes"): Permission.CASES_WORK,
    ("POST", "/v1/cases/{case_id}/resolve"): Permission.CASES_WORK,
    ("POST", "/v1/cases/{case_id}/reopen"): Permission.CASES_REOPEN,
    ("POST", "/v1/cases/{case_id}/uphold"): Permission.CASES_REOPEN,
    ("POST", "/v1/cases/{case_id}/take-over"): Permission.CASES_REASSIGN,
    ("POST", "/v1/cases/{case_id}/seen"): Permission.CASES_WORK,
    ("POST", "/v1/cases/{case_id}/wait"): Permission.CASES_WORK,
    ("POST", "/v1/cases/{case_id}/escalate"): Permission.CASES_WORK,
    ("POST", "/v1/cases"): Permission.CASES_WORK,
    ("POST", "/v1/cases/{case_id}/links"): Permission.CASES_WORK,
    ("POST", "/v1/cases/{case_id}/merge"): Permission.CASES_WORK,
    ("GET", "/v1/holds/{transaction_id:path}"): Permission.TRANSACTIONS_WRITE,
    ("POST", "/v1/disputes"): Permission.DISPUTES_WRITE,
    ("GET", "/v1/disputes/{token}"): Permission.DISPUTES_WRITE,
    ("GET", "/v1/customer-texts"): Permission.DISPUTES_WRITE,
    ("GET", "/v1/casework-rules"): Permission.POLICIES_ACTIVATE,
    ("POST", "/v1/casework-rules"): Permission.POLICIES_ACTIVATE,
    ("GET", "/v1/reason-codes"): Permission.CASES_READ,
    ("GET", "/v1/queues"): Permission.CASES_READ,
    ("GET", "/v1/board"): Permission.BOARD_READ,
    ("POST", "/v1/cases/bulk"): Permission.CASES_WORK,
    ("GET", "/v1/views"): Permission.CASES_READ,
    ("POST", "/v1/views"): Permission.CASES_READ,
    ("PUT", "/v1/views/{view_id}"): Permission.CASES_READ,
    ("DELETE", "/v1/views/{view_id}"): Permission.CASES_READ,
    ("POST", "/v1/queue/next"): Permission.CASES_WORK,
    ("GET", "/v1/queue-rules"): Permission.CASES_READ,
    ("POST", "/v1/queue-rules"): Permission.QUEUES_MANAGE,
    ("GET", "/v1/queues/{name}/members"): Permission.CASES_READ,
    ("PUT", "/v1/queues/{name}/members"): Permission.CASES_READ,
    ("GET", "/v1/queue-workers"): Permission.QUEUES_MANAGE,
    ("PUT", "/v1/queue-workers/{user_id}"): Permission.QUEUES_MANAGE,
    ("PUT", "/v1/queue-workers/{user_id}/away"): Permission.QUEUES_MANAGE,
    ("GET", "/v1/queue/me"): Permission.CASES_WORK,
    ("PUT", "/v1/queue/me/away"): Permission.CASES_WORK,
    ("POST", "/v1/queue/me/own-accounts"): Permission.CASES_WORK,
    ("GET", "/v1/transactions"): Permission.TRANSACTIONS_READ,
    ("GET", "/v1/transactions/{transaction_id:path}"): Permission.TRANSACTIONS_READ,
    ("POST", "/v1/transactions"): Permission.TRANSACTIONS_WRITE,
    ("POST", "/v1/transactions/batch"): Permission.TRANSACTIONS_WRITE,
    ("GET", "/v1/decisions/{transaction_id:path}"): Permission.TRANSACTIONS_WRITE,
    ("GET", "/v1/accounts/{account_id:path}"): Permission.TRANSACTIONS_READ,
    ("POST", "/v1/labels"): Permission.LABELS_WRITE,
    ("GET", "/v1/transactions/{transaction_id:path}/labels"): Permission.TRANSACTIONS_READ,
    ("POST", "/v1/labels"): Permission.LABELS_WRITE,
    ("GET", "/v1/transactions/{transaction_id:path}/labels"): Permission.TRANSACTIONS_READ,
    ("GET", "/v1/dead-letters"): Permission.DEAD_LETTERS_READ,
    ("GET", DEAD_LETTER): Permission.DEAD_LETTERS_READ,
    ("POST", f"{DEAD_LETTER}/reveal"): Permission.DEAD_LETTERS_REVEAL,
    ("POST", f"{DEAD_LETTER}/replay"): Permission.DEAD_LETTERS_REPLAY,
    ("POST", "/v1/dead-letters/replay"): Permission.DEAD_LETTERS_REPLAY,
    ("GET", "/v1/policies"): Permission.POLICIES_READ,
    ("POST", "/v1/policies"): Permission.POLICIES_PROPOSE,
    ("POST", "/v1/policies/{policy_id}/activate"): Permission.POLICIES_ACTIVATE,
    ("GET", "/v1/models"): Permission.MODELS_READ,
    ("POST", "/v1/models/{model_id}/promote"): Permission.MODELS_PROMOTE,
    ("GET", "/v1/audit"): Permission.AUDIT_READ,
    ("GET", "/v1/audit/looks"): Permission.AUDIT_READ,
    ("GET", "/v1/audit/unmaskings"): Permission.AUDIT_READ,
    ("GET", "/v1/audit/verify"): Permission.AUDIT_READ,
    ("POST", "/v1/unmaskings"): Permission.PERSONAL_UNMASK,
    ("GET", "/v1/events"): Permission.CASES_READ,
    ("GET", "/v1/cases/{case_id}/file"): Permission.CASES_READ,
    ("GET", "/v1/exports/cases"): Permission.CASES_READ,
    ("GET", "/v1/exports/transactions"): Permission.TRANSACTIONS_READ,
    ("GET", "/v1/webhooks"): Permission.WEBHOOKS_READ,
    ("POST", "/v1/webhooks"): Permission.WEBHOOKS_MANAGE,
    ("GET", "/v1/webhooks/{webhook_id}"): Permission.WEBHOOKS_READ,
    ("PATCH", "/v1/webhooks/{webhook_id}"): Permission.WEBHOOKS_MANAGE,
    ("GET", "/v1/webhooks/{webhook_id}/deliveries"): Permission.WEBHOOKS_READ,
    ("POST", "/v1/webhooks/{webhook_id}/rotate"): Permission.WEBHOOKS_MANAGE,
    ("POST", "/v1/webhooks/{webhook_id}/test"): Permission.WEBHOOKS_MANAGE,
    ("POST", "/v1/webhooks/{webhook_id}/replay"): Permission.WEBHOOKS_MANAGE,
    ("GET", "/metrics"): Permission.METRICS_READ,
    ("GET", "/v1/users"): Permission.USERS_READ,
    ("POST", "/v1/users"): Permission.USERS_MANAGE,
    ("GET", "/v1/users/{user_id}"): Permission.USERS_READ,
    ("PATCH", "/v1/users/{user_id}"): Permission.USERS_MANAGE,
    ("POST", "/v1/users/{user_id}/reset-password"): Permission.USERS_MANAGE,
    ("POST", "/v1/users/{user_id}/reset-second-factor"): Permission.USERS_MANAGE,
    ("GET", "/v1/users/{user_id}/sessions"): Permission.USERS_READ,
    ("DELETE", "/v1/users/{user_id}/sessions"): Permission.USERS_MANAGE,
    ("GET", "/v1/users/{user_id}/tokens"): Permission.USERS_READ,
    ("POST", "/v1/users/{user_id}/tokens"): Permission.USERS_MANAGE,
    ("DELETE", "/v1/users/{user_id}/tokens/{token_id}"): Permission.USERS_MANAGE,
    ("POST", "/v1/login/code"): None,
}
# For people in a browser's session; tokens are refused.
OWN = {
    ("POST", "/v1/me/password"),
    ("GET", "/v1/me/second-factor"),
    ("POST", "/v1/me/second-factor"),
    ("POST", "/v1/me/second-factor/confirm"),
    ("POST", "/v1/me/second-factor/remove"),
    ("POST", "/v1/me/recovery-codes"),
    ("GET", "/v1/me/sessions"),
    ("DELETE", "/v1/me/sessions"),
    ("DELETE", "/v1/me/sessions/{session_id}"),
    ("GET", "/v1/me/tokens"),
    ("POST", "/v1/me/tokens"),
    ("DELETE", "/v1/me/tokens/{token_id}"),
}
PUBLIC = {
    ("POST", "/v1/login"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/openapi.json"),
}
BODIES: dict[str, object] = {
    "/v1/cases/{case_id}/notes": {"text": "x"},
    "/v1/cases/{case_id}/resolve": RESOLVE,
    "/v1/cases/{case_id}/reopen": {"reason": "x"},
    "/v1/cases/{case_id}/uphold": {"reason": "x"},
    "/v1/cases/{case_id}/take-over": {"reason": "x"},
    "/v1/cases/{case_id}/first-judgement": {"judgement": "unsure"},
    "/v1/cases/{case_id}/brief": {"language": "en", "text": "x"},
    "/v1/cases/{case_id}/wait": {"reason": "x", "until": "2026-03-02T13:00:00Z"},
    "/v1/cases/{case_id}/escalate": {"reason": "x"},
    "/v1/cases": {"account_id": "acc-1", "reason": "x"},
    "/v1/cases/{case_id}/links": {"case_id": 2, "reason": "x"},
    "/v1/cases/{case_id}/merge": {"case_id": 2, "version": 1, "reason": "x"},
    "/v1/disputes": {"token": "x"},
    "/v1/casework-rules": {"second_share": 0, "dispute_hours": 1, "comment": "x"},
    "/v1/labels": {
        "labels": [
            {
                "transaction_id": "x",
                "fraud": True,
                "source": "appeal",
                "known_at": "2026-03-01T00:00:00Z",
            }
        ]
    },
    "/v1/labels": {
        "labels": [
            {
                "transaction_id": "x",
                "fraud": True,
                "source": "appeal",
                "known_at": "2026-03-01T00:00:00Z",
            }
        ]
    },
    "/v1/policies": POLICY,
    "/v1/queue-rules": {"queues": [{"name": "rest", "title": "x"}], "comment": "x"},
    "/v1/queues/{name}/members": {"members": {}},
    "/v1/cases/bulk": {"action": "release", "items": [{"case_id": 1, "version": 1}]},
    "/v1/views": {"name": "x", "filter": {}},
    "/v1/views/{view_id}": {"name": "x", "filter": {}},
    "/v1/queue-workers/{user_id}": {},
    "/v1/queue-workers/{user_id}/away": {},
    "/v1/queue/me/away": {},
    "/v1/queue/me/own-accounts": {"account_id": "acc-1"},
    f"{DEAD_LETTER}/reveal": {"why": "x"},
    f"{DEAD_LETTER}/replay": {"why": "x"},
    "/v1/dead-letters/replay": {"why": "x"},
    "/v1/unmaskings": {"case_id": 1, "field": "account_id", "why": "test"},
    "/v1/login/code": {"code": "000000"},
    "/v1/webhooks": {"url": "https://example.org/x", "events": ["case.*"]},
    "/v1/webhooks/{webhook_id}": {"enabled": False},
    "/v1/webhooks/{webhook_id}/rotate": {"hours": 1},
    "/v1/webhooks/{webhook_id}/replay": {},
    "/v1/users": {"name": "x", "role": "analyst"},
    "/v1/users/{user_id}": {"display_name": "x"},
    "/v1/users/{user_id}/tokens": {"name": "x"},
    "/v1/me/password": {"current": "x", "new": "x"},
    "/v1/me/second-factor": {"password": "x"},
    "/v1/me/second-factor/confirm": {"code": "000000"},
    "/v1/me/second-factor/remove": {"password": "x"},
    "/v1/me/recovery-codes": {"password": "x"},
    "/v1/me/tokens": {"name": "x"},
}
APART = {"/metrics", "/health", "/ready", "/openapi.json"}
IDS = {"case_id": "1", "transaction_id": "tx-000000", "account_id": "acc-1"}
IDS |= {"topic": "transactions", "partition": "0", "offset": "1", "token": "hold_x"}
IDS |= {"name": "rest", "view_id": "999"}
IDS |= {"webhook_id": "999"}
IDS |= {"user_id": "999", "session_id": "999", "token_id": "999"}
IDS |= {"topic": "transactions", "partition": "0", "offset": "1"}

IDS |= {"attachment_id": "999"}


def rest_routes(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of all routes that give no pages."""
    return {
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        if route.path is not None and (route.path.startswith("/v1/") or route.path in APART)
        for method in route.methods or ()
    }


def test_every_route_names_its_permission(api: Api) -> None:
    """A route added without thought must not become one for everybody."""
    for route in iter_route_contexts(api.app.routes):
        if route.original_route.__class__.__name__ != "Mount":
            assert guards(route), f"{route.path} is open to all"
    assert rest_routes(api.app) == NEEDED.keys() | PUBLIC | OWN
    open_to_all = {
        (method, route.path)
        for route in iter_route_contexts(api.app.routes)
        if route.path is not None and (route.path.startswith("/v1/") or route.path in APART)
        if any(isinstance(guard, Everybody) for guard in guards(route))
        for method in route.methods or ()
    }
    assert open_to_all == PUBLIC


def test_an_application_with_an_open_route_does_not_start(api: Api) -> None:
    @api.app.get("/v1/leak")
    def leak() -> str:
        return "everything"

    with pytest.raises(ConfigurationError, match="/v1/leak"):
        require_guards(api.app, unguarded=frozenset({"/static"}))


def test_each_role_reaches_exactly_what_it_may(api: Api) -> None:
    with api.seed() as seed:
        seed.case("acc-1")
    for (method, path), needed in NEEDED.items():
        url = path.replace(":path", "").format(**IDS, policy_id="999", model_id="999")
        asked = method == "GET" and path in {"/v1/transactions", "/v1/exports/transactions"}
        params = {"account_id": "acc-1"} if asked else None
        body = BODIES.get(path)
        nobody = api.client().request(method, url, json=body, params=params)
        assert nobody.status_code == 401, path
        assert nobody.headers["www-authenticate"] == "Bearer"
        for role in Role:
            answer = api.program(role).request(method, url, json=body, params=params)
            may = needed is None or needed in ROLE_PERMISSIONS[role]
            refused = answer.status_code in {401, 403} and answer.json()["code"] == "not-allowed"
            assert refused is not may, f"{role} {method} {path}: {answer.status_code} {answer.text}"
            assert answer.status_code < 500, answer.text


def test_an_own_account_is_for_its_person_in_a_session(api: Api) -> None:
    """A token that leaked must not change the password, or make other tokens."""
    people = [role for role in Role if role not in SERVICES]
    with api.seed() as seed:
        for role in people:
            seed.user(f"{role.value}-1", role)
    for role in people:
        client, csrf = api.browser(f"{role.value}-1")
        for method, path in sorted(OWN):
            url, body = path.format(**IDS), BODIES.get(path)
            assert api.client().request(method, url, json=body).status_code == 401
            refused = api.program(role).request(method, url, json=body)
            assert (refused.status_code, refused.json()["code"]) == (403, "session-needed"), path
        for method, path in sorted(OWN):
            url, body = path.format(**IDS), BODIES.get(path)
            headers = {"X-CSRF-Token": csrf}
            answer = client.request(method, url, json=body, headers=headers)
            assert answer.status_code < 500, answer.text
            if answer.status_code == 403:
                assert answer.json()["code"] in {"wrong-password", "wrong-code"}, path
            if answer.status_code == 401:  # five wrong passwords in one session end it
                client, csrf = api.browser(f"{role.value}-1")


def test_personal_data_are_masked_for_those_who_need_them_not(api: Api) -> None:
    """Officers and auditors see that rows belong together, not to whom."""
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
        transaction = seed.transaction("acc-000000000111").transaction_id
    secrets = (
        "acc-000000000111",
        "192.0.2.17",
        "counterparty-77",
        "somebody@example.org",
        "48.85661",
    )
    for path in (
        f"/v1/cases/{case_id}",
        "/v1/cases",
        f"/v1/transactions/{transaction}",
        "/v1/transactions?account_id=acc-000000000111",
        "/v1/accounts/acc-000000000111",
    ):
        for role in (Role.RISK_OFFICER, Role.AUDITOR, Role.SERVICE):
            answer = api.program(role).get(path)
            if answer.status_code == 200:
                assert not [secret for secret in secrets if secret in answer.text], path
            else:
                assert role is Role.SERVICE
                assert answer.status_code == 403
        assert "acc-000000000111" in api.program(Role.ANALYST).get(path).text
    seen = api.program(Role.AUDITOR).get(f"/v1/transactions/{transaction}").json()
    assert seen["account_id"].startswith("acc-…111~")
    assert (seen["latitude"], seen["longitude"]) == (48.9, 2.4)
    assert seen["attributes"] == {"score": 0.25, "email": "…"}
    full = api.program(Role.ANALYST).get(f"/v1/transactions/{transaction}").json()
    assert full["ip"] == "192.0.2.17"
    assert full["customer_id"] == "customer-of-acc-000000000111"


def test_masks_link_equal_values_and_hide_short_ones() -> None:
    key = b"k" * 32
    assert masked("acc-000000000111", key) == masked("acc-000000000111", key)
    assert masked("acc-000000000111", key) != masked("acc-100000000111", key)
    assert masked("acc-000000000111", key) != masked("acc-000000000111", b"l" * 32)
    assert masked("4711", key).startswith("…~")
    actor = Actor(1, "x", Role.ANALYST, True, frozenset({Permission.PERSONAL_READ}))
    assert Lens(actor, key).id("4711") == "4711"
