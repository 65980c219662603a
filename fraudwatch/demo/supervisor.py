"""Keeps child processes running, and ends with them.

- Each child writes to a log file of its own. One that dies is reported with its last lines and
  started again, later each time.
- A child's standard input is a pipe that nobody writes to. It closes when the supervisor dies,
  however it dies; the child watches it (`follow_parent`) and stops.
- Children have sessions of their own: Ctrl-C in a terminal reaches the supervisor alone, which
  then ends them in good order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
STABLE_SECONDS = 60.0
"""A child that ran for so long is started again at once when it dies."""
STOP_SECONDS = 10.0
LOG_BYTES = 20_000_000
_LAST_LINES = 8


@dataclass(frozen=True, slots=True)
class Part:
    """A child to run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


class _Child:
    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.restart_at: float | None = None
        self.wait = FIRST_WAIT


class Supervisor:
    """Runs parts until `stop`. `tell` gets sentences for the person at the terminal."""

    def __init__(
        self,
        logs: Path,
        tell: Callable[[str], None],
        *,
        keep_open: Sequence[int] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logs = logs
        self._tell = tell
        self._keep_open = tuple(keep_open)
        self._monotonic = monotonic
        self._children: list[_Child] = []

    def start(self, part: Part) -> None:
        """Run one more part from now on."""
        self._logs.mkdir(parents=True, exist_ok=True)
        child = _Child(part, self._logs / f"{part.name}.log")
        self._children.append(child)
        self._spawn(child)

    def check(self) -> None:
        """Report and start again what has died. Call it a few times a second."""
        now = self._monotonic()
        for child in self._children:
            if child.process is None:
                if child.restart_at is not None and now >= child.restart_at:
                    self._spawn(child)
                continue
            code = child.process.poll()
            if code is None:
                continue
            _close(child.process)
            child.process = None
            if now - child.started >= STABLE_SECONDS:
                child.wait = FIRST_WAIT
            child.restart_at = now + child.wait
            self._tell(
                f"{child.part.name} ended ({_how(code)}) and is started again in "
                f"{child.wait:.0f} s; the end of {child.log}:\n{tail(child.log)}"
            )
            child.wait = min(child.wait * 2, LONGEST_WAIT)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End all children in good order, by force after `seconds`."""
        running = [(c, c.process) for c in self._children if c.process is not None]
        for _, process in running:
            process.terminate()
        deadline = time.monotonic() + seconds
        for child, process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._tell(f"{child.part.name} did not stop in {seconds:.0f} s and is killed")
                process.kill()
                process.wait()
            _close(process)
            child.process = None
        for child in self._children:
            child.restart_at = None

    def _spawn(self, child: _Child) -> None:
        if child.log.exists() and child.log.stat().st_size > LOG_BYTES:
            child.log.replace(child.log.with_suffix(".old.log"))
        with child.log.open("ab") as log:
            child.process = subprocess.Popen(  # noqa: S603 - commands of our own, no shell
                list(child.part.command),
                env=dict(child.part.environment),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self._keep_open,
            )
        child.started = self._monotonic()
        child.restart_at = None


def run_to_end(part: Part, *, keep_open: Sequence[int] = ()) -> int:
    """Run a child on this terminal until it ends, on the same leash; returns its exit code."""
    with subprocess.Popen(  # noqa: S603 - commands of our own, no shell
        list(part.command),
        env=dict(part.environment),
        stdin=subprocess.PIPE,
        start_new_session=True,
        pass_fds=tuple(keep_open),
    ) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def follow_parent(seconds: float = STOP_SECONDS) -> None:
    """Stop this process (SIGTERM to itself) when its standard input closes, by force if need be."""

    def watch() -> None:
        # os.read, not sys.stdin: a thread blocked in a buffered reader can hang the exit.
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=watch, name="follow-parent", daemon=True).start()


def tail(log: Path, lines: int = _LAST_LINES) -> str:
    """The last lines of a log, shortened to what fits a screen."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        text = file.read().decode(errors="replace")
    return "\n".join(f"  {line[:300]}" for line in text.splitlines()[-lines:])


def _how(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
