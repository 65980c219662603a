"""The long runs: a million hostile messages each way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.tracked import ROOT

HOURS = 3600


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=2 * HOURS,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-5000:]}"
    return done.stdout + done.stderr


@pytest.mark.soak
@pytest.mark.timeout(3 * HOURS)
def test_a_million_hostile_messages_are_decisions_or_dead_letters() -> None:
    said = run("tests.fuzz", "--messages", "1000000", "--seed", "1")
    assert said.count("verify: ok") == 2


@pytest.mark.soak
@pytest.mark.timeout(3 * HOURS)
def test_guided_fuzz_for_a_million_messages(tmp_path: Path) -> None:
    assert "Done 1000000 runs" in run(
        "tests.fuzz.guided", str(tmp_path), "-runs=1000000", "-seed=1"
    )
