"""What a transaction costs when the ledger is large, against an empty ledger, in one run.

``python -m benchmarks.ledger_size [--rows 50000000] [--days 100]`` starts a database, fills one
ledger with so many rows over so many days and leaves another empty, then writes the same batches
to both in turn as a worker does: look for repeats, prepare the tables, commit. ``--days 1`` is the
hardest case: all rows are of today. Prints CPU of this process and of the database's, wall time and
write-ahead log a transaction, and the ratios large / empty.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import md5
from pathlib import Path
from statistics import median

import numpy as np
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import db, ledger
from fraudwatch.casework.embedded import start_embedded, stop_embedded
from fraudwatch.casework.ledger_tables import LedgerTables, midnight
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
_TICKS = os.sysconf("SC_CLK_TCK")

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
            connection.execute(text(f"CREATE DATABASE {name}"))
        admin.dispose()
        self.engine: Engine = db.open_engine(server.set(database=name), pool_size=1)
        db.migrate(self.engine)
        self.sessions: sessionmaker[Session] = db.session_factory(self.engine)
        self.tables = LedgerTables(self.sessions, FixedClock(NOON))
        self.at = 0
        self._rng = np.random.default_rng(1)

    def fill(self, rows: int, days: int, payload: int, features: int) -> None:
        """So many rows, evenly over the days up to noon of today."""
        each = rows // days
        for number in range(days):
            day = TODAY - timedelta(days=days - 1 - number)
            seconds = 43_200 if day == TODAY else 86_400
            with self.sessions.begin() as session:
                session.execute(text("SET LOCAL statement_timeout = 0"))
                session.execute(text("CREATE TABLE filling (LIKE ledger INCLUDING CONSTRAINTS)"))
                session.execute(
                    text(_FILL),
                    {
                        "accounts": ACCOUNTS,
                        "start": midnight(day),
                        "first": self.at,
                        "last": self.at + each - 1,
                        "step": seconds * 1e6 / each,
                        "payload": bytes(payload),
                        "features": bytes(features),
                        "version": SPEC.version,
                    },
                )
                made = session.scalar(
                    text(
                        "INSERT INTO ledger_tables (first_day, until_day) VALUES (:a, :b)"
                        " RETURNING id"
                    ),
                    {"a": day, "b": day + timedelta(days=1)},
                )
                name = f"ledger_{day:%Y%m%d}_{made}"
                session.execute(text(f"ALTER TABLE filling RENAME TO {name}"))
                session.execute(
                    text("SELECT finish_ledger_table(:name, :a, :b)"),
                    {"name": name, "a": day, "b": day + timedelta(days=1)},
                )
            self.at += each
            print(f"  {self.at:,} rows", flush=True)
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("VACUUM (ANALYZE, FREEZE) ledger"))
            connection.execute(text("CHECKPOINT"))

    def measure(self, batches: int, size: int) -> Cost:
        """Write that many batches of new transactions."""
        made = [self.batch(size) for _ in range(batches)]
        with self.sessions() as session:
            pid = session.scalar(text("SELECT pg_backend_pid()"))
            log = session.scalar(text("SELECT pg_current_wal_insert_lsn()"))
        began = time.process_time(), _cpu_seconds(pid), time.perf_counter()
        for scored, arrivals in made:
            with self.sessions() as session:
                reject_repeats(session, arrivals, self.tables)
            self.tables.prepare(
                ledger.days_of(scored.time_us),
                [(p, scored.offsets[0], scored.offsets[-1] + 1) for p in range(PARTITIONS)],
            )
            with self.sessions.begin() as session:
                ledger.write(session, scored, self.tables)
        ended = time.process_time(), _cpu_seconds(pid), time.perf_counter()
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


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5), fields 14 and 15)."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


@contextmanager
def server() -> Iterator[URL]:
    with tempfile.TemporaryDirectory(prefix="fraudwatch-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            yield start_embedded(folder).set(drivername="postgresql+psycopg")
        finally:
            stop_embedded(folder)


def report(empty: Sequence[Cost], full: Sequence[Cost]) -> None:
    print(f"\n{'a transaction':16}{'empty':>10}{'large':>10}{'large / empty':>16}{'spread':>16}")
    for field in fields(Cost):
        low = [getattr(cost, field.name) for cost in empty]
        high = [getattr(cost, field.name) for cost in full]
        ratios = sorted(b / a for a, b in zip(low, high, strict=True))
        print(
            f"{field.name:16}{median(low):10.2f}{median(high):10.2f}{median(ratios):16.2f}"
            f"{ratios[0]:9.2f} - {ratios[-1]:.2f}"
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
    options = parser.parse_args()
    with server() as url:
        small, large = Installation(url, "small"), Installation(url, "large")
        large.fill(options.rows, options.days, options.payload, options.features)
        costs: tuple[list[Cost], list[Cost]] = [], []
        for number in range(options.rounds + 1):
            for found, installation in zip(costs, (small, large), strict=True):
                found.append(installation.measure(options.batches, options.size))
            print(f"round {number}: {costs[0][-1]} {costs[1][-1]}", flush=True)
        report(costs[0][1:], costs[1][1:])
        small.engine.dispose()
        large.engine.dispose()


if __name__ == "__main__":
    main()
