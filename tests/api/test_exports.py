"""Lists as files and files of cases: complete, masked, logged, harmless."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from typing import Any

import pyarrow.parquet as papq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.casework import list_export
from fraudwatch.casework.list_export import harmless
from fraudwatch.casework.models import PendingLook
from fraudwatch.casework.routes import exports
from fraudwatch.domain.access import Role
from tests.api.cases import FRAUD, a_case, act
from tests.api.conftest import Api


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_all_pages_of_a_list_are_in_its_file(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE", 2)
    monkeypatch.setattr(list_export, "_GROUP", 3)
    made = [a_case(api, account=f"acc-00000000{n:04}") for n in range(5)]
    ana = api.program(Role.ANALYST)
    answer = ana.get("/v1/exports/cases")
    assert answer.headers["content-disposition"] == 'attachment; filename="cases.csv"'
    rows = table(answer.text)
    assert sorted(int(row["id"]) for row in rows) == made
    listed = {str(case["id"]): case for case in ana.get("/v1/cases").json()["items"]}
    for row in rows:
        for name in ("account_id", "status", "amount", "outcome"):
            assert row[name] == listed[row["id"]][name]
    parquet = papq.read_table(
        io.BytesIO(ana.get("/v1/exports/cases?format=parquet").content)
    ).to_pylist()
    assert [str(row["id"]) for row in parquet] == [row["id"] for row in rows]
    assert [row["opened_at"].isoformat() for row in parquet] == [row["opened_at"] for row in rows]
    assert table(ana.get("/v1/exports/cases?status=resolved").text) == []
    assert ana.get("/v1/exports/cases?opened_from=2026-03-02T12:00:00").status_code == 422


def test_a_file_is_masked_like_its_list_and_is_a_look(api: Api) -> None:
    a_case(api, account="acc-000000000111")
    assert "acc-000000000111" not in api.program(Role.AUDITOR).get("/v1/exports/cases").text
    assert api.rows(PendingLook) == []
    analyst = api.program(Role.ANALYST)
    assert "acc-000000000111" in analyst.get("/v1/exports/cases").text
    url = "/v1/exports/transactions?account_id=acc-000000000111"
    assert len(table(analyst.get(url).text)) == 1
    assert [row.data["where"] for row in api.rows(PendingLook)] == [
        "GET /v1/exports/cases",
        "GET /v1/exports/transactions",
    ]


def test_a_formula_in_a_file_is_text(api: Api) -> None:
    """A payer names an account `=HYPERLINK(…)`, and an analyst's spreadsheet would run it."""
    for n, start in enumerate("=+-@\t\r"):
        a_case(api, account=f"{start}cmd|' /C calc'!A{n}")
    rows = table(api.program(Role.ANALYST).get("/v1/exports/cases").text)
    assert len(rows) == 6
    assert {row["account_id"][:2] for row in rows} == {"'=", "'+", "'-", "'@", "'\t", "'\r"}


@given(st.text())
def test_no_text_of_a_file_begins_like_a_formula(text: str) -> None:
    shown = harmless(text)
    assert not shown.startswith(
        ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
    )
    assert shown in (text, f"'{text}")


def decided(api: Api) -> tuple[int, dict[str, Any]]:
    case_id = a_case(api, account="acc-000000000111")
    ana = api.program(Role.ANALYST)
    act(ana, case_id, "claim")
    act(ana, case_id, "notes", text="<script>alert(1)</script> called")
    assert act(ana, case_id, "resolve", **FRAUD).status_code == 200
    found: dict[str, Any] = ana.get(f"/v1/cases/{case_id}/file").json()
    return case_id, found


def test_a_case_file_is_complete_and_its_hash_can_be_checked(api: Api) -> None:
    case_id, found = decided(api)
    content = found["content"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == found["sha256"]
    assert content["case"]["id"] == case_id
    assert [(row["action"], row["reason_codes"]) for row in content["outcomes"]] == [
        ("decline", ["stolen_card"])
    ]
    assert [row["fraud"] for row in content["labels"]] == [True]
    assert "stolen_card" in content["definitions"]
    assert content["audit_row"] > 0
    assert content["masked"] is False


def test_a_printed_case_file_runs_and_loads_nothing(api: Api) -> None:
    case_id, _ = decided(api)
    page = api.program(Role.ANALYST).get(f"/v1/cases/{case_id}/file?format=html")
    assert page.headers["content-type"].startswith("text/html")
    assert "&lt;script&gt;" in page.text
    for word in ("<script", "src=", "href=", "url("):
        assert word not in page.text
    assert "'unsafe-inline'" not in page.headers["content-security-policy"]
    assert "style-src 'sha256-" in page.headers["content-security-policy"]
    masked = api.program(Role.AUDITOR).get(f"/v1/cases/{case_id}/file?format=html").text
    assert "acc-000000000111" not in masked
    assert "personal data are masked" in masked
