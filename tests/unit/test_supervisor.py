"""The supervisor keeps its parts running and never leaves one behind. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fraudwatch.demo.supervisor import Part, Supervisor, tail


class Told(list[str]):
    """What the person at the terminal read."""


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def supervisor(tmp_path: Path, told: Told) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path, told.append)
    yield supervisor
    supervisor.stop(1)


def _python(name: str, code: str) -> Part:
    return Part(name, [sys.executable, "-c", code], dict(os.environ))


def _wait(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        time.sleep(0.02)


def test_part_that_dies_is_reported_with_its_last_lines_and_started_again(
    supervisor: Supervisor, told: Told, tmp_path: Path
) -> None:
    supervisor.start(_python("worker", "print('out of luck'); raise SystemExit(3)"))

    def died_twice() -> bool:
        supervisor.check()
        return len(told) == 2

    _wait(died_twice, "two deaths")
    assert "worker ended (exit code 3)" in told[0]
    assert "started again in 1 s" in told[0]
    assert "started again in 2 s" in told[1], "the wait grows"
    assert "out of luck" in told[0]
    assert "out of luck" in tail(tmp_path / "worker.log")


def test_stop_lets_a_part_end_in_good_order(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(
        _python(
            "api",
            "import signal, sys, time\n"
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit('said goodbye'))\n"
            "print('ready', flush=True)\n"
            "time.sleep(60)",
        )
    )
    _wait(lambda: "ready" in tail(tmp_path / "api.log"), "the part")
    supervisor.stop()
    assert "said goodbye" in tail(tmp_path / "api.log")
    supervisor.check()
    assert (tmp_path / "api.log").read_text().count("ready") == 1, "not started again"


def test_stop_kills_a_part_that_does_not_listen(
    supervisor: Supervisor, told: Told, tmp_path: Path
) -> None:
    supervisor.start(
        _python(
            "deaf",
            "import signal, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "print('ready', flush=True)\n"
            "time.sleep(60)",
        )
    )
    _wait(lambda: "ready" in tail(tmp_path / "deaf.log"), "the part")
    supervisor.stop(0.2)
    assert told == ["deaf did not stop in 0 s and is killed"]


_KILLED_SUPERVISOR = """
import os, sys, time
from pathlib import Path
from fraudwatch.demo.supervisor import Part, Supervisor
child = '''
import time
from fraudwatch.demo.supervisor import follow_parent
follow_parent()
print("following", flush=True)
time.sleep(60)
'''
supervisor = Supervisor(Path(sys.argv[1]), print)
supervisor.start(Part("orphan", [sys.executable, "-c", child], dict(os.environ)))
print(supervisor._children[0].process.pid, flush=True)
time.sleep(60)
"""


def test_parts_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    """Otherwise a worker would go on writing to a folder that the next run uses."""
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED_SUPERVISOR, str(tmp_path)], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        _wait(lambda: (tmp_path / "orphan.log").stat().st_size > 0, "the part")
        parent.send_signal(signal.SIGKILL)
    _wait(lambda: not _running(orphan), "the part's end")


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
