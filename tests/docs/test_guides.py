"""The guides tell the truth: files, numbers and codes that they name are those of the code."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import edge, password_strength, problems, throttle, tokens
from fraudwatch.casework.edge import MAX_BODY_BYTES
from fraudwatch.detectors.training import DEFAULT
from fraudwatch.domain.access import ROLE_PERMISSIONS, Permission, Role
from fraudwatch.domain.decision import Outcome
from fraudwatch.domain.label import PRECEDENCE
from fraudwatch.errors import FraudwatchError
from fraudwatch.history import COME, LEAST_CHARGEBACKS
from fraudwatch.settings import Settings
from fraudwatch.training_set import DEFAULT_PLAN
from tests.api.seed import Seed
from tests.docs.reference import described_api
from tests.docs.tracked import ROOT, tracked
from tests.e2e.running import Commands, status, until
from tests.kafka_broker import free_ports

GUIDES = ("api", "architecture", "detectors", "learning", "security")
TEXT = {name: (ROOT / f"docs/{name}.md").read_text() for name in GUIDES}
PLACE = re.compile(r"`((?:fraudwatch|streams|tests|docs|deploy|benchmarks)/[\w./-]*)`")
SETTING = re.compile(r"`?(FRAUDWATCH_[A-Z_]+)")


def _rows(text: str, header: str) -> list[list[str]]:
    """Cells of the table that begins with this header line."""
    body = text.split(f"{header}\n", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()[1:]]


@pytest.mark.parametrize("name", GUIDES)
def test_files_that_a_guide_names_exist(name: str) -> None:
    found = PLACE.findall(TEXT[name])
    assert [place for place in found if not (ROOT / place).exists()] == []


@pytest.mark.parametrize("name", GUIDES)
def test_settings_that_a_guide_names_exist(name: str) -> None:
    known = {f"FRAUDWATCH_{field.upper()}" for field in Settings.model_fields}
    assert set(SETTING.findall(TEXT[name])) <= known


def test_every_package_and_module_has_its_room() -> None:
    """A stranger finds each part of the program in the table of rooms."""
    table = TEXT["architecture"].split("## Rooms", 1)[1].split("## Promises", 1)[0]
    named = [ROOT / place for place in PLACE.findall(table)]
    homeless = {
        str(path)
        for path in tracked("*.py")
        if path.parts[0] in ("fraudwatch", "streams") and path.name != "__init__.py"
        if not any((ROOT / path).is_relative_to(place) for place in named)
    }
    assert homeless == set()


def test_every_promise_names_where_it_is_kept_and_tested() -> None:
    rows = _rows(TEXT["architecture"], "| Promise | Kept in | Tested in |")
    assert len(rows) > 10
    for promise, _, tested in rows:
        assert "`tests/" in tested, promise


def test_paths_on_the_page_of_the_api_exist() -> None:
    """Also in the examples, where an id stands for `{case_id}`."""
    known = {re.sub(r"\{\w+\}", "1", path) for path in described_api()["paths"]}
    known.add("/openapi.json")
    found = re.findall(
        r"(?:\$U|\s`?)(/(?:v1|health|ready|metrics|openapi)[\w/${}.-]*)", TEXT["api"]
    )
    named = {re.sub(r"\$[A-Z]+|\{\w+\}", "1", path).rstrip(".") for path in found}
    assert len(named) > 10
    assert named - known == set()


def test_every_code_of_a_problem_is_on_the_page() -> None:
    told = {
        cells[0].strip("`"): cells[1]
        for cells in _rows(TEXT["api"], "| Code | Status | What it means, what to do |")
    }
    assert told.keys() == _raised_codes() | _built_codes()
    for kind, number in problems._STATUS:
        assert told[kind.code] == str(number)
    for number, code in problems._CODES.items():
        assert told[code] == str(number)


def _raised_codes() -> set[str]:
    """Codes of errors that the API turns into problems, and of refusals by the web framework."""
    kinds = tuple(kind for kind, _ in problems._STATUS)
    shown = {"http", *problems._CODES.values(), *(kind.code for kind in kinds)}
    waiting: list[type[FraudwatchError]] = [*kinds]
    while waiting:
        kind = waiting.pop()
        shown.add(kind.code)
        waiting += kind.__subclasses__()
    return shown


def _built_codes() -> set[str]:
    """Codes of problems that are answered without an error."""
    found = set()
    for path in tracked("fraudwatch/casework/*.py"):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "problem"
                and len(node.args) > 1
                and isinstance(node.args[1], ast.Constant)
            ):
                found.add(str(node.args[1].value))
    return found


def test_roles_in_words_are_the_roles_of_the_program() -> None:
    """What a role may not do must not become possible without anybody looking at the page."""
    rows = _rows(TEXT["security"], "| Role | May | May not |")
    assert [cells[0].replace(" ", "_") for cells in rows] == [role.value for role in Role]
    deciding = {role for role in Role if Permission.CASES_WORK in ROLE_PERMISSIONS[role]}
    assert deciding == {Role.ANALYST, Role.SENIOR}
    seeing = {role for role in Role if Permission.PERSONAL_READ in ROLE_PERMISSIONS[role]}
    assert seeing == deciding
    knowing = {role for role in Role if Permission.POLICIES_READ in ROLE_PERMISSIONS[role]}
    assert knowing == {Role.RISK_OFFICER, Role.AUDITOR}
    reading = {p for p in Permission if p.value.endswith(":read")}
    assert ROLE_PERMISSIONS[Role.AUDITOR] <= reading | {Permission.PERSONAL_UNMASK}


def test_permissions_without_an_operation_are_named_as_such() -> None:
    needed = {
        operation.get("x-permission")
        for methods in described_api()["paths"].values()
        for operation in methods.values()
    }
    idle = {p.value for p in Permission} - needed - {"personal:read", "cases:escalated"}
    assert not [name for name in idle if f"No operation needs `{name}` yet" not in TEXT["api"]]


def test_tables_that_are_never_changed_are_listed() -> None:
    tables = {"ledger_kept"}  # made with the new ledger, beside its trigger
    for migration in (ROOT / "fraudwatch/casework/migrations/versions").glob("*.py"):
        for found in re.findall(r"^APPEND_ONLY = (\(.*?\))", migration.read_text(), re.MULTILINE):
            tables |= set(ast.literal_eval(found))
    line = next(line for line in TEXT["security"].splitlines() if "TRUNCATE" in line)
    assert set(re.findall(r"`(\w+)`", line)) == tables


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("api", f"{MAX_BODY_BYTES // 1024} KiB"),
        ("security", f"{MAX_BODY_BYTES // 1024} KiB"),
        ("security", f"{password_strength.SHORTEST_PASSWORD} to 1,000 characters"),
        ("security", {5: "After five wrong passwords"}[throttle.FREE_ATTEMPTS]),
        ("security", {20: "after twenty"}[throttle.FREE_OF_SOURCE]),
        ("security", f"`{tokens.TOKEN_PREFIX}`"),
        ("learning", f"{DEFAULT_PLAN.calibration_share:.0%}".replace("%", " %")),
        ("learning", f"last {DEFAULT_PLAN.calibration_days:.0f} days"),
        ("learning", f"{DEFAULT_PLAN.least_calibration:,} rows"),
        ("learning", f"at most {DEFAULT_PLAN.most_matured:,}"),
        ("learning", f"{COME:.0%} of the chargebacks".replace("%", " %")),
        ("learning", f"fewer than {LEAST_CHARGEBACKS} chargebacks"),
        ("learning", f"n / (n + {DEFAULT.half_at:.0f})"),
        ("detectors", f"{DEFAULT.clip:.0f} standard deviations"),
        ("detectors", f"{len(DEFAULT.left_out)} features"),
    ],
)
def test_numbers_are_those_of_the_code(page: str, words: str) -> None:
    assert words in TEXT[page]


def test_page_policy_is_as_told() -> None:
    policy = edge.SECURITY_HEADERS["Content-Security-Policy"]
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"):
        assert part in policy
    assert "unsafe" not in policy


def test_sources_of_labels_are_told_with_their_precedence() -> None:
    rows = _rows(TEXT["learning"], "| Source | Precedence | Where it comes from |")
    assert {cells[0].strip("`"): int(cells[1]) for cells in rows} == {
        source.value: precedence for source, precedence in PRECEDENCE.items()
    }


def test_parts_of_the_default_model_are_told() -> None:
    bundle = set(re.findall(r"`([\w-]+)\.(?:npz|txt|json)`", TEXT["detectors"]))
    parts = {part for name in DEFAULT.detectors for part in (name, f"{name}-reference")}
    assert bundle == parts | {
        "manifest",
        "preparation",
        "sketch",
        "calibration",
        "labelled",
        "labelled-reference",
    }


@pytest.mark.skipif(not shutil.which("curl"), reason="the page's session is written with curl")
def test_the_session_on_the_page_of_the_api_works_as_told(
    database_url: URL, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """All of its examples in one shell, one after the other, against a running API."""
    with sessions.begin() as session:
        seed = Seed(session)
        seed.user("rio", Role.RISK_OFFICER)
        for number in range(4):
            seed.case(f"acc-{number}", outcomes=[Outcome.HIGH_RISK], priority=number)
    (port,) = free_ports(1)
    commands = Commands(
        tmp_path,
        {
            "FRAUDWATCH_DATABASE_URL": database_url.render_as_string(hide_password=False),
            "FRAUDWATCH_DATA_DIR": str(tmp_path),
            "FRAUDWATCH_SECRET_KEY": "k" * 32,
            "FRAUDWATCH_COOKIE_SECURE": "false",
            "FRAUDWATCH_PORT": str(port),
        },
    )
    blocks = re.findall(r"^```sh\n(.*?)^```", TEXT["api"], re.MULTILINE | re.DOTALL)
    script = "set -e\n" + "\n".join(blocks)
    script = script.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    script = script.replace(".venv/bin/fraudwatch", f"{sys.executable} -m fraudwatch.cli")
    with commands.started("api", "api"):
        until(lambda: status(f"http://127.0.0.1:{port}/ready") == 200, "the API is ready")
        done = subprocess.run(
            ["bash", "-c", script],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=commands.environment,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    assert '"role":"senior"' in shown
    assert "# TYPE fraudwatch_" in shown
    assert '"detail":"the case has changed: you saw version 2, it is at 3"' in shown
    assert "decline\n" in shown
    assert "active\n" in shown
