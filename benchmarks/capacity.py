"""What an installation takes in, and what each of its parts costs; all parts run as processes.

``python -m benchmarks.capacity [--rounds 3] [--rows 30000] [--only drain,burst] [--write]``
starts a broker, a database and workers on this machine. About ten minutes.

- drain: a topic that was filled while the workers were frozen is worked off, by one worker and by
  two; free to use every core, pinned to a core each, and slowed down to a quarter of the time each
  (as if broker and database were elsewhere); with traffic spread evenly, and with half of it in one
  account. What is compared runs in the same round.
- embedded: one worker on files and the embedded database, nothing else.
- burst: a minute of ten times the normal rate (`benchmarks.burst`).

Filling the topic costs the broker too; that is measured on its own. With ``--write`` what
`benchmarks.scaling` reckons with is kept in benchmarks/measured.json, and the tables of
docs/scaling.md are made anew.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import median

from benchmarks import burst, scaling
from benchmarks.parts import Parts, payments, promote, running, trained
from benchmarks.processes import Costs, Crew, Meter, Sizes, between, crew
from benchmarks.table import Figure, Noise, aligned, noise_line, sampled
from benchmarks.worker import publish
from fraudwatch.clock import SystemClock
from fraudwatch.detectors.model import Model
from streams.simulator.world import World
from streams.source import Message
from streams.topics import create_topics

PARTITIONS = 4
CUSTOMERS = 5_000
ROUNDS = 3
ROWS = 30_000
SLOW_SHARE = 0.25
HOT = "acc-000001"
"""An account that the model was trained to find usual: what is measured is how busy it is."""
HOT_ROWS = 1_000
"""Few, since reasons of an alert take longer the more payments its account has."""
INPUT = (
    f"capacity: {ROWS:,} payments a run, {CUSTOMERS:,} accounts of the simulator, {PARTITIONS} "
    f"partitions, processes on all cores; a burst of {burst.NORMAL * burst.TIMES:,} a second"
)
PARTS = ("drain", "embedded", "burst")
_ACCOUNT = re.compile(rb'"account_id":"[^"]*"')


@dataclass(frozen=True)
class Run:
    """One filled topic worked off. `let_run`: seconds that each worker was let run."""

    costs: Costs
    filling_us: float  # CPU of the broker for taking a message in
    let_run: float
    to_people: float  # share

    @property
    def per_second(self) -> float:
        """Transactions in a second that the workers were let run."""
        return self.costs.rows / self.let_run


class Bench:
    """Parts that run, and how their topic is filled and worked off."""

    def __init__(self, parts: Parts, meter: Meter, workers: Crew) -> None:
        self.meter = meter
        self.crew = workers
        self._send = partial(publish, parts, parts.settings.topic_transactions)

    def work_off(self, messages: Sequence[Message], *, slowed: bool = False) -> Run:
        """Fill the topic while no worker runs, then let them."""
        meter, workers, rows = self.meter, self.crew, len(messages)
        batches, people, target = workers.batches(), meter.to_people(), meter.decided() + rows
        with workers.frozen():
            before = meter.read()
            self._send(messages)
            begin = meter.read()
            if slowed:
                with workers.slowed(SLOW_SHARE) as ran:
                    meter.until(target)
                    end = meter.read()
        if not slowed:
            meter.until(target)
            end = meter.read()
            ran = [end.at - begin.at]
        return Run(
            between(begin, end, workers.batches() - batches),
            (begin.broker - before.broker) / rows * 1e6,
            sum(ran) / len(ran),
            (meter.to_people() - people) / rows,
        )


def half_hot(messages: Sequence[Message]) -> list[Message]:
    """The same messages, every second one of one account."""
    field = b'"account_id":"%s"' % HOT.encode()
    return [
        Message(HOT.encode(), _ACCOUNT.sub(field, message.value, count=1), message.headers)
        if number % 2
        else message
        for number, message in enumerate(messages)
    ]


@dataclass(frozen=True)
class Drain:
    """Runs by name, one a round; what transactions left behind; memory of the workers."""

    runs: dict[str, list[Run]]
    left: scaling.Bytes
    resident_mb: float

    def ratios(self, name: str, beside: str) -> tuple[float, ...]:
        """Transactions a second of one against another, in each round."""
        pairs = zip(self.runs[name], self.runs[beside], strict=True)
        return tuple(a.per_second / b.per_second for a, b in pairs)

    def values(self, name: str, field: str) -> tuple[float, ...]:
        return tuple(float(getattr(run.costs, field)) for run in self.runs[name])

    def middle(self, name: str, field: str) -> float:
        return median(self.values(name, field))


def drain(noise: Noise, world: World, model: Model, rounds: int, rows: int) -> Drain:
    """The first round warms up and is left out."""
    runs: dict[str, list[Run]] = {}
    with running(partitions=PARTITIONS) as parts:
        promote(parts, model)
        supply = payments(world)
        create_topics(parts.settings)
        with crew(parts) as workers:
            bench = Bench(parts, Meter(parts, workers), workers)
            for number in range(rounds + 1):
                noise.sample()
                if number == 1:
                    runs.clear()
                    first, sent = bench.meter.sizes(), bench.meter.decided()
                for count in (2, 1):
                    workers.resize(count)
                    for name, run in variants(bench, supply, rows):
                        runs.setdefault(f"{count} {name}", []).append(run)
                        told(f"{count} {name}", run.costs)
                if number == rounds:
                    left = left_by(first, bench.meter.sizes(), bench.meter.decided() - sent)
                    resident = max(workers.resident_bytes()) / 1e6
    return Drain(runs, left, resident)


def variants(bench: Bench, supply: Iterator[Message], rows: int) -> Iterator[tuple[str, Run]]:
    """The same workers in different conditions."""
    yield "free", bench.work_off(list(islice(supply, rows)))
    yield "hot", bench.work_off(half_hot(list(islice(supply, HOT_ROWS))))
    bench.crew.pin([0, 1])
    yield "pinned", bench.work_off(list(islice(supply, rows)))
    bench.crew.pin(None)
    yield "slowed", bench.work_off(list(islice(supply, rows // 2)), slowed=True)


def left_by(begin: Sizes, end: Sizes, rows: int) -> scaling.Bytes:
    """What each of so many transactions left on disks between the two moments."""

    def grown(topic: str) -> float:
        return (end.topics.get(topic, 0) - begin.topics.get(topic, 0)) / rows

    return scaling.Bytes(
        log=(end.log - begin.log) / rows,
        tables=(end.tables - begin.tables) / rows,
        transactions=grown("transactions"),
        decisions=grown("fraudwatch.decisions"),
    )


def embedded(noise: Noise, world: World, model: Model, rounds: int, rows: int) -> list[Run]:
    """One worker on files and the embedded database. The first round is left out."""
    runs = []
    with running(kafka=False, partitions=PARTITIONS) as parts:
        promote(parts, model)
        supply = payments(world)
        create_topics(parts.settings)
        with crew(parts) as workers:
            workers.resize(1)
            bench = Bench(parts, Meter(parts, workers), workers)
            for _ in range(rounds + 1):
                noise.sample()
                runs.append(bench.work_off(list(islice(supply, rows))))
                told("embedded", runs[-1].costs)
    return runs[1:]


def told(name: str, costs: Costs) -> None:
    print(
        f"  {name:10}{costs.per_second:8,.0f} a second; CPU us: worker {costs.worker_us:.1f}, "
        f"database {costs.database_us:.1f}, broker {costs.broker_us:.1f}; "
        f"batches of {costs.batch_rows:,.0f}; others used {costs.others:.2f} cores",
        flush=True,
    )


def drain_figures(found: Drain) -> list[Figure]:
    two, one = "2 free", "1 free"
    cores = tuple(2 * 1e6 / each for each in found.values(two, "all_us"))
    beside = ", ".join(
        f"{part} {found.middle(two, field):.1f}"
        for part, field in (
            ("worker", "worker_us"),
            ("database", "database_us"),
            ("broker", "broker_us"),
        )
    )
    filling = median(run.filling_us for run in found.runs[two])
    others = found.middle(two, "others")
    pinned = found.ratios("2 pinned", "1 pinned")
    workers = zip(found.values("1 free", "worker_us"), found.values(two, "worker_us"), strict=True)
    hot, even = (median(run.to_people for run in found.runs[name]) for name in ("1 hot", one))
    return [
        Figure(
            "capacity: durable transactions, two workers, all on these cores",
            found.values(two, "per_second"),
            "a second",
            20_000,
            at_most=False,
            beside=f"others used {others:.1f} cores meanwhile",
        ),
        Figure(
            "capacity: the same, if CPU alone were the limit of two cores",
            cores,
            "a second",
            20_000,
            at_most=False,
            beside="2 / CPU of all parts",
        ),
        Figure(
            "capacity: CPU of all parts",
            found.values(two, "all_us"),
            "us",
            None,
            beside=f"{beside}; taking the message in: broker {filling:.1f}",
        ),
        Figure(
            "capacity: two workers / one, a quarter of a core each, the rest for the others",
            found.ratios("2 slowed", "1 slowed"),
            "x",
            1.8,
            at_most=False,
            beside="as if broker and database were elsewhere",
        ),
        Figure(
            "capacity: two workers / one, CPU that a worker has for a transaction",
            tuple(2 * a / b for a, b in workers),
            "x",
            1.8,
            at_most=False,
            beside="derived: 2 x CPU with one / CPU with two",
        ),
        Figure(
            "capacity: two workers / one, pinned, broker and database on the same two cores",
            pinned,
            "x",
            None,
            beside=f"not pinned {median(found.ratios(two, one)):.2f}",
        ),
        Figure(
            "capacity: half of all traffic in one account / evenly spread, one worker",
            found.ratios("1 hot", one),
            "x",
            None,
            beside=f"two workers {median(found.ratios('2 hot', two)):.2f}; {hot:.1%} went to "
            f"people, evenly spread {even:.1%}",
        ),
    ]


def embedded_figures(runs: Sequence[Run]) -> list[Figure]:
    database = median(run.costs.database_us for run in runs)
    return [
        Figure(
            "capacity: embedded parts alone, durable transactions",
            tuple(run.costs.per_second for run in runs),
            "a second",
            None,
            at_most=False,
            beside="one worker, files",
        ),
        Figure(
            "capacity: embedded parts alone, CPU",
            tuple(run.costs.all_us for run in runs),
            "us",
            None,
            beside=f"database {database:.1f} of it",
        ),
    ]


def measure(
    noise: Noise,
    rounds: int = ROUNDS,
    rows: int = ROWS,
    customers: int = CUSTOMERS,
    normal: int = burst.NORMAL,
    only: Sequence[str] = PARTS,
    keep: bool = False,
) -> list[Figure]:
    """Figures of the parts asked for; `keep` writes what scaling reckons with."""
    figures: list[Figure] = []
    world, model = trained(customers, HOT)
    if "embedded" in only:
        figures += embedded_figures(embedded(noise, world, model, rounds, rows))
    if "drain" in only:
        drained = drain(noise, world, model, rounds, rows)
        figures += drain_figures(drained)
    if "burst" in only:
        tide = burst.run(noise, world, model, PARTITIONS, normal)
        figures += burst.figures(tide)
    if keep:
        scaling.keep(kept(drained, tide))
    return figures


KEPT = {
    "two workers / one, a quarter of a core each": ("2 slowed", "1 slowed"),
    "two workers / one, pinned, all parts on two cores": ("2 pinned", "1 pinned"),
    "two workers / one, not pinned": ("2 free", "1 free"),
    "half of all traffic in one account / evenly spread, one worker": ("1 hot", "1 free"),
}


def kept(drained: Drain, tide: burst.Tide) -> scaling.Measured:
    """What scaling reckons with: the middle of all rounds."""

    def load(workers: int) -> scaling.Load:
        fields = (
            "per_second",
            "batch_rows",
            "worker_us",
            "database_us",
            "broker_us",
            "others",
        )
        return scaling.Load(workers, *(drained.middle(f"{workers} free", f) for f in fields))

    def phase(found: burst.Phase) -> scaling.Load:
        costs = found.costs
        return scaling.Load(
            burst.WORKERS,
            costs.per_second,
            costs.batch_rows,
            costs.worker_us,
            costs.database_us,
            costs.broker_us,
            costs.others,
        )

    before, during, _ = tide.phases
    return scaling.Measured(
        measured_at=f"{SystemClock().now():%Y-%m-%d}",
        cores=len(os.sched_getaffinity(0)),
        one=load(1),
        two=load(2),
        calm=phase(before),
        burst=phase(during),
        burst_most_waiting=tide.most,
        burst_made_up_seconds=min(tide.made_up, burst.AFTER_SECONDS),
        filling_us=median(run.filling_us for run in drained.runs["2 free"]),
        bytes=drained.left,
        resident_mb=drained.resident_mb,
        ratios={
            what: median(drained.ratios(name, beside)) for what, (name, beside) in KEPT.items()
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--normal", type=int, default=burst.NORMAL, help="a second, in the burst")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--write", action="store_true", help="keep what scaling reckons with")
    options = parser.parse_args()
    only = options.only.split(",")
    if unknown := set(only) - set(PARTS):
        parser.error(f"no such parts: {sorted(unknown)}")
    if options.write and not {"drain", "burst"} <= set(only):
        parser.error("--write needs drain and burst")
    figures, samples = sampled(
        partial(
            measure,
            rounds=options.rounds,
            rows=options.rows,
            customers=options.customers,
            normal=options.normal,
            only=only,
            keep=options.write,
        )
    )
    print(f"\n{aligned(figures)}\n{noise_line(samples)}\n")
    if options.write:
        scaling.write()


if __name__ == "__main__":
    main()
