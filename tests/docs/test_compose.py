"""docker-compose.yml starts commands that exist, with settings that exist, and holds no secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from fraudwatch.cli import COMMANDS, app
from fraudwatch.settings import Settings
from tests.docs.tracked import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: part for name, part in SERVICES.items() if part.get("image") == "fraudwatch"}
REQUIRED = re.compile(r"\$\{([A-Z_]+):\?[^}]+\}")


def test_the_whole_installation_is_there() -> None:
    assert {"kafka", "postgres", "api", "worker-1", "worker-2", "prometheus"} <= set(SERVICES)
    assert set(OURS) == {"migrate", "topics", "api", "worker-1", "worker-2"}


@pytest.mark.parametrize("name", OURS)
def test_service_runs_a_command_that_exists(name: str) -> None:
    program, command, *options = OURS[name]["command"]
    assert program == "fraudwatch"
    assert command in COMMANDS
    shown = CliRunner().invoke(app, [command, *options, "--help"])
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize("name", OURS)
def test_service_is_configured_by_known_settings_only(name: str) -> None:
    known = {f"FRAUDWATCH_{field.upper()}" for field in Settings.model_fields}
    assert set(OURS[name]["environment"]) <= known


@pytest.mark.parametrize("name", SERVICES)
def test_service_has_a_health_check(name: str) -> None:
    """Those that run once are waited for until they completed."""
    check = SERVICES[name]["healthcheck"]
    if check.get("disable"):
        assert SERVICES[name]["restart"] == "no"
        waits = [part["depends_on"].get(name) for part in OURS.values() if "depends_on" in part]
        assert {"condition": "service_completed_successfully"} in waits
    else:
        assert check["test"][0] == "CMD"


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_from_outside_and_are_required(name: str) -> None:
    """A default would be the same secret everywhere; an empty one would be none."""
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASSWORD|SECRET|TOKEN", variable):
            assert REQUIRED.fullmatch(str(value)), variable
        credentials = re.search(r"://[^:/]+:(.*)@[^@]+$", str(value))
        if credentials:
            assert REQUIRED.fullmatch(credentials.group(1)), variable


@pytest.mark.parametrize("name", SERVICES)
def test_only_this_host_reaches_published_ports(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_prometheus_scrapes_the_workers_where_they_answer() -> None:
    jobs = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
    targets = {
        target for job in jobs for part in job["static_configs"] for target in part["targets"]
    }
    workers = {name: part for name, part in OURS.items() if part["command"][1] == "worker"}
    assert targets == {
        f"{name}:{part['environment']['FRAUDWATCH_METRICS_PORT']}" for name, part in workers.items()
    }


def test_image_installs_the_locked_packages_and_runs_without_privileges() -> None:
    image = Path(ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r /source/requirements.lock" in image
    assert "\nUSER fraudwatch\n" in image
