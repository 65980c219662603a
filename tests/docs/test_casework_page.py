"""The page on cases names the states, events and permissions that there are."""

from __future__ import annotations

import re

from fraudwatch.casework.console import words
from fraudwatch.casework.second_looks import NewRules
from fraudwatch.domain.access import Permission
from fraudwatch.domain.case import CaseStatus
from fraudwatch.domain.customer_texts import Standing
from tests.docs.reference import described_api
from tests.docs.tracked import ROOT

TEXT = (ROOT / "docs/casework.md").read_text()


def first_cells(heading: str) -> list[str]:
    """What stands in backquotes in the first column of the section's table."""
    section = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [word for cell in rows for word in re.findall(r"`(\w+)`", cell)]


def test_every_state_is_explained_and_what_a_joining_payment_does_in_it() -> None:
    states = {status.value for status in CaseStatus}
    for heading in ("States", "When a payment joins"):
        told = first_cells(heading)
        assert set(told) == states
        assert len(told) == len(states)


def test_every_kind_of_event_is_explained() -> None:
    told = first_cells("Events")
    assert set(told) == words.EVENTS.keys() | {"resolved"}
    assert len(told) == len(set(told))


def test_permissions_paths_and_states_of_customers_exist() -> None:
    permissions = {permission.value for permission in Permission}
    assert set(re.findall(r"`([a-z-]+:[a-z-]+)`", TEXT)) <= permissions
    known = {path.replace("{token}", "{id}") for path in described_api()["paths"]}
    found = {path.split("?")[0] for path in re.findall(r"(?:GET|POST) (/v1/[\w/{}?=-]+)", TEXT)}
    assert {path.replace("{token}", "{id}") for path in found} <= known
    for standing in set(Standing) - {Standing.HELD}:
        assert f"`{standing.value}`" in TEXT
    assert "`dispute_hours`" in TEXT
    assert "dispute_hours" in NewRules.__dataclass_fields__
