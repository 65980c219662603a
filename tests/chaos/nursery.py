"""The harness's side of the nursery: starts workers, hears of their ends."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from tests.chaos.worker import Spec

PATIENCE = 120.0
ROOT = Path(__file__).parents[2]


class Nursery:
    """A process that forks workers on demand."""

    def __init__(self, log: Path) -> None:
        # One thread for all libraries: a fork keeps only the thread that forks.
        single = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env={**os.environ, **single, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )
        self._facts: list[dict[str, Any]] = []
        self._heard = b""
        self.ended: dict[int, int] = {}
        self.stopped: set[int] = set()
        self._wait_for("ready")

    def spawn(self, spec: Spec) -> int:
        """Fork a worker; returns its process id."""
        self._stdin.write(json.dumps(dataclasses.asdict(spec)).encode() + b"\n")
        self._stdin.flush()
        return int(self._wait_for("started"))

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _wait_for(self, kind: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.listen(0.1)
            for place, fact in enumerate(self._facts):
                if kind in fact:
                    return self._facts.pop(place)[kind]
            if self._process.poll() is not None:
                raise RuntimeError("the nursery ended by itself, see its log")
        raise RuntimeError(f"no {kind!r} from the nursery in {PATIENCE} s")

    def listen(self, seconds: float = 0.0) -> None:
        """Take in what happened: `ended` has exit codes (-9: killed), `stopped` who is frozen."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while select.select([pipe], [], [], seconds)[0]:
            read = os.read(pipe, 65536)
            if not read:
                return
            *lines, self._heard = (self._heard + read).split(b"\n")
            for line in lines:
                fact = json.loads(line)
                if "ended" in fact:
                    self.ended[fact["ended"]] = fact["status"]
                    self.stopped.discard(fact["ended"])
                elif "stopped" in fact:
                    self.stopped.add(fact["stopped"])
                else:
                    # In a long run numbers of processes come again.
                    self.ended.pop(fact.get("started", 0), None)
                    self._facts.append(fact)
            seconds = 0.0

    def close(self) -> None:
        """End all workers, then the nursery."""
        self._stdin.close()
        self._process.wait(30)
        if self._process.stdout is not None:
            self._process.stdout.close()
