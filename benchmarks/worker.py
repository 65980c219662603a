"""What a transaction costs a worker, against the client's bare `poll()`, in one run.

``python -m benchmarks.worker [--rows 40000] [--rounds 5]`` starts a broker and a database, and in
each round reads the same messages twice: with kafka-python's own consumer and nothing else, and
with a whole worker (decode, features, scores, policy, ledger, cases, a decision published for
each). Prints CPU of this process a message, their ratio, and the share of each stage. CPU of the
database and the broker is not in it; `benchmarks.whole_run` measures all together.
"""

from __future__ import annotations

import argparse
import cProfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.parts import (
    KEY,
    SEED,
    TRAINING_DAYS,
    Parts,
    make_champion,
    make_topics,
    running,
    set_heap_aside,
    stream_of,
)
from benchmarks.streams import read_by_client
from benchmarks.table import Figure, Noise, aligned
from fraudwatch import bootstrap
from fraudwatch.casework import db
from fraudwatch.clock import SystemClock
from fraudwatch.memory import Memory
from fraudwatch.pipeline import ForwardPath
from fraudwatch.scorers import Scorers
from fraudwatch.telemetry import STAGE_SECONDS
from streams.carriers import open_publisher, open_source
from streams.runner import Runner
from streams.source import Message, RecordBatch
from streams.topics import create_topics

PARTITIONS = 4
ROWS, ROUNDS, CUSTOMERS = 40_000, 5, 5_000
GOAL = 3.0
INPUT = (
    f"worker: simulator of seed {SEED} with {CUSTOMERS:,} customers, a model of its first "
    f"{TRAINING_DAYS} days, round n the n-th {ROWS:,} messages after them"
)


@dataclass(frozen=True)
class Cost:
    """Microseconds of CPU a transaction, in all and by stage; transactions a second."""

    cpu_us: float
    per_second: float
    stages_us: Mapping[str, float]


class Measured:
    """A handler that stops the runner after so many messages, and measures all but the first
    batch: before it, the worker joined the group and loaded the accounts' past."""

    def __init__(self, inner: ForwardPath, rows: int, stop: threading.Event) -> None:
        self._inner, self._left, self._stop = inner, rows, stop
        self.idle = inner.idle
        self.revoke = inner.revoke
        self._began: tuple[float, float] | None = None
        self._rows = 0
        self._stages = stage_seconds()

    def assign(self, partitions: frozenset[int]) -> Mapping[int, int]:
        return self._inner.assign(partitions)

    def process(self, batches: Sequence[RecordBatch]) -> None:
        self._inner.process(batches)
        rows = sum(len(batch) for batch in batches)
        self._left -= rows
        if self._began is None:
            self._began = time.process_time(), time.perf_counter()
            self._stages = stage_seconds()
        else:
            self._rows += rows
        if self._left <= 0:
            self._stop.set()

    def cost(self) -> Cost:
        """What a transaction cost, once the runner has ended."""
        if self._began is None:
            raise RuntimeError("no batch was processed")
        cpu, wall = time.process_time() - self._began[0], time.perf_counter() - self._began[1]
        stages = stage_seconds()
        stages.subtract(self._stages)
        each = {name: seconds / self._rows * 1e6 for name, seconds in stages.items()}
        each["poll, rest"] = cpu / self._rows * 1e6 - sum(each.values())
        return Cost(cpu / self._rows * 1e6, self._rows / wall, each)


def worker(parts: Parts, rows: int) -> tuple[Runner, Measured]:
    """A worker's forward path as `bootstrap.Worker` puts it together, run in this thread."""
    clock, settings = SystemClock(), parts.settings
    stop = threading.Event()
    path = ForwardPath(
        sessions=db.session_factory(parts.engine),
        publisher=open_publisher(settings, clock),
        memory=Memory(settings.topic_transactions, share=1, consecutive=1000),
        scorers=Scorers(lambda registered: bootstrap.open_model(settings, registered)),
        settings=settings,
        key=KEY,
        clock=clock,
        monotonic=time.thread_time,  # so that the stages tell CPU, not waiting
    )
    handler = Measured(path, rows, stop)
    source = open_source(settings, settings.topic_transactions, uuid.uuid4().hex)
    return Runner(source, handler, stop=stop), handler


def stage_seconds() -> Counter[str]:
    """CPU of each stage so far."""
    return Counter(
        {
            sample.labels["stage"]: sample.value
            for metric in STAGE_SECONDS.collect()
            for sample in metric.samples
            if sample.name.endswith("_sum")
        }
    )


def publish(parts: Parts, topic: str, messages: Sequence[Message]) -> None:
    """Each message to the partition of its key."""
    with closing(open_publisher(parts.settings, SystemClock())) as publisher:
        for first in range(0, len(messages), 2000):
            publisher.send(topic, messages[first : first + 2000])


def measure(
    noise: Noise,
    rows: int = ROWS,
    rounds: int = ROUNDS,
    customers: int = CUSTOMERS,
    profile: Path | None = None,
) -> list[Figure]:
    """Both ways in each round; a first round warms up and is left out."""
    with running(partitions=PARTITIONS) as parts:
        world = make_champion(parts, customers)
        create_topics(parts.settings)
        stream = stream_of(world, rows * (rounds + 1))
        bare: list[float] = []
        whole: list[Cost] = []
        for number in range(rounds + 1):
            noise.sample()
            messages = stream[number * rows : (number + 1) * rows]
            bare.append(bare_poll(parts, f"bare-{number}", messages))
            publish(parts, parts.settings.topic_transactions, messages)
            set_heap_aside()
            runner, measured = worker(parts, rows)
            if profile and number == rounds:
                profiled(runner, profile)
            else:
                runner.run()
            whole.append(measured.cost())
            print(
                f"round {number}: poll {bare[-1]:.2f} us, worker {whole[-1].cpu_us:.2f} us, "
                f"{whole[-1].per_second:,.0f} rows/s",
                flush=True,
            )
    return figures(bare[1:], whole[1:])


def figures(bare: Sequence[float], whole: Sequence[Cost]) -> list[Figure]:
    """The worker, and each of its stages, against bare `poll()` of the same round."""

    def ratio(name: str, costs: Sequence[float], beside: str, goal: float | None = None) -> Figure:
        ratios = tuple(cost / poll for cost, poll in zip(costs, bare, strict=True))
        return Figure(name, ratios, "x", goal, beside=f"{median(costs):.2f} {beside}")

    found = [
        ratio(
            "worker / bare poll(), CPU a transaction",
            [cost.cpu_us for cost in whole],
            f"us / {median(bare):.2f} us; {median(c.per_second for c in whole):,.0f} a second",
            GOAL,
        )
    ]
    found += [
        ratio(f"of it {stage} / bare poll()", [cost.stages_us[stage] for cost in whole], "us")
        for stage in whole[0].stages_us
    ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--profile", type=Path, help="write a cProfile of the worker to this file")
    options = parser.parse_args()
    print(aligned(measure(Noise(), **vars(options))))


def bare_poll(parts: Parts, topic: str, messages: list[Message]) -> float:
    """CPU microseconds a message of the client's own consumer."""
    make_topics(parts.bootstrap, [topic], PARTITIONS)
    publish(parts, topic, messages)
    set_heap_aside()
    began = time.process_time()
    read_by_client(parts.bootstrap, topic, len(messages))
    return (time.process_time() - began) / len(messages) * 1e6


def profiled(runner: Runner, path: Path) -> None:
    profile = cProfile.Profile()
    profile.runcall(runner.run)
    profile.dump_stats(path)


if __name__ == "__main__":
    main()
