"""A minute of ten times the normal rate: what waits, how long answers take, how fast it is made up.

Transactions are published on a schedule, ten milliseconds' worth at a time: `NORMAL` a second, then
`TIMES` as many for a minute, then `NORMAL` again until nothing waits. A decision's time counts from
the moment its transaction was due to the moment the broker had it (the topic's own time, in
milliseconds); nothing else reads the topics meanwhile. At the end, `fraudwatch verify`'s proof.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise

from kafka import KafkaConsumer, TopicPartition

from benchmarks.asking import transaction_id
from benchmarks.parts import Parts, payments, promote, running
from benchmarks.processes import Costs, Crew, Meter, between, crew
from benchmarks.table import Figure, Noise
from benchmarks.worker import publish
from fraudwatch.casework import db
from fraudwatch.casework.verify import verify
from fraudwatch.clock import SystemClock
from fraudwatch.detectors.model import Model
from streams.carriers import open_publisher
from streams.simulator.world import World
from streams.source import Message
from streams.topics import create_topics

NORMAL = 1_000
TIMES = 10
BEFORE_SECONDS = 20
BURST_SECONDS = 60
AFTER_SECONDS = 120
"""Most that is waited for the lag to be made up."""
WARM_UP_ROWS = 5_000
STEP_SECONDS = 0.01
QUIET_SECONDS = 5
LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 60
WORKERS = 2
PHASES = ("before", "burst", "after")


@dataclass(frozen=True)
class Phase:
    """One of the three parts. `taken`: seconds from due to decided, in order of size."""

    name: str
    costs: Costs
    taken: tuple[float, ...]

    def at(self, share: float) -> float:
        """Seconds that this share of decisions did not exceed."""
        return self.taken[math.ceil(share * len(self.taken)) - 1]


@dataclass(frozen=True)
class Tide:
    """How it went, with so many a second before and after. `lags`: seconds since the first was
    due, and transactions due and not decided."""

    normal: int
    lags: tuple[tuple[float, int], ...]
    phases: tuple[Phase, ...]
    published: int
    undecided: int
    missing: int
    doubled: int
    ok: bool

    @property
    def most(self) -> int:
        return max(lag for _, lag in self.lags)

    @property
    def made_up(self) -> float:
        """Seconds from the end of the burst until no more waited than before it; infinite if that
        was not seen."""
        end = BEFORE_SECONDS + BURST_SECONDS
        usual = max(lag for at, lag in self.lags if at < BEFORE_SECONDS)
        return min(
            (at - end for at, lag in self.lags if at >= end and lag <= usual),
            default=math.inf,
        )


class Schedule:
    """When each message is due, in seconds from the beginning."""

    def __init__(self, rows: int, normal: int) -> None:
        burst = normal * TIMES
        first, second = normal * BEFORE_SECONDS, burst * BURST_SECONDS
        self.due: list[float] = []
        for number in range(rows):
            if number < first:
                at = number / normal
            elif number < first + second:
                at = BEFORE_SECONDS + (number - first) / burst
            else:
                at = BEFORE_SECONDS + BURST_SECONDS + (number - first - second) / normal
            self.due.append(math.floor(at / STEP_SECONDS + 1e-6) * STEP_SECONDS)

    def phase(self, due: float) -> str:
        """Name of the phase of that moment."""
        return PHASES[(due >= BEFORE_SECONDS) + (due >= BEFORE_SECONDS + BURST_SECONDS)]

    def due_by(self, at: float) -> int:
        """Messages due at that moment."""
        return bisect_right(self.due, at)

    def steps(self) -> Iterator[tuple[float, int, int]]:
        """Moment, first and end of what is due at once."""
        edges = [n for n in range(len(self.due)) if n == 0 or self.due[n] != self.due[n - 1]]
        for first, end in pairwise([*edges, len(self.due)]):
            yield self.due[first], first, end


def run(noise: Noise, world: World, model: Model, partitions: int, normal: int) -> Tide:
    """All of it, some three minutes."""
    rows = WARM_UP_ROWS + normal * (BEFORE_SECONDS + TIMES * BURST_SECONDS + AFTER_SECONDS)
    with running(partitions=partitions) as parts:
        promote(parts, model)
        messages = list(islice(payments(world), rows))
        create_topics(parts.settings)
        with crew(parts) as workers:
            workers.resize(WORKERS)
            meter = Meter(parts, workers)
            publish(parts, parts.settings.topic_transactions, messages[:WARM_UP_ROWS])
            meter.until(WARM_UP_ROWS)
            noise.sample()
            return tide(parts, meter, workers, messages[WARM_UP_ROWS:], normal)


def tide(
    parts: Parts, meter: Meter, workers: Crew, messages: Sequence[Message], normal: int
) -> Tide:
    """Publish on the schedule beside looking at what waits, then compare with what came out."""
    schedule = Schedule(len(messages), normal)
    stop = threading.Event()
    began = time.time() + 1.0
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, parts, messages, schedule, began, stop)
        try:
            lags, costs = watch(meter, workers, schedule, began, sending)
        finally:
            stop.set()
        sent = sending.result()
    meter.until(WARM_UP_ROWS + sent)
    due = {transaction_id(m): at for m, at in zip(messages[:sent], schedule.due, strict=False)}
    taken: dict[str, list[float]] = {name: [] for name in PHASES}
    for name, at in decisions(parts, due):
        taken[schedule.phase(due[name])].append(at - began - due[name])
    with db.session_factory(parts.engine)() as session:
        proof = verify(session, parts.settings.topic_transactions)
    return Tide(
        normal,
        tuple(lags),
        tuple(Phase(name, costs[name], tuple(sorted(taken[name]))) for name in PHASES),
        published=sent,
        undecided=sent - sum(map(len, taken.values())),
        missing=sum(partition.missing for partition in proof.partitions),
        doubled=sum(partition.doubled for partition in proof.partitions),
        ok=proof.ok,
    )


def send(
    parts: Parts,
    messages: Sequence[Message],
    schedule: Schedule,
    began: float,
    stop: threading.Event,
) -> int:
    """Publish what is due, when it is due; returns how many when told to stop."""
    topic = parts.settings.topic_transactions
    with closing(open_publisher(parts.settings, SystemClock())) as publisher:
        for at, first, end in schedule.steps():
            if stop.wait(max(0.0, began + at - time.time())):
                return first
            publisher.send(topic, messages[first:end])
    return len(messages)


def watch(
    meter: Meter, workers: Crew, schedule: Schedule, began: float, sending: Future[int]
) -> tuple[list[tuple[float, int]], dict[str, Costs]]:
    """Until nothing waits for some seconds after the burst: what waited, and costs by phase."""
    ends = dict(
        zip(PHASES, accumulate((BEFORE_SECONDS, BURST_SECONDS, AFTER_SECONDS)), strict=True)
    )
    lags: list[tuple[float, int]] = []
    costs: dict[str, Costs] = {}
    base, usual = meter.decided(), 0
    quiet_since = math.inf
    time.sleep(max(0.0, began - time.time()))
    for name in PHASES:
        begin, batches = meter.read(), workers.batches()
        while (at := time.time() - began) < ends[name] and at - quiet_since < QUIET_SECONDS:
            if sending.done():
                sending.result()
            lag = max(0, schedule.due_by(at) - (meter.decided() - base))
            lags.append((at, lag))
            if at < BEFORE_SECONDS:
                usual = max(usual, lag)
            calm = name == PHASES[-1] and lag <= usual
            quiet_since = min(quiet_since, at) if calm else math.inf
            time.sleep(LOOK_SECONDS)
        costs[name] = between(begin, meter.read(), workers.batches() - batches)
    return lags, costs


def decisions(parts: Parts, wanted: Collection[bytes]) -> Iterator[tuple[bytes, float]]:
    """Each wanted id once, and when the broker had its first decision, seconds since 1970."""
    left = set(wanted)
    with closing(
        KafkaConsumer(bootstrap_servers=parts.bootstrap, group_id=None, max_poll_records=5_000)
    ) as consumer:
        places = [
            TopicPartition(parts.settings.topic_decisions, number)
            for number in range(parts.settings.partitions)
        ]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while left and time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=200).values():
                for record in records:
                    name = dict(record.headers)["transaction_id"]
                    if name in left:
                        left.remove(name)
                        yield name, record.timestamp / 1000


def figures(found: Tide) -> list[Figure]:
    before, burst, after = found.phases
    lost = found.missing + found.doubled + found.undecided
    return [
        Figure(
            f"burst of {found.normal * TIMES:,} a second for a minute: lost or doubled",
            (float(lost if found.ok else max(1, lost)),),
            "transactions",
            0,
            beside=f"of {found.published:,}; verify {'ok' if found.ok else 'NOT ok'}",
        ),
        Figure(
            "burst: seconds until no more waits than before it",
            (min(found.made_up, AFTER_SECONDS),),
            "s",
            None,
            beside=f"most that waited {found.most:,}"
            + ("" if math.isfinite(found.made_up) else "; it was not made up in that time"),
        ),
        Figure(
            "burst: event to decision on the topic, 99 %",
            (burst.at(0.99) * 1000,),
            "ms",
            None,
            beside=f"median {burst.at(0.5) * 1000:.0f}; before {before.at(0.5) * 1000:.0f} and "
            f"{before.at(0.99) * 1000:.0f}, after {after.at(0.5) * 1000:.0f} and "
            f"{after.at(0.99) * 1000:.0f}; others used {burst.costs.others:.1f} cores",
        ),
        Figure(
            f"burst: CPU of all parts at {found.normal:,} a second / at {found.normal * TIMES:,}",
            (before.costs.all_us / burst.costs.all_us,),
            "x",
            None,
            beside=f"{before.costs.all_us:.0f} us in batches of {before.costs.batch_rows:.0f}, "
            f"{burst.costs.all_us:.0f} us in batches of {burst.costs.batch_rows:.0f}",
        ),
    ]
