"""The alert rules watch metrics that exist, and everything that can go wrong has one."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from fraudwatch.telemetry import REGISTRY
from tests.docs.tracked import ROOT

RULES: list[dict[str, Any]] = yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())["groups"][0][
    "rules"
]
SERIES = re.compile(r"\bfraudwatch_[a-z0-9_]+")
LABELS = re.compile(r"(fraudwatch_[a-z0-9_]+)\{([a-z_]+)=")


def known() -> dict[str, tuple[str, ...]]:
    """Every series that a scrape can have, with its labels."""
    found: dict[str, tuple[str, ...]] = {}
    for collector in REGISTRY._collector_to_names:
        labels: tuple[str, ...] = getattr(collector, "_labelnames", ())
        for name in REGISTRY._collector_to_names[collector]:
            found[name] = (*labels, "le") if name.endswith("_bucket") else labels
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_rule_watches_what_exists(rule: dict[str, Any]) -> None:
    """A name that is no longer there never fires."""
    series = set(SERIES.findall(rule["expr"]))
    assert series <= set(known())
    assert series or "up{" in rule["expr"]
    assert all(label in known()[name] for name, label in LABELS.findall(rule["expr"]))
    assert rule["annotations"]["summary"].endswith(".")


def test_what_operations_says_to_watch_has_a_rule() -> None:
    """A sign that nobody is told of is a sign that nobody sees."""
    text = (ROOT / "docs/operations.md").read_text()
    watched = {
        name
        for line in text.splitlines()
        if line.startswith("| `fraudwatch_")
        for name in SERIES.findall(line.split("|")[1])
    }
    alerted = {name for rule in RULES for name in SERIES.findall(rule["expr"])}
    assert watched - alerted == {"fraudwatch_open_cases"}, "which is for people to decide"


def test_prometheus_loads_them() -> None:
    loaded = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["rule_files"]
    assert loaded == ["alerts.yml"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert (
        "./deploy/alerts.yml:/etc/prometheus/alerts.yml:ro"
        in compose["services"]["prometheus"]["volumes"]
    )
