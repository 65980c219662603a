"""Late truth by REST and from files: nothing lost, nothing doubled, decisions raised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as papq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL
from typer.testing import CliRunner

from fraudwatch.casework.label_files import BadLine, Columns, read_labels
from fraudwatch.casework.models import AuditRow, LabelRow
from fraudwatch.cli import app
from fraudwatch.domain.access import Role
from fraudwatch.errors import ConfigurationError
from tests.api.cases import HABIT, a_case, act
from tests.api.conftest import Api
from tests.api.seed import NOW

TIME = "2026-03-01T10:00:00Z"


def told(transaction_id: str = "tx-000000", **values: Any) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "fraud": True,
        "source": "chargeback",
        "known_at": TIME,
    } | values


def test_a_label_sent_again_is_kept_once(api: Api) -> None:
    """A sender that lost the answer sends again; a doubled chargeback would weigh twice."""
    service = api.program(Role.SERVICE)
    both = {"labels": [told(), told(), told("tx-000001", source="appeal", fraud=False)]}
    assert service.post("/v1/labels", json=both).json() == {"new": 2, "known": 1, "raised": []}
    assert service.post("/v1/labels", json=both).json() == {"new": 0, "known": 3, "raised": []}
    assert len(api.rows(LabelRow)) == 2


def test_one_bad_label_refuses_all(api: Api) -> None:
    service = api.program(Role.SERVICE)
    for bad in (
        told(source="analyst"),
        told(known_at="2026-03-01T10:00:00"),
        told(known_at="2027-01-01T00:00:00Z"),
        told(transaction_id="a\x00b"),
        told(verdict="x"),
    ):
        answer = service.post("/v1/labels", json={"labels": [told(), bad]})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert api.rows(LabelRow) == []


def test_a_label_against_a_decision_raises_its_case(api: Api) -> None:
    """The later truth reaches a person; it does not change what was decided."""
    case_id = a_case(api)
    ana = api.program(Role.ANALYST)
    act(ana, case_id, "claim")
    assert act(ana, case_id, "resolve", **HABIT).status_code == 200
    transaction = ana.get(f"/v1/cases/{case_id}").json()["alerts"][0]["transaction"]
    label = {"labels": [told(transaction["transaction_id"])]}
    service = api.program(Role.SERVICE, "acquirer")
    assert service.post("/v1/labels", json=label).json()["raised"] == [case_id]
    assert service.post("/v1/labels", json=label).json()["raised"] == []
    case = ana.get(f"/v1/cases/{case_id}").json()
    assert (case["status"], case["resolution"]) == ("resolved", "legitimate")
    assert case["raised_why"] == "chargeback"
    history = ana.get(f"/v1/transactions/{transaction['transaction_id']}/labels").json()["labels"]
    assert [(one["source"], one["fraud"], one["counts"], one["by"]) for one in history] == [
        ("analyst", False, False, "analyst-user"),
        ("chargeback", True, True, "acquirer"),
    ]


def test_history_of_what_nobody_knows_is_not_found(api: Api) -> None:
    analyst = api.program(Role.ANALYST)
    assert analyst.get("/v1/transactions/none/labels").status_code == 404
    with api.seed() as seed:
        known = seed.transaction("acc-1").transaction_id
    assert analyst.get(f"/v1/transactions/{known}/labels").json() == {"labels": []}
    api.program(Role.SERVICE).post("/v1/labels", json={"labels": [told("before/it")]})
    early = analyst.get("/v1/transactions/before/it/labels").json()["labels"]
    assert [one["counts"] for one in early] == [True]


def run(database_url: URL, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    address = database_url.render_as_string(hide_password=False)
    monkeypatch.setenv("FRAUDWATCH_DATABASE_URL", address.replace("+psycopg", ""))
    return CliRunner().invoke(app, ["labels", "import", *arguments])


def test_a_file_comes_in_once_and_its_bad_lines_are_named(
    api: Api, database_url: URL, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "chargebacks.csv"
    file.write_text(f"REF,KNOWN\ntx-1,{TIME}\n,{TIME}\ntx-2,yesterday\ntx-3,{TIME}\ntx-1,{TIME}\n")
    options = [str(file), "--column", "transaction_id=REF", "--column", "known_at=KNOWN"]
    options += ["--all", "source=chargeback", "--all", "fraud=yes"]
    checked = run(database_url, monkeypatch, *options, "--check")
    assert "3 labels would come in, 2 lines are bad" in checked.output
    assert api.rows(LabelRow) == []
    first = run(database_url, monkeypatch, *options)
    assert first.exit_code == 1
    assert "chargebacks.csv line 3: missing_field: transaction_id" in first.output
    assert "chargebacks.csv line 4: " in first.output
    assert "2 labels taken in, 1 known before, 2 bad lines, 0 cases raised" in first.output
    second = run(database_url, monkeypatch, *options)
    assert "0 labels taken in, 3 known before" in second.output
    assert [row.transaction_id for row in api.rows(LabelRow)] == ["tx-1", "tx-3"]
    assert [row.data["new"] for row in api.rows(AuditRow) if row.action == "labels.imported"] == [
        2,
        0,
    ]


PLAIN = Columns({}, {})


def test_all_kinds_of_files_give_the_same_labels(tmp_path: Path) -> None:
    rows = [told("tx-1"), told("tx-2", fraud=False, source="appeal")]
    lines = tmp_path / "a.jsonl"
    lines.write_text("\n".join(map(json.dumps, rows)) + "\n\nno json\n")
    table = tmp_path / "a.csv"
    table.write_text(
        "transaction_id,fraud,source,known_at\n"
        + "".join(f"{r['transaction_id']},{r['fraud']},{r['source']},{TIME}\n" for r in rows)
    )
    columns = pa.table(
        {
            "transaction_id": ["tx-1", "tx-2"],
            "fraud": [True, False],
            "source": ["chargeback", "appeal"],
            "known_at": pa.array([NOW.replace(day=1, hour=10)] * 2, pa.timestamp("us", "UTC")),
        }
    )
    papq.write_table(columns, tmp_path / "a.parquet")
    of = [list(read_labels(tmp_path / f"a.{kind}", PLAIN, NOW)) for kind in ("csv", "parquet")]
    from_lines = list(read_labels(lines, PLAIN, NOW))
    assert from_lines[-1] == BadLine(4, "is no JSON object")
    labels = [
        [one[1] for one in each if not isinstance(one, BadLine)] for each in (*of, from_lines)
    ]
    assert labels[0] == labels[1] == labels[2]
    assert len(labels[0]) == 2


def test_a_file_that_lacks_a_column_comes_not_in_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("transaction_id,fraud,source\ntx-1,1,appeal\n")
    with pytest.raises(ConfigurationError, match="known_at"):
        list(read_labels(file, PLAIN, NOW))
    with pytest.raises(ConfigurationError, match="no field 'colour'"):
        Columns({"colour": "x"}, {})


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=5))
def test_no_line_of_a_file_is_left_out(tmp_path_factory: Any, texts: list[str]) -> None:
    """Whatever stands in a line, it is a label or named."""
    file = tmp_path_factory.mktemp("lines") / "a.jsonl"
    lines = [json.dumps(told(text)) for text in texts]
    file.write_text("\n".join(lines))
    found = list(read_labels(file, PLAIN, NOW))
    assert len(found) == len(texts)
