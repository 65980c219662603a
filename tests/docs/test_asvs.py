"""The ASVS list of docs/security.md is whole, and the tests that it names exist."""

from __future__ import annotations

import ast
import re

from tests.docs.tracked import ROOT

# Sections of each chapter of ASVS 5.0.
SECTIONS = (5, 4, 7, 4, 4, 8, 6, 4, 2, 7, 7, 3, 4, 3, 4, 5, 3)
CITED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def _rows() -> list[list[str]]:
    page = (ROOT / "docs/security.md").read_text()
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if re.match(r"\| \d+\.\d+ \|", line)
    ]


def test_every_section_has_its_row() -> None:
    wanted = [
        f"{chapter}.{n}" for chapter, count in enumerate(SECTIONS, 1) for n in range(1, count + 1)
    ]
    assert [row[0] for row in _rows()] == wanted


def test_a_row_names_a_test_or_says_why_not() -> None:
    silent = [
        row[0]
        for row in _rows()
        if not CITED.search(row[3]) and not row[2].startswith(("does not apply: ", "not yet: "))
    ]
    assert silent == []


def test_tests_that_are_named_exist() -> None:
    missing = []
    for row in _rows():
        for path, name in CITED.findall(row[3]):
            file = ROOT / path
            tree = ast.parse(file.read_text()) if file.is_file() else ast.Module([], [])
            if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
                missing.append(f"{row[0]}: {path}::{name}")
    assert missing == []
