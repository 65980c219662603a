"""A file of transactions through everything: Kafka, workers, PostgreSQL, with faults.

``python -m benchmarks.whole_run FILE --mapping M`` starts a broker and an embedded database of
its own in a temporary folder, trains a model on the file's first rows, publishes the file, works
it off with two workers in one group, and ends with `fraudwatch verify`. Every `--fault-every`
seconds something fails, in turn: a worker is killed with SIGKILL, frozen, the broker is killed, a
worker is told to stop; each comes back two seconds later. Prints rates and the workers' CPU per
row. Exits 1 unless verify says ok.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, text

from fraudwatch.casework import db, models_registry
from fraudwatch.casework.embedded import start_embedded, stop_embedded
from fraudwatch.clock import SystemClock
from fraudwatch.detectors import bundle, training
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.offline import compute_features
from streams.mapping import Mapping, read_frame
from tests.kafka_broker import Broker

TRAINING_ROWS = 150_000
CALIBRATION_SHARE = 0.3
PATIENCE_SECONDS = 600.0
AWAY_SECONDS = 2.0

Fault = tuple[str, Callable[[], object]]
"""What was done, and how it is made good."""


class Run:
    """The processes of one run, and what they cost."""

    def __init__(self, folder: Path, bootstrap: str, partitions: int) -> None:
        self._folder = folder
        self._environment = os.environ | {
            "FRAUDWATCH_DATA_DIR": str(folder / "data"),
            "FRAUDWATCH_STREAM_URL": f"kafka://{bootstrap}",
            "FRAUDWATCH_PARTITIONS": str(partitions),
            "FRAUDWATCH_SECRET_KEY": secrets.token_hex(32),
            "FRAUDWATCH_LOG_LEVEL": "INFO",
        }
        self.cpu_seconds = 0.0  # of processes that have ended
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "fraudwatch.cli", *arguments],
            env=self._environment,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
        )

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command; its log is a file of that name."""
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "fraudwatch.cli", *arguments],
                env=self._environment | {"FRAUDWATCH_WORKER_ID": name},
                stdout=log,
                stderr=log,
            )
        self._workers[name] = process
        return process

    def kill(self, name: str) -> int:
        """SIGKILL a process of this run; returns its id."""
        process = self._workers[name]
        process.kill()
        self._reap(process)
        return process.pid

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process of this run."""
        self._workers[name].send_signal(number)

    def wait(self, name: str) -> None:
        """Until a process that was told to stop has ended."""
        self._reap(self._workers[name])

    def stop(self) -> None:
        """End what still runs, by its id."""
        running = [p for p in self._workers.values() if p.returncode is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            self._reap(process)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_seconds += usage.ru_utime + usage.ru_stime


def train(folder: Path, engine: Engine, path: Path, mapping: Mapping) -> int:
    """A first champion from the file's first rows, without labels; returns the file's rows."""
    frame = read_frame(path, mapping)
    spec = FeatureSpec()
    features = compute_features(frame.iloc[:TRAINING_ROWS], spec).values
    split = int(len(features) * (1 - CALIBRATION_SHARE))
    model = training.fit(features[:split], features[split:], spec, seed=1, name="first")
    target = folder / "data" / "models" / "first"
    target.parent.mkdir(parents=True, exist_ok=True)
    sha256 = bundle.save(model, target)
    now = SystemClock().now()
    with db.session_factory(engine).begin() as session:
        row = models_registry.register(session, "first", sha256, {}, now)
        models_registry.promote(session, row.id, "benchmark", now)
    return len(frame)


def decided(engine: Engine) -> int:
    """Offsets taken in so far, of all partitions."""
    with engine.connect() as connection:
        found = connection.scalar(
            text("SELECT coalesce(sum(next_offset - first_offset), 0) FROM stream_offsets")
        )
    return int(found or 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--mapping", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--fault-every", type=float, default=10, help="seconds; 0: no faults")
    options = parser.parse_args()
    mapping = Mapping.load(options.mapping)

    with tempfile.TemporaryDirectory(prefix="fraudwatch-run-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        broker = Broker(folder / "kafka")
        (folder / "data").mkdir()
        engine = db.open_engine(
            start_embedded(folder / "data").set(drivername="postgresql+psycopg")
        )
        broker.start()
        run = Run(folder, broker.bootstrap, options.partitions)
        try:
            db.migrate(engine)
            print("training", flush=True)
            total = train(folder, engine, options.file, mapping)
            print(run.command("topics").stdout, flush=True)
            began = time.monotonic()
            published = run.command("publish", str(options.file), "--mapping", str(options.mapping))
            publishing = time.monotonic() - began
            if published.returncode:
                print(published.stdout)
                return 1
            report = work(run, broker, engine, options, total)
            report["publish_rows_per_second"] = round(total / publishing)
            run.stop()
            report["worker_cpu_us_per_row"] = round(run.cpu_seconds / total * 1e6, 1)
            verified = run.command("verify", "--json")
            report["verify"] = json.loads(verified.stdout)
            print(json.dumps(report, indent=2))
            return verified.returncode
        finally:
            run.stop()
            broker.stop()
            engine.dispose()
            stop_embedded(folder / "data")


class Faults:
    """What fails next, and what comes back."""

    def __init__(self, run: Run, broker: Broker, every: float) -> None:
        self._run, self._broker, self._every = run, broker, every
        self._kinds = itertools.cycle(
            [self._kill_worker, self._freeze_worker, self._kill_broker, self._stop_worker]
        )
        self._due = time.monotonic() + every
        self._back: tuple[float, Callable[[], object]] | None = None
        self.caused = 0

    def step(self) -> None:
        """Cause a fault that is due; bring back what failed two seconds ago."""
        now = time.monotonic()
        if self._back and now >= self._back[0]:
            self._back[1]()
            self._back = None
        elif self._every and self._back is None and now >= self._due:
            name, back = next(self._kinds)()
            print(f"fault: {name}", flush=True)
            self.caused += 1
            self._back = now + AWAY_SECONDS, back
            self._due = now + self._every

    def end(self) -> None:
        """Bring back what is still away."""
        if self._back:
            self._back[1]()
            self._back = None

    def _kill_worker(self) -> Fault:
        self._run.kill("worker-0")
        return "worker-0 killed", lambda: self._run.start("worker-0", "worker")

    def _freeze_worker(self) -> Fault:
        self._run.signal("worker-0", signal.SIGSTOP)
        return "worker-0 frozen", lambda: self._run.signal("worker-0", signal.SIGCONT)

    def _kill_broker(self) -> Fault:
        self._broker.kill()
        return "broker killed", self._broker.start

    def _stop_worker(self) -> Fault:
        self._run.signal("worker-0", signal.SIGTERM)
        self._run.wait("worker-0")
        return "worker-0 stopped", lambda: self._run.start("worker-0", "worker")


def work(
    run: Run, broker: Broker, engine: Engine, options: argparse.Namespace, total: int
) -> dict[str, object]:
    """Work the topic off; returns figures."""
    for number in range(options.workers):
        run.start(f"worker-{number}", "worker")
    began = first_row = None
    started = time.monotonic()
    faults = Faults(run, broker, options.fault_every)
    try:
        while (done := decided(engine)) < total:
            now = time.monotonic()
            if now - started > PATIENCE_SECONDS + total / 1000:
                raise SystemExit(f"gave up: {done} of {total} after {now - started:.0f} s")
            if done and began is None:
                began, first_row = now, done
            faults.step()
            time.sleep(0.25)
        seconds = time.monotonic() - (began or started)
    finally:
        faults.end()
    return {
        "rows": total,
        "faults": faults.caused,
        "seconds": round(seconds, 1),
        "rows_per_second": round((total - (first_row or 0)) / seconds),
    }


if __name__ == "__main__":
    sys.exit(main())
