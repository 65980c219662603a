"""Rules of the house that no linter holds."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path, PurePath

import pytest

from tests.docs.tracked import ROOT, tracked

MODULES = tracked("*.py")
LONGEST = 400

# Written in pieces, so that this file does not find itself.
_PLACES = ("ho" + "me", "Use" + "rs", "ro" + "ot", "wo" + "rk", "opt/whe" + "els")
_HOSTS = ("pypi" + r"\.org", "python" + "hosted", r"repo\d*\.maven", "npm" + r"js\.(?:org|com)")
MACHINE = re.compile(
    rf"(?<![\w.~}}-])/(?:{'|'.join(_PLACES)})/|{'|'.join(_HOSTS)}|--(?:extra-)?index" + r"-url[ =]"
)


@pytest.mark.parametrize("path", tracked(), ids=str)
def test_file_names_no_machine_and_no_registry(path: Path) -> None:
    """What works here must work elsewhere: no home folders, no package hosts, no mirrors."""
    try:
        text = (ROOT / path).read_text()
    except UnicodeDecodeError:
        pytest.skip("not text")
    found = [line for line in text.splitlines() if MACHINE.search(line)]
    assert found == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_module_is_short_and_says_what_it_is_for(path: Path) -> None:
    source = (ROOT / path).read_text()
    if "migrations/versions" not in str(path):  # a migration is a record, and stays as written
        lines = [line for line in source.splitlines() if line.strip()]
        assert len(lines) <= LONGEST, f"{len(lines)} lines, blank ones left out: make it two"
    assert not source.strip() or ast.get_docstring(ast.parse(source)), "no module docstring"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_module_imports_at_its_top(path: Path) -> None:
    """An import inside a function hides what a module depends on, and hides cycles."""
    hidden = [
        inner.lineno
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert hidden == []


def test_installation_takes_every_file_of_the_packages_along() -> None:
    """A template or migration that only the checkout has breaks `pip install .`."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    missing = [
        str(path)
        for path in tracked()
        if path.parts[0] in ("fraudwatch", "streams")
        and path.suffix != ".py"
        and not any(
            PurePath(*path.parts[1:]).match(pattern)
            for pattern in _expanded(packages["package-data"][path.parts[0]])
        )
    ]
    assert missing == []


def _expanded(patterns: list[str]) -> list[str]:
    """`match` of Python 3.11 knows no `**`: a few levels stand for any depth."""
    return [p.replace("**", "/".join(["*"] * depth)) for p in patterns for depth in range(1, 5)] + [
        p.replace("**/", "") for p in patterns
    ]
