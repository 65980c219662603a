"""Coverage-guided fuzz, for some seconds; `python -m tests.fuzz.guided` runs it for longer."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from tests.docs.tracked import ROOT
from tests.parts import skip_or_fail


def test_guided_fuzz_finds_no_message_without_a_verdict(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        skip_or_fail("atheris", "atheris has no build for this Python or system")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", str(tmp_path), "-runs=15000", "-seed=1"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 15000 runs" in done.stderr
    assert len(list((tmp_path / "corpus").iterdir())) > 20, "nothing new was reached: no coverage"
