"""The reference pages say what the code does: no setting, metric or command is undocumented."""

from __future__ import annotations

import pytest

from fraudwatch.cli import COMMANDS, load
from fraudwatch.settings import Settings
from fraudwatch.telemetry import REGISTRY
from tests.docs.reference import REFERENCES, ROOT, between_markers


@pytest.mark.parametrize("path", REFERENCES)
def test_reference_page_is_current(path: str) -> None:
    """Fails when a setting, metric or command changed and `make docs` was not run."""
    found = between_markers((ROOT / path).read_text())
    assert found == REFERENCES[path](), f"{path} is stale: run `make docs`"


def test_every_setting_says_what_it_means() -> None:
    unexplained = [name for name, field in Settings.model_fields.items() if not field.description]
    assert unexplained == []


def test_every_registered_metric_is_on_the_metrics_page() -> None:
    """Also one that is registered elsewhere than in telemetry.py, and so left out of the table."""
    page = (ROOT / "docs/metrics.md").read_text()
    assert [family.name for family in REGISTRY.collect() if f"`{family.name}" not in page] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_begins_with_its_line_in_the_table(name: str) -> None:
    """`fraudwatch --help` shows the table; `fraudwatch NAME --help` must not say another thing."""
    assert (load(COMMANDS[name]).help or "").strip().splitlines()[:1] == [COMMANDS[name].help]
