"""What a transaction costs when the ledger is large, against an empty ledger, in one run.

``python -m benchmarks.ledger_size [--rows 50000000] [--days 100] [--folder F]`` starts a database,
fills one ledger with so many rows over so many days and leaves another empty, then writes the same
batches to both in turn as a worker does: look for repeats, prepare the tables, commit. ``--days 1``
is the hardest case: all rows are of today. Prints CPU of this process and of the database's, wall
time and write-ahead log a transaction, and the ratios large / empty. 50 million rows take 35 GB and
half an hour. With ``--folder`` the database stays there: the next run goes on filling where the
last one stopped, and measures at once when all is there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import md5
from pathlib import Path
from statistics import median

import numpy as np
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.table import Figure, Noise, noise_line, shown
from benchmarks.table import rows as table_of
from fraudwatch.casework import db, ledger
from fraudwatch.casework.embedded import start_embedded, stop_embedded
from fraudwatch.casework.ledger_tables import LedgerTable, LedgerTables, midnight, read_tables
from fraudwatch.casework.repeats import reject_repeats
from fraudwatch.casework.scored import Scored
from fraudwatch.clock import FixedClock
from fraudwatch.domain.decision import Versions
from fraudwatch.domain.transaction import Transaction, encode
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import from_transactions
from streams.arrivals import Arrivals

PARTITIONS = 4
ACCOUNTS = 1_000_000
TODAY = date(2026, 6, 1)
NOON = midnight(TODAY) + timedelta(hours=12)
SPEC = FeatureSpec()

# A table is filled before it is attached, so that its indexes are built at once.
_FILL = """
    INSERT INTO filling SELECT
        (n % 4)::int, n / 4, md5(n::text), 'account-' || abs(hashint8(n)) % :accounts,
        :start + (n - :first) * interval '1 microsecond' * :step, 12.34, 'EUR',
        'merchant-' || n % 5000, '5411', 'online', 'FR', 'device-' || n % 100000,
        :payload, :features, :version, 0.5, 0.5, NULL, 0, 0, NULL, 1, NULL, 1, '2026-05-31', :start
    FROM generate_series(CAST(:first AS bigint), :last) n
"""


@dataclass(frozen=True)
class Cost:
    """Microseconds, and bytes of write-ahead log, a transaction."""

    worker_cpu: float
    database_cpu: float
    wall: float
    log_bytes: float


class Installation:
    """A ledger in a database of its own, and a writer to it."""

    def __init__(self, server: URL, name: str) -> None:
        admin = create_engine(server, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            there = text("SELECT count(*) FROM pg_database WHERE datname = :name")
            if not connection.scalar(there, {"name": name}):
                connection.execute(text(f"CREATE DATABASE {name}"))
        admin.dispose()
        self.engine: Engine = db.open_engine(server.set(database=name), pool_size=2)
        db.migrate(self.engine)
        self.sessions: sessionmaker[Session] = db.session_factory(self.engine)
        self.tables = LedgerTables(self.sessions, FixedClock(NOON))
        self.at = 0
        self._rng = np.random.default_rng(1)

    def fill(self, rows: int, days: int, payload: int, features: int) -> None:
        """So many rows, evenly over the days up to noon of today; those there are stay.

        Each day's table is cleaned up at once (hint bits, frozen, statistics), as autovacuum does
        long before a table is old: from memory still, and not while we measure.
        """
        each = rows // days
        with self.sessions() as session:
            there = {table.first for table in read_tables(session)}
        began, made = time.monotonic(), 0
        for number in range(days):
            day = TODAY - timedelta(days=days - 1 - number)
            if day not in there:
                name = self._fill(day, number * each, each, payload, features)
                self._outside(f'VACUUM (ANALYZE, FREEZE) "{name}"')
                made += each
                speed = made / (time.monotonic() - began)
                left = (days - 1 - number) * each / speed / 60
                print(
                    f"  {(number + 1) * each:,} rows, {speed:,.0f} a second, {left:.0f} min to go",
                    flush=True,
                )
        self.go_on()
        if made:
            self._outside("CHECKPOINT")

    def go_on(self) -> None:
        """The next transactions come after those there are."""
        with self.sessions() as session:
            ends = [
                session.scalar(
                    text(f'SELECT max("offset") FROM "{table.name}" WHERE partition = 0')
                )
                for table in read_tables(session)
            ]
        self.at = (max((end for end in ends if end is not None), default=-1) + 1) * PARTITIONS

    def _fill(self, day: date, first: int, rows: int, payload: int, features: int) -> str:
        seconds = 43_200 if day == TODAY else 86_400
        with self.sessions.begin() as session:
            session.execute(text("SET LOCAL statement_timeout = 0"))
            session.execute(text("CREATE TABLE filling (LIKE ledger INCLUDING CONSTRAINTS)"))
            session.execute(
                text(_FILL),
                {
                    "accounts": ACCOUNTS,
                    "start": midnight(day),
                    "first": first,
                    "last": first + rows - 1,
                    "step": seconds * 1e6 / rows,
                    "payload": bytes(payload),
                    "features": bytes(features),
                    "version": SPEC.version,
                },
            )
            until = day + timedelta(days=1)
            made = session.scalar(
                text(
                    "INSERT INTO ledger_tables (first_day, until_day) VALUES (:a, :b) RETURNING id"
                ),
                {"a": day, "b": until},
            )
            table = LedgerTable(day, until, int(made or 0))
            session.execute(text(f"ALTER TABLE filling RENAME TO {table.name}"))
            session.execute(
                text("SELECT finish_ledger_table(:name, :a, :b)"),
                {"name": table.name, "a": day, "b": until},
            )
        return table.name

    def _outside(self, statement: str) -> None:
        """A statement that cannot run in a transaction, however long it takes."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text(statement))

    def cost(self, batches: int, size: int) -> Cost:
        """Write that many batches of new transactions."""
        made = [self.batch(size) for _ in range(batches)]
        with self.sessions() as session, self.sessions() as other:
            pids = [one.scalar(text("SELECT pg_backend_pid()")) for one in (session, other)]
            log = session.scalar(text("SELECT pg_current_wal_insert_lsn()"))
        began = time.process_time(), _cpu_seconds(pids), time.perf_counter()
        for scored, arrivals in made:
            with self.sessions() as session:
                reject_repeats(session, arrivals, self.tables)
            self.tables.prepare(
                ledger.days_of(scored.time_us),
                [(p, scored.offsets[0], scored.offsets[-1] + 1) for p in range(PARTITIONS)],
            )
            with self.sessions.begin() as session:
                ledger.write(session, scored, self.tables)
        ended = time.process_time(), _cpu_seconds(pids), time.perf_counter()
        with self.sessions() as session:
            written = session.scalar(
                text("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), :log)"), {"log": log}
            )
        n = batches * size
        worker, database, wall = (
            (end - start) / n * 1e6 for end, start in zip(ended, began, strict=True)
        )
        return Cost(worker, database, wall, float(written or 0) / n)

    def batch(self, size: int) -> tuple[Scored, list[Arrivals[Transaction]]]:
        numbers = range(self.at, self.at + size)
        self.at += size
        accounts = self._rng.integers(0, ACCOUNTS, size).tolist()
        transactions = [
            Transaction(
                transaction_id=md5(str(number).encode(), usedforsecurity=False).hexdigest(),
                account_id=f"account-{account}",
                event_time=NOON + timedelta(milliseconds=number % 10_000_000),
                amount=Decimal("12.34"),
                currency="EUR",
                merchant_id=f"merchant-{number % 5000}",
                merchant_category="5411",
                channel="online",
                country="FR",
                device_id=f"device-{number % 100_000}",
                attributes={"terminal": "t-12345", "score": 0.25},
            )
            for number, account in zip(numbers, accounts, strict=True)
        ]
        payloads = [encode(transaction) for transaction in transactions]
        features = np.round(self._rng.exponential(size=(size, len(SPEC.names))), 2)
        features[features < 1] = 0  # as in life, most are small whole numbers
        offsets = [number // PARTITIONS for number in numbers]
        partitions = [number % PARTITIONS for number in numbers]
        scores = self._rng.random(size)
        scored = Scored(
            partitions=partitions,
            offsets=offsets,
            transactions=transactions,
            time_us=from_transactions(transactions, SPEC).time_us,
            payloads=payloads,
            features=features,
            features_version=SPEC.version,
            anomaly_score=scores,
            risk=scores,
            challenger_risk=np.full(size, np.nan),
            outcome=np.zeros(size, dtype=np.int8),
            rule=np.zeros(size, dtype=np.int8),
            reasons={},
            versions=Versions(1, 1, "2026-05-31"),
            challenger_id=None,
            scored_at=datetime.now(UTC),
        )
        return scored, [Arrivals(0, offsets, transactions, payloads)]


def _cpu_seconds(pids: Iterable[int]) -> float:
    """Time that processes have spent on a processor so far (schedstat of proc(5), nanoseconds)."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


@contextmanager
def server(folder: Path | None = None) -> Iterator[URL]:
    """A database in a folder that stays, or in one that goes."""
    with ExitStack() as stack:
        if folder is None:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="fraudwatch-bench-"))
            folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        stack.callback(stop_embedded, folder)
        yield start_embedded(folder).set(drivername="postgresql+psycopg")


def measure(
    noise: Noise,
    rows: int = 50_000_000,
    days: int = 100,
    rounds: int = 10,
    batches: int = 20,
    size: int = 1000,
    payload: int = 300,
    features: int = 200,
    folder: Path | None = None,
) -> list[Figure]:
    """Ratios large / empty, a value a round. `payload`, `features`: bytes of a filled row's."""
    costs: tuple[list[Cost], list[Cost]] = [], []
    with server(folder) as url, ExitStack() as stack:
        small, large = Installation(url, "small"), Installation(url, "large")
        for installation in (small, large):
            stack.callback(installation.engine.dispose)
        large.fill(rows, days, payload, features)
        small.go_on()
        for number in range(rounds + 1):
            noise.sample()
            for found, installation in zip(costs, (small, large), strict=True):
                found.append(installation.cost(batches, size))
            print(f"round {number}: {costs[0][-1]} {costs[1][-1]}", flush=True)
    empty, full = costs[0][1:], costs[1][1:]  # the first round fills caches
    of = f"{rows / 1e6:g} M ledger rows / at 0"
    return [
        _ratio(f"{what} a transaction at {of}", empty, full, cost, unit, goal)
        for what, cost, unit, goal in _MEASURES
    ]


_MEASURES: tuple[tuple[str, Callable[[Cost], float], str, float | None], ...] = (
    ("CPU of worker and database", lambda cost: cost.worker_cpu + cost.database_cpu, "us", 1.1),
    ("CPU of the worker", lambda cost: cost.worker_cpu, "us", None),
    ("CPU of the database", lambda cost: cost.database_cpu, "us", None),
    ("time by the clock", lambda cost: cost.wall, "us", None),
    ("write-ahead log", lambda cost: cost.log_bytes, "bytes", None),
)


def _ratio(
    name: str,
    empty: Sequence[Cost],
    full: Sequence[Cost],
    cost: Callable[[Cost], float],
    unit: str,
    goal: float | None,
) -> Figure:
    low, high = list(map(cost, empty)), list(map(cost, full))
    return Figure(
        name,
        tuple(b / a for a, b in zip(low, high, strict=True)),
        "x",
        goal,
        beside=f"{shown(median(high))} / {shown(median(low))} {unit}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--payload", type=int, default=300, help="bytes of a filled row's message")
    parser.add_argument("--features", type=int, default=200, help="bytes of its features")
    parser.add_argument("--folder", type=Path, help="where the database stays for the next run")
    noise = Noise()
    print(
        table_of(measure(noise, **vars(parser.parse_args()))), noise_line(noise.samples), sep="\n\n"
    )


if __name__ == "__main__":
    main()
