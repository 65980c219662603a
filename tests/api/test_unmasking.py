"""Who is not to see a person's data sees one field, says why, and leaves a row that others read."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fraudwatch.casework.masking import pseudonym
from fraudwatch.casework.models import AuditRow
from fraudwatch.domain.access import Role
from tests.api.conftest import Api
from tests.api.console import Browser

ACCOUNT = "acc-000000000111"
WHY = "The customer disputes the payment."


@pytest.fixture
def seeded(api: Api) -> tuple[int, str]:
    with api.seed() as seed:
        case_id = seed.case(ACCOUNT).id
        transaction_id = seed.transaction(ACCOUNT).transaction_id
    return case_id, transaction_id


def test_one_field_is_shown_and_reported(api: Api, seeded: tuple[int, str]) -> None:
    case_id, transaction_id = seeded
    officer = api.program(Role.RISK_OFFICER)
    values = {
        "account_id": ACCOUNT,
        "customer_id": f"customer-of-{ACCOUNT}",
        "ip": "192.0.2.17",
        "latitude": 48.85661,
        "attributes.email": "somebody@example.org",
        "attributes.none": None,
    }
    for field, value in values.items():
        body = {"transaction_id": transaction_id, "field": field, "why": WHY}
        answer = officer.post("/v1/unmaskings", json=body)
        assert (answer.status_code, answer.json()) == (200, {"field": field, "value": value})
    of_case = {"case_id": case_id, "field": "account_id", "why": WHY}
    assert officer.post("/v1/unmaskings", json=of_case).json()["value"] == ACCOUNT
    assert ACCOUNT not in officer.get(f"/v1/transactions/{transaction_id}").text

    found = api.program(Role.AUDITOR).get("/v1/audit/unmaskings").json()["items"]
    assert [row["field"] for row in reversed(found)] == [*values, "account_id"]
    assert {(row["actor"], row["why"]) for row in found} == {("risk_officer-user", WHY)}
    assert found[0]["subject"] == f"case:{case_id}"
    rows = [row for row in api.rows(AuditRow) if row.action == "personal.unmask"]
    assert rows[0].data["shown"] == pseudonym(ACCOUNT, api.services.settings.require_secret())
    assert not any(
        str(v) in f"{row.subject} {row.data}" for v in values.values() if v for row in rows
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"transaction_id": "tx-none", "field": "ip", "why": WHY}, 404),
        ({"case_id": 4711, "field": "account_id", "why": WHY}, 404),
        ({"case_id": 1, "field": "ip", "why": WHY}, 422),
        ({"transaction_id": "tx-000000", "field": "payload", "why": WHY}, 422),
        ({"transaction_id": "tx-000000", "field": "ip", "why": "    "}, 422),
        ({"transaction_id": "tx-000000", "field": "ip"}, 422),
        ({"field": "ip", "why": WHY}, 422),
    ],
)
def test_what_cannot_be_shown_leaves_no_row(
    api: Api, seeded: tuple[int, str], body: Mapping[str, object], status: int
) -> None:
    assert api.program(Role.AUDITOR).post("/v1/unmaskings", json=body).status_code == status
    assert not [row for row in api.rows(AuditRow) if row.action == "personal.unmask"]


def test_a_person_unmasks_on_the_page_of_a_payment(api: Api, seeded: tuple[int, str]) -> None:
    with api.seed() as seed:
        seed.user("otto", Role.AUDITOR)
        seed.user("ada")
    browser = Browser.signed_in(api, "otto")
    page = browser.get(f"/transactions/{seeded[1]}")
    assert ACCOUNT not in page.text
    page = browser.submit("/unmaskings", field="customer_id", why=WHY)
    assert f"customer-of-{ACCOUNT}" in page.text
    browser.get(f"/transactions/{seeded[1]}")
    page = browser.submit("/unmaskings", field="customer_id", why="  x  ")
    assert ACCOUNT not in browser.get("/audit/unmaskings").text
    assert WHY in browser.get("/audit/unmaskings").text
    assert "None yet" in browser.get("/audit/looks").text
    assert (
        "Show one masked field"
        not in Browser.signed_in(api, "ada").get(f"/transactions/{seeded[1]}").text
    )
