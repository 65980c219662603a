"""What a rate needs, reckoned from what was measured; docs/scaling.md shows it.

``python -m benchmarks.scaling [--write]`` prints the tables from benchmarks/measured.json, which
``python -m benchmarks.capacity --write`` makes; ``--write`` puts them between the markers of the
page. Each assumption is a field of `Assumed` with its reason, each step a field of `Need`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.queueing import BATCH_ROWS, STAGES, Cost, Site, fitted, simulate
from benchmarks.table import ROOT, shown, with_block

MEASURED = Path(__file__).parent / "measured.json"
PAGE = ROOT / "docs" / "scaling.md"
RATES = (1_000, 10_000, 100_000)
DAY = 86_400
BEGIN = "<!-- benchmarks.scaling: begin -->"
END = "<!-- benchmarks.scaling: end -->"


@dataclass(frozen=True)
class Load:
    """One measurement: CPU microseconds a transaction, and what it was measured with."""

    workers: int
    per_second: float
    batch_rows: float
    worker_us: float
    database_us: float
    broker_us: float
    others: float  # cores that others used


@dataclass(frozen=True)
class Bytes:
    """What a transaction leaves behind: write-ahead log, database files, topics."""

    log: float
    tables: float
    transactions: float
    decisions: float


@dataclass(frozen=True)
class Measured:
    """What `benchmarks.capacity` found, all in one run. `one`, `two`: workers that work off a full
    topic; `calm`, `burst`: two workers at the burst's normal rate and in it."""

    measured_at: str
    cores: int
    one: Load
    two: Load
    calm: Load
    burst: Load
    burst_most_waiting: float
    burst_made_up_seconds: float
    filling_us: float  # broker, for taking a message in
    bytes: Bytes
    resident_mb: float  # of the larger worker
    ratios: dict[str, float]  # transactions a second of one way to run against another

    def fits(self) -> dict[str, tuple[float, Cost]]:
        """Of each stage the cores that two workers take while nothing comes, and its cost: from
        a calm stream, a burst and a full topic."""
        loads = (
            (self.calm.per_second, self.calm),
            (self.burst.per_second, self.burst),
            (math.inf, self.two),
        )
        return {
            stage: fitted([(rate, x.batch_rows, getattr(x, f"{stage}_us")) for rate, x in loads])
            for stage in STAGES
        }

    def costs(self) -> dict[str, Cost]:
        return {stage: cost for stage, (_, cost) in self.fits().items()}


@dataclass(frozen=True)
class Assumed:
    """What no measurement here can tell. Change it, and run this module again."""

    mean_to_peak: float = 1 / 3  # a day's mean rate against the peak that is planned for
    payments_a_month: float = 60.0  # of one account
    accounts_a_worker: float = 5e6  # so that a restart takes minutes, not longer
    batch_seconds: float = 0.05  # that a batch may take; a decision then comes in twice as long
    worker_busy: float = 0.5  # of a core at the peak: room for bursts and restarts
    database_busy: float = 0.5  # room for people, vacuum, backups
    broker_busy: float = 0.5
    partitions_a_worker: int = 4  # workers can be doubled twice without `fraudwatch grow`
    replicas: int = 3  # of topics; each copy costs what taking in costs
    topic_days: float = 14.0
    ledger_days: float = 120.0  # the fewest that stay in the database; older days are files
    primary_tb: float = (
        20.0  # most that one primary should hold: it must be backed up, and restored
    )
    primary_log_mb: float = (
        50.0  # most write-ahead log a second of one primary: a standby writes it
    )


# From `python -m benchmarks.accounts` (docs/performance.md): bytes of an account with 30 payments
# in 30 days and with 58; loading, and reading again what came after a snapshot, both a million.
ACCOUNT_BYTES = ((30.0, 870.0), (58.0, 1197.0))
LOAD_SECONDS, REPLAY_SECONDS = 5.3, 23.0


def account_bytes(payments: float) -> float:
    """Of an account with so many payments in 30 days, on the line through the two measured."""
    (few, small), (many, large) = ACCOUNT_BYTES
    return small + (payments - few) * (large - small) / (many - few)


@dataclass(frozen=True)
class Need:
    """What a peak rate needs, all installations together."""

    per_second: int
    a_day: float
    accounts: float
    for_disk: int  # installations
    for_log: int
    installations: int
    for_cpu: int  # workers
    for_accounts: int
    workers: int
    batch_rows: float
    worker_cores: float  # busy, all workers
    partitions: int
    account_gb: float
    restart_seconds: float  # of one worker that was killed, at most
    database_cores: float
    broker_cores: float
    log_mb: float  # a second, at the peak
    log_gb_a_day: float
    ledger_gb_a_day: float
    ledger_tb: float  # the days kept in the database
    topics_tb: float


def batch_rows(per_second: float, costs: Mapping[str, Cost]) -> float:
    """Rows in a batch of one worker that gets so many: what came while the last was worked off.

    With A seconds a batch and B seconds a row, n = rate x (A + B n); 1 at least, a full batch at
    most.
    """
    fixed = sum(cost.batch_us for cost in costs.values()) / 1e6
    each = sum(cost.row_us for cost in costs.values()) / 1e6
    if per_second * each >= 1:
        return float(BATCH_ROWS)
    return min(float(BATCH_ROWS), max(1.0, per_second * fixed / (1 - per_second * each)))


def need(rate: int, measured: Measured, assumed: Assumed = Assumed()) -> Need:
    """Each line is one step of docs/scaling.md."""
    costs, left = measured.costs(), measured.bytes
    a_day = rate * assumed.mean_to_peak * DAY
    accounts = a_day * 30 / assumed.payments_a_month
    log_mb = rate * left.log / 1e6
    ledger_tb = a_day * left.tables * assumed.ledger_days / 1e12
    for_log = math.ceil(log_mb / assumed.primary_log_mb)
    for_disk = math.ceil(ledger_tb / assumed.primary_tb)
    installations = max(for_log, for_disk)
    full = sum(cost.each(BATCH_ROWS) for cost in costs.values())
    for_cpu = math.ceil(rate * full / 1e6 / assumed.worker_busy)
    for_accounts = math.ceil(accounts / assumed.accounts_a_worker)
    workers = up_to(max(for_cpu, for_accounts), installations)
    size = min(float(BATCH_ROWS), max(1.0, rate / workers * assumed.batch_seconds))
    cores = {
        stage: rate * cost.each(size) / 1e6 + idle / measured.two.workers * workers
        for stage, (idle, cost) in measured.fits().items()
    }
    taking_in = rate * measured.filling_us * assumed.replicas / 1e6
    copied = rate * (left.transactions + left.decisions) * assumed.replicas
    return Need(
        per_second=rate,
        a_day=a_day,
        accounts=accounts,
        for_disk=for_disk,
        for_log=for_log,
        installations=installations,
        for_cpu=for_cpu,
        for_accounts=for_accounts,
        workers=workers,
        batch_rows=size,
        worker_cores=cores["worker"],
        partitions=up_to(workers * assumed.partitions_a_worker, installations),
        account_gb=accounts * account_bytes(assumed.payments_a_month) / 1e9,
        restart_seconds=accounts / workers / 1e6 * (LOAD_SECONDS + REPLAY_SECONDS),
        database_cores=cores["database"] / assumed.database_busy,
        broker_cores=(cores["broker"] + taking_in) / assumed.broker_busy,
        log_mb=log_mb,
        log_gb_a_day=a_day * left.log / 1e9,
        ledger_gb_a_day=a_day * left.tables / 1e9,
        ledger_tb=ledger_tb,
        topics_tb=copied * assumed.mean_to_peak * DAY * assumed.topic_days / 1e12,
    )


def up_to(count: int, step: int) -> int:
    """The next multiple, so that each installation has as many."""
    return math.ceil(count / step) * step


@dataclass(frozen=True)
class Trial:
    """A rate, simulated: five seconds at the peak, five at twice it, then the peak again. Times in
    seconds. Of many workers some are simulated, with their part of the rate and of all cores."""

    per_second: int
    usual: float  # 99 % of decisions, at the peak
    doubled: float  # 99 % at twice the peak
    made_up: float  # from the end of the doubling until no more than before waits
    batch_rows: float


_CELL = 8


def trial(found: Need, measured: Measured) -> Trial:
    """With the cores that `need` reckoned: so that half of them are busy at the peak."""
    workers = min(_CELL, found.workers // found.installations)
    part = workers / found.workers
    site = Site(
        workers,
        worker_cores=workers,
        database_cores=found.database_cores * part,
        broker_cores=found.broker_cores * part,
    )
    peak = found.per_second * part
    flow = simulate(site, measured.costs(), [(5, peak), (5, 2 * peak), (10, peak)])
    usual = max(lag for at, lag in flow.lags if 1 <= at < 5)
    return Trial(
        found.per_second,
        flow.wait(0.99, 1, 5),
        flow.wait(0.99, 5, 10),
        flow.made_up(10, usual),
        flow.rows / (len(flow.lags) - 1),
    )


@dataclass(frozen=True)
class Check:
    """A figure as the model gives it and as it was measured."""

    what: str
    unit: str
    model: float
    measured: float

    @property
    def ratio(self) -> float:
        return self.model / self.measured


def checks(measured: Measured) -> list[Check]:
    """The model against this run: how fast a full topic is worked off.

    Costs are those of the same measurement, and the cores that others used are taken off: what is
    checked is how costs add up to a rate.
    """
    found = []
    for load in (measured.one, measured.two):
        costs = {stage: Cost(getattr(load, f"{stage}_us"), 0) for stage in STAGES}
        flow = simulate(_site(load, measured.cores), costs, waiting=30_000)
        name = f"{load.workers} worker{'s' if load.workers > 1 else ''}, a full topic"
        found.append(Check(name, "a second", flow.per_second, load.per_second))
    one, two = found
    ratio = Check("two workers / one", "x", two.model / one.model, two.measured / one.measured)
    return [*found, ratio]


def _site(load: Load, cores: int) -> Site:
    return Site(load.workers, together=max(0.05, cores - load.others))


def load(path: Path = MEASURED) -> Measured:
    """What the last kept run of `benchmarks.capacity` found."""
    body = json.loads(path.read_text())
    for name in ("one", "two", "calm", "burst"):
        body[name] = Load(**body[name])
    body["bytes"] = Bytes(**body["bytes"])
    return Measured(**body)


def keep(measured: Measured, path: Path = MEASURED) -> None:
    path.write_text(json.dumps(asdict(measured), indent=2) + "\n")


def tables(measured: Measured, assumed: Assumed = Assumed()) -> str:
    """All that stands between the markers of the page."""
    needs = [need(rate, measured, assumed) for rate in RATES]
    trials = [trial(found, measured) for found in needs]
    return "\n\n".join(
        (
            f"Measured {measured.measured_at}, {measured.cores} cores, of which others used "
            f"{measured.two.others:.1f} meanwhile.",
            _costs_table(measured),
            _ratios_table(measured),
            _needs_table(needs),
            _trials_table(trials),
            _checks_table(checks(measured)),
        )
    )


def _costs_table(measured: Measured) -> str:
    left = measured.bytes
    lines = [
        "| CPU, us | a row | a batch | a row in batches of 2,000 | of 100 | of 10 | idle, cores |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for stage, (idle, cost) in measured.fits().items():
        sizes = " | ".join(f"{cost.each(n):.1f}" for n in (2000, 100, 10))
        lines.append(
            f"| {stage} | {cost.row_us:.1f} | {cost.batch_us:,.0f} | {sizes} |"
            f" {idle / measured.two.workers:.3f} a worker |"
        )
    lines.append(f"| broker, taking the message in | {measured.filling_us:.1f} | | | | | |")
    lines += [
        "",
        "| Bytes a transaction | |",
        "|---|---|",
        f"| write-ahead log | {left.log:,.0f} |",
        f"| database files | {left.tables:,.0f} |",
        f"| topic of transactions, lz4 | {left.transactions:,.0f} |",
        f"| topic of decisions, lz4 | {left.decisions:,.0f} |",
    ]
    return "\n".join(lines)


def _ratios_table(measured: Measured) -> str:
    calm, burst = measured.calm, measured.burst
    lines = ["| In the same run | |", "|---|---|"]
    lines += [f"| {what} | {shown(ratio)} x |" for what, ratio in measured.ratios.items()]
    lines += [
        f"| a minute of {burst.per_second / calm.per_second:.0f} times {calm.per_second:,.0f} a "
        f"second: most that waited | {measured.burst_most_waiting:,.0f} |",
        f"| made up after | {measured.burst_made_up_seconds:.1f} s |",
        f"| memory of a worker | {measured.resident_mb:,.0f} MB |",
    ]
    return "\n".join(lines)


_ROWS: tuple[tuple[str, str, str], ...] = (
    ("transactions a day, millions", "a_day", "mega"),
    ("accounts, millions", "accounts", "mega"),
    ("ledger in the database (120 days), TB", "ledger_tb", "tenth"),
    ("write-ahead log at the peak, MB/s", "log_mb", "tenth"),
    ("installations for the ledger's size", "for_disk", "whole"),
    ("installations for the write-ahead log", "for_log", "whole"),
    ("**installations**, each with its own primary", "installations", "whole"),
    ("workers for CPU", "for_cpu", "whole"),
    ("workers for accounts", "for_accounts", "whole"),
    ("**workers**, all installations", "workers", "whole"),
    ("rows in a batch of 50 ms", "batch_rows", "whole"),
    ("cores busy in workers", "worker_cores", "tenth"),
    ("partitions", "partitions", "whole"),
    ("memory for accounts, GB", "account_gb", "whole"),
    ("a killed worker is back after at most, s", "restart_seconds", "whole"),
    ("PostgreSQL cores, half of them busy", "database_cores", "tenth"),
    ("broker cores, half of them busy", "broker_cores", "tenth"),
    ("write-ahead log a day, GB", "log_gb_a_day", "whole"),
    ("ledger a day, GB", "ledger_gb_a_day", "whole"),
    ("topics (14 days, 3 copies), TB", "topics_tb", "tenth"),
)
_SHOWN = {
    "whole": lambda value: f"{value:,.0f}",
    "tenth": lambda value: f"{value:,.1f}",
    "mega": lambda value: f"{value / 1e6:,.1f}",
}


def _needs_table(needs: Sequence[Need]) -> str:
    head = " | ".join(f"{found.per_second:,} a second" for found in needs)
    lines = [f"| At the peak | {head} |", "|---|" + "---|" * len(needs)]
    for title, field, kind in _ROWS:
        cells = " | ".join(_SHOWN[kind](getattr(found, field)) for found in needs)
        lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def _trials_table(trials: Sequence[Trial]) -> str:
    lines = [
        "| Simulated | 99 % at the peak, ms | at twice the peak, ms |"
        " made up after, s | rows in a batch |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {t.per_second:,} a second | {t.usual * 1000:.0f} | {t.doubled * 1000:.0f} |"
        f" {t.made_up:.1f} | {t.batch_rows:,.0f} |"
        for t in trials
    ]
    return "\n".join(lines)


def _checks_table(found: Sequence[Check]) -> str:
    lines = ["| Model against measurement | model | measured | ratio |", "|---|---|---|---|"]
    lines += [
        f"| {c.what} | {shown(c.model)} {c.unit} | {shown(c.measured)} {c.unit} | {c.ratio:.2f} |"
        for c in found
    ]
    return "\n".join(lines)


def page_with(page: str, content: str) -> str:
    """The page with that between its markers. Raises ValueError unless each is there once."""
    return with_block(page.encode(), content, BEGIN, END).decode()


def write() -> None:
    """Put the tables of what is kept into the page."""
    PAGE.write_text(page_with(PAGE.read_text(), tables(load())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/scaling.md")
    options = parser.parse_args()
    print(tables(load()))
    if options.write:
        write()


if __name__ == "__main__":
    main()
