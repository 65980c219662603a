"""A real worker with points: `python -m tests.chaos.worker` is the nursery that forks them.

The nursery has imported and compiled everything, so a worker is up within a fraction of a second.
It reads one JSON object a line from standard input (a `Spec`), forks a process for each, and
writes one JSON line for each that started, stopped or ended. It ends, with its children, when
standard input closes.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fraudwatch import bootstrap
from fraudwatch.casework.label_intake import LabelIntake
from fraudwatch.cli.running import stop_event
from fraudwatch.clock import Clock
from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.pipeline import ForwardPath
from fraudwatch.settings import Settings, load_settings
from streams import carriers
from streams.kafka import KafkaSource
from streams.source import Publisher, RecordBatch, Source
from tests.chaos import bugs
from tests.chaos.points import PointedPublisher, PointedSource, Points, watch_driver
from tests.chaos.traffic import warm_up

WATCH_SECONDS = 0.02
NOT_STARTED = 75
"""Exit code of a worker that found no stream or no database when it started: its supervisor tries
again."""


@dataclass(frozen=True)
class Spec:
    """What a worker is told: where orders are (`control`), where its log goes, its environment.

    `session_seconds` is how long it may be silent before its partitions go to others.
    """

    slot: str
    control: str
    log: str
    environment: Mapping[str, str] = field(default_factory=dict)
    session_seconds: float = 6.0
    serial: bool = False
    bug: str = ""


class JumpingClock:
    """The machine's clock, set wrong by the seconds in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> datetime:
        try:
            wrong = float(self._path.read_text() or 0)
        except FileNotFoundError:
            wrong = 0.0
        return datetime.now(UTC) + timedelta(seconds=wrong)


def build(spec: Spec, points: Points) -> None:
    """Have `fraudwatch.bootstrap` put the real parts together with points between them."""
    clock = JumpingClock(Path(spec.control) / "clock")

    class Path_(ForwardPath):  # noqa: N801
        def assign(self, partitions: frozenset[int]) -> Mapping[int, int]:
            with points.about("assign"):
                return super().assign(partitions)

        def process(self, batches: Sequence[RecordBatch]) -> None:
            with points.about("process"):
                super().process(batches)

        def idle(self) -> None:
            with points.about("idle"):
                super().idle()

        def close(self) -> None:
            with points.about("close"):
                super().close()

    class Labels(LabelIntake):
        def assign(self, partitions: frozenset[int]) -> Mapping[int, int]:
            with points.about("labels assign"):
                return super().assign(partitions)

        def process(self, batches: Sequence[RecordBatch]) -> None:
            with points.about("labels"):
                super().process(batches)

    def open_source(settings: Settings, topic: str, group: str) -> Source:
        about = "labels" if topic == settings.topic_labels else "process"
        source = carriers.open_source(settings, topic, group)
        return PointedSource(source, points, about, serial=spec.serial)

    def open_publisher(settings: Settings, clock: Clock) -> Publisher:
        roles = {
            settings.topic_decisions: "decisions",
            settings.topic_dead_letters: "dead letters",
            settings.topic_outcomes: "outcomes",
        }
        return PointedPublisher(carriers.open_publisher(settings, clock), points, roles)

    replaced: dict[str, object] = {
        "SystemClock": lambda: clock,
        "ForwardPath": Path_,
        "LabelIntake": Labels,
        "open_source": open_source,
        "open_publisher": open_publisher,
    }
    for name, value in replaced.items():
        assert hasattr(bootstrap, name), f"bootstrap no longer uses {name}"
        setattr(bootstrap, name, value)

    def impatient(*args: object, **options: object) -> KafkaSource:
        return KafkaSource(*args, **{**options, "session_seconds": spec.session_seconds})  # type: ignore[arg-type]

    setattr(carriers, "KafkaSource", impatient)  # noqa: B010 - a class is replaced by a function


def work(spec: Spec) -> int:
    """Be the worker, until it is told to stop; returns the exit code."""
    settings = load_settings()
    stop = stop_event()
    points = Points(Path(spec.control))
    watch_driver(points)
    if spec.bug:
        bugs.BUGS[spec.bug]()
    build(spec, points)
    try:
        worker = bootstrap.Worker(settings, stop)
    except (Unavailable, ConfigurationError) as error:
        if isinstance(error, Unavailable) or isinstance(error.__cause__, Unavailable):
            logging.warning("not started: %s", error)
            return NOT_STARTED
        raise
    worker.run()
    return 0


def _child(spec: Spec) -> int:
    log = os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(spec.environment)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s {os.getpid()} %(message)s"
    )
    try:
        return work(spec)
    except BaseException:  # noqa: BLE001 - whatever it is, it is written down and ends the process
        traceback.print_exc()
        return 1
    finally:
        sys.stderr.flush()


def _say(fact: Mapping[str, object]) -> None:
    os.write(1, json.dumps(fact).encode() + b"\n")


def _watch(children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            _say({"stopped": pid})
        else:
            children.discard(pid)
            _say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def main() -> None:
    """Fork workers until standard input closes."""
    warm_up()
    _say({"ready": os.getpid()})
    children: set[int] = set()
    asked = b""
    while True:
        readable, _, _ = select.select([0], [], [], WATCH_SECONDS)
        _watch(children)
        if not readable:
            continue
        read = os.read(0, 65536)
        if not read:
            break
        *lines, asked = (asked + read).split(b"\n")
        for line in lines:
            spec = Spec(**json.loads(line))
            pid = os.fork()
            if pid == 0:
                os._exit(_child(spec))
            children.add(pid)
            _say({"started": pid})
    for pid in children:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
