"""Pages lead somewhere: links resolve, and commands that a page tells to run exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fraudwatch.cli import COMMANDS
from tests.docs.tracked import ROOT, tracked

PAGES = tracked("*.md")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+\s+(.+)$", re.MULTILINE)
CODE_BLOCK = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """GitHub's anchors: lower case, words joined by dashes, no other marks."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in HEADING.findall(page.read_text())
    }


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for target in LINK.findall((ROOT / page).read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)
    assert broken == []


def _shell_lines() -> list[tuple[Path, str]]:
    return [
        (page, line.removeprefix("$ ").strip())
        for page in PAGES
        for block in CODE_BLOCK.findall((ROOT / page).read_text())
        for line in block.splitlines()
    ]


def test_make_targets_on_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (str(page), word)
        for page, line in _shell_lines()
        if line.startswith("make ")
        for word in line.split("#")[0].split()[1:]
        if "=" not in word
    }
    assert named, "the README tells two make commands"
    assert {(page, word) for page, word in named if word not in targets} == set()


def test_fraudwatch_commands_on_pages_exist() -> None:
    named = {
        (str(page), match.group(1))
        for page, line in _shell_lines()
        for match in re.finditer(r"(?:^|[\s/])fraudwatch ([a-z][a-z-]*)", line)
    }
    assert named
    assert {(page, word) for page, word in named if word not in COMMANDS} == set()
