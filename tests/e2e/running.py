"""Commands as processes, for tests that run the whole program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    """Wait for something that the program must do by itself."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for: {what}"
        time.sleep(0.2)


def status(url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> int:
    """The status of a GET, or of a POST of the body; 0 when nothing answers."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data=body, headers=dict(headers or {})), timeout=5
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


class Commands:
    """Runs `fraudwatch …` with one environment, logs in one folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("FRAUDWATCH_")}
        self.environment = inherited | dict(environment)

    def run(self, *arguments: str) -> str:
        """Run to the end; returns standard output. Fails the test unless it exits 0."""
        done = subprocess.run(
            [sys.executable, "-m", "fraudwatch.cli", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=120,
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    @contextmanager
    def started(
        self, name: str, *arguments: str, **environment: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A process that runs until the block ends; it must end in good order then."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fraudwatch.cli", *arguments],
                env=self.environment | environment,
                stdout=output,
                stderr=output,
            )
        try:
            yield process
        except BaseException:
            process.kill()
            process.wait()
            sys.stderr.write(f"--- {name}\n{log.read_text()[-4000:]}\n")
            raise
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, f"{name} did not end well: {log.read_text()[-2000:]}"
