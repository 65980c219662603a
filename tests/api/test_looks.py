"""Every look at personal data leaves a row, and who sees nothing personal leaves none."""

from __future__ import annotations

from fraudwatch.casework import looks
from fraudwatch.casework.masking import pseudonym
from fraudwatch.casework.models import LookRow
from fraudwatch.domain.access import Role
from tests.api.conftest import Api

ACCOUNT = "acc-000000000111"


def seen(api: Api) -> list[LookRow]:
    with api.services.sessions.begin() as session:
        looks.seal(session)
    found: list[LookRow] = api.rows(LookRow)
    return found


def test_a_look_names_who_what_and_whom(api: Api) -> None:
    key = api.services.settings.require_secret()
    with api.seed() as seed:
        case_id = seed.case(ACCOUNT).id
        transaction = seed.transaction(ACCOUNT).transaction_id
    analyst = api.program(Role.ANALYST)
    for path in (
        f"/v1/cases/{case_id}",
        "/v1/cases",
        f"/v1/transactions/{transaction}",
        f"/v1/accounts/{ACCOUNT}",
    ):
        assert analyst.get(path).status_code == 200
    rows = seen(api)
    assert [row.subject for row in rows] == [
        f"case:{case_id}",
        "GET /v1/cases",
        f"transaction:{transaction}",
        f"account:{pseudonym(ACCOUNT, key)}",
    ]
    assert {row.actor for row in rows} == {"analyst-user"}
    for row in rows:
        assert pseudonym(ACCOUNT, key) in row.data["shown"]
        assert ACCOUNT not in f"{row.subject} {row.data}"
    assert pseudonym("192.0.2.17", key) in rows[2].data["shown"]

    auditor = api.program(Role.AUDITOR)
    found = auditor.get("/v1/audit/looks", params={"person": ACCOUNT}).json()["items"]
    assert [look["id"] for look in found] == [4, 3, 2, 1]
    assert found[3]["where"] == "GET /v1/cases/{case_id}"
    first = auditor.get("/v1/audit/looks", params={"limit": 3}).json()
    rest = auditor.get("/v1/audit/looks", params={"cursor": first["next_cursor"]}).json()
    assert [look["id"] for look in first["items"] + rest["items"]] == [4, 3, 2, 1]
    of_case = {"subject": f"case:{case_id}", "actor": "analyst-user"}
    assert len(auditor.get("/v1/audit/looks", params=of_case).json()["items"]) == 1
    other = {"person": "acc-000000000999"}
    assert auditor.get("/v1/audit/looks", params=other).json()["items"] == []
    assert auditor.get("/v1/audit/verify").json()["looks"]["rows"] == 4


def test_what_is_masked_or_refused_is_no_look(api: Api) -> None:
    """Or the log would name people who saw nothing."""
    with api.seed() as seed:
        case_id = seed.case(ACCOUNT).id
    for role in (Role.AUDITOR, Role.RISK_OFFICER):
        assert api.program(role).get(f"/v1/cases/{case_id}").status_code == 200
    analyst = api.program(Role.ANALYST)
    assert analyst.get("/v1/cases/4711").status_code == 404
    assert analyst.get("/v1/cases?account_id=acc-none").json()["items"] == []
    assert analyst.get("/v1/reason-codes").status_code == 200
    assert seen(api) == []


def test_pages_of_the_console_are_looks_too(api: Api) -> None:
    with api.seed() as seed:
        case_id = seed.case(ACCOUNT).id
        seed.user("ada")
    browser, _ = api.browser("ada")
    assert browser.get(f"/cases/{case_id}").status_code == 200
    assert [(row.actor, row.subject) for row in seen(api)] == [("ada", f"case:{case_id}")]
