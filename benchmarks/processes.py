"""Workers as processes of their own, and what each part of an installation has cost so far.

`Crew` starts, stops, pins, freezes and slows down worker processes. `Meter.read` takes a reading;
`between` two readings are `Costs` a transaction, of workers, database and broker each, so that
figures do not depend on who else uses the machine. Reads /proc, so it needs Linux.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from benchmarks.parts import Parts
from tests.kafka_broker import free_ports

PATIENCE_SECONDS = 600.0
TURN_SECONDS = 0.04
"""How often a worker that is slowed down gets its turn."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sizes:
    """Bytes so far: the database's write-ahead log and files, the broker's topics by name."""

    log: float
    tables: float
    topics: dict[str, int]


@dataclass(frozen=True)
class Reading:
    """Sums so far. CPU in seconds; `machine` is all that ran here, ours or not."""

    at: float
    workers: float
    database: float
    broker: float
    machine: float
    decided: int


@dataclass(frozen=True)
class Costs:
    """What transactions cost. CPU in microseconds each; `others` in cores that others used."""

    rows: int
    seconds: float
    worker_us: float
    database_us: float
    broker_us: float
    others: float
    batch_rows: float

    @property
    def all_us(self) -> float:
        return self.worker_us + self.database_us + self.broker_us

    @property
    def per_second(self) -> float:
        return self.rows / self.seconds


def between(begin: Reading, end: Reading, batches: float) -> Costs:
    """Raises ValueError when nothing was decided between the two."""
    rows, seconds = end.decided - begin.decided, end.at - begin.at
    if rows <= 0:
        raise ValueError("no transaction was decided between the readings")
    workers = end.workers - begin.workers
    database = end.database - begin.database
    broker = end.broker - begin.broker
    others = end.machine - begin.machine - workers - database - broker
    return Costs(
        rows,
        seconds,
        worker_us=workers / rows * 1e6,
        database_us=database / rows * 1e6,
        broker_us=broker / rows * 1e6,
        others=others / seconds,
        batch_rows=rows / max(1.0, batches),
    )


class Crew:
    """Workers of one group, each a process with a metrics port of its own."""

    def __init__(self, parts: Parts) -> None:
        self._settings = parts.settings
        self._workers: list[tuple[subprocess.Popen[bytes], int]] = []
        self._ended_cpu = 0.0
        self._ended_batches = 0.0

    def resize(self, count: int) -> None:
        """Start or stop workers until there are so many and each has an equal share."""
        while len(self._workers) > count:
            self._end(*self._workers.pop())
        while len(self._workers) < count:
            self._workers.append(self._begin())
        share = self._settings.partitions // count if count else 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (owned := [len(self._lags(port)) for _, port in self._workers]) != [share] * count:
            if time.monotonic() > deadline or any(p.poll() is not None for p, _ in self._workers):
                raise RuntimeError(f"{count} workers should own {share} partitions each: {owned}")
            time.sleep(0.2)

    def _begin(self) -> tuple[subprocess.Popen[bytes], int]:
        settings, (port,) = self._settings, free_ports(1)
        environment = os.environ | {
            "FRAUDWATCH_DATA_DIR": str(settings.data_dir),
            "FRAUDWATCH_DATABASE_URL": settings.database_url,
            "FRAUDWATCH_STREAM_URL": settings.stream_url,
            "FRAUDWATCH_PARTITIONS": str(settings.partitions),
            "FRAUDWATCH_SECRET_KEY": settings.secret_key.get_secret_value(),
            "FRAUDWATCH_METRICS_PORT": str(port),
            "FRAUDWATCH_WATCHDOG_SECONDS": "0",  # what takes long is to be measured, not ended
            "FRAUDWATCH_LOG_LEVEL": "ERROR",
        }
        command = [sys.executable, "-m", "fraudwatch.cli", "worker"]
        return subprocess.Popen(command, env=environment), port

    def stop(self) -> None:
        """End all of them, whatever state they are in."""
        for process, _ in self._workers:
            process.terminate()
        for process, _ in self._workers:
            process.wait(PATIENCE_SECONDS)
        self._workers.clear()

    def _end(self, process: subprocess.Popen[bytes], port: int) -> None:
        """SIGTERM, and wait; what it cost stays in the sums."""
        self._ended_batches += _batches(_metrics(port))
        process.terminate()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self._ended_cpu += usage.ru_utime + usage.ru_stime
        if process.returncode:
            raise RuntimeError(f"a worker ended with {process.returncode}")

    def _lags(self, port: int) -> dict[str, float]:
        """Messages not read yet of each partition that the worker owns; empty while it starts."""
        try:
            found = _metrics(port)
        except (urllib.error.URLError, OSError):
            return {}
        topic = self._settings.topic_transactions
        return {
            labels["partition"]: value
            for name, labels, value in found
            if name == "fraudwatch_lag_messages" and labels["topic"] == topic
        }

    def pin(self, cores: Sequence[int] | None) -> None:
        """Each worker to one of the cores, in turn; None: to all cores again."""
        everywhere = os.sched_getaffinity(0)
        for number, (process, _) in enumerate(self._workers):
            place = everywhere if cores is None else {cores[number % len(cores)]}
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), place)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """No worker runs in this block."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    @contextmanager
    def slowed(self, share: float) -> Iterator[list[float]]:
        """Each worker runs for that share of the time, and none while another does.

        So workers cannot take a core from each other, and database and broker have the rest of
        the machine: as if these were elsewhere. Gives the seconds that each was let run, once the
        block has ended.
        """
        processes = [process for process, _ in self._workers]
        if share * len(processes) > 1:
            raise ValueError("the workers' shares must fit into one")
        ended = threading.Event()
        ran = [0.0] * len(processes)

        def turns() -> None:
            pause = TURN_SECONDS / len(processes) - TURN_SECONDS * share
            while not ended.is_set():
                for number, process in enumerate(processes):
                    process.send_signal(signal.SIGCONT)
                    began = time.perf_counter()
                    time.sleep(TURN_SECONDS * share)
                    process.send_signal(signal.SIGSTOP)
                    ran[number] += time.perf_counter() - began
                    time.sleep(pause)

        thread = threading.Thread(target=turns, name="turns")
        with self.frozen():
            thread.start()
            try:
                yield ran
            finally:
                ended.set()
                thread.join()

    def _signal(self, number: signal.Signals) -> None:
        for process, _ in self._workers:
            process.send_signal(number)

    def cpu_seconds(self) -> float:
        """Of all workers so far, also of those that ended."""
        return self._ended_cpu + sum(cpu_seconds(process.pid) for process, _ in self._workers)

    def batches(self) -> float:
        """Batches with transactions so far. Frozen workers cannot tell: thaw them first."""
        return self._ended_batches + sum(_batches(_metrics(port)) for _, port in self._workers)

    def resident_bytes(self) -> list[int]:
        """Memory of each worker now."""
        page = os.sysconf("SC_PAGE_SIZE")
        return [
            int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * page
            for process, _ in self._workers
        ]


@contextmanager
def crew(parts: Parts) -> Iterator[Crew]:
    """Workers of these parts; those that run at the end of the block are stopped."""
    found = Crew(parts)
    try:
        yield found
    finally:
        found.stop()


class Meter:
    """Reads what the parts of one installation have cost."""

    def __init__(self, parts: Parts, workers: Crew) -> None:
        self._parts = parts
        self._crew = workers
        postmaster = parts.settings.data_dir / "postgresql" / "postmaster.pid"
        self._postmaster = int(postmaster.read_text().splitlines()[0])

    def read(self) -> Reading:
        broker = self._parts.broker
        process = broker.process if broker else None
        return Reading(
            time.perf_counter(),
            self._crew.cpu_seconds(),
            _family_seconds(self._postmaster),
            cpu_seconds(process.pid) if process else 0.0,
            _machine_seconds(),
            self.decided(),
        )

    def decided(self) -> int:
        """Offsets taken in so far, of all partitions."""
        return int(
            self._scalar("SELECT coalesce(sum(next_offset - first_offset), 0) FROM stream_offsets")
        )

    def until(self, decided: int) -> None:
        """Wait until so many are decided."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (done := self.decided()) < decided:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{done} of {decided} decided")
            time.sleep(0.025)

    def to_people(self) -> int:
        """Transactions so far that went to people."""
        return int(self._scalar("SELECT count(*) FROM alerts"))

    def sizes(self) -> Sizes:
        topics: dict[str, int] = {}
        if broker := self._parts.broker:
            for folder in (broker.folder / "data").iterdir():
                topic, _, partition = folder.name.rpartition("-")
                if partition.isdigit():
                    files = folder.glob("*.log")
                    topics[topic] = topics.get(topic, 0) + sum(f.stat().st_size for f in files)
        return Sizes(
            self._scalar("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"),
            self._scalar("SELECT pg_database_size(current_database())"),
            topics,
        )

    def _scalar(self, query: str) -> float:
        with self._parts.engine.connect() as connection:
            return float(connection.scalar(text(query)) or 0)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5), fields 14 and 15)."""
    return sum(_stat(pid)[1][:2])


def _family_seconds(pid: int) -> float:
    """The same with its children, those alive and those that ended (fields 16 and 17)."""
    alive = 0.0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent, times = _stat(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended meanwhile
            if parent == pid:
                alive += sum(times[:2])
    return alive + sum(_stat(pid)[1])


def _stat(pid: int) -> tuple[int, list[float]]:
    """Parent, and seconds: user, system, and both of children that ended."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(after_name[1]), [int(field) / _TICKS for field in after_name[11:15]]


def _machine_seconds() -> float:
    """Busy time of all cores so far, with what the host took away (proc(5), /proc/stat)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle, waiting = fields[3], fields[4]
    return (sum(fields) - idle - waiting) / _TICKS


def _metrics(port: int) -> list[tuple[str, dict[str, str], float]]:
    """Name, labels and value of each sample that a worker tells."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return [(s.name, s.labels, s.value) for family in families for s in family.samples]


def _batches(metrics: Sequence[tuple[str, dict[str, str], float]]) -> float:
    return sum(value for name, _, value in metrics if name == "fraudwatch_batch_rows_count")
