"""Accounts in memory: bytes of each, restart with a million, and accounts with very many payments.

``python -m benchmarks.accounts [--accounts N] [--days N] [--replay N]`` measures, in one run:

- what an account takes while payments come in (30 in 30 days on average, differing by account as
  people do), at its highest, and in a snapshot; how long one turn of writing a snapshot stops a
  worker;
- a restart of one worker with four partitions: accounts from their snapshots in an embedded
  PostgreSQL, then the ledger rows after them;
- features of accounts with many payments, as ratios to ordinary ones.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

from benchmarks.ledger_size import PARTITIONS, SPEC, Installation
from fraudwatch.casework import ledger
from fraudwatch.casework.embedded import start_embedded, stop_embedded
from fraudwatch.casework.snapshots import PARTS
from fraudwatch.features.columns import Columns, hash_ids
from fraudwatch.features.profiles import EMPTY_PROFILES
from fraudwatch.features.spans import DAY
from fraudwatch.features.state import AccountState
from fraudwatch.memory import Memory

TOPIC = "transactions"
START = 20_000 * DAY
BATCH = 2_000
A_MONTH = 30  # payments of the mean account in 30 days
MIXER = np.uint64(0x9E3779B97F4A7C15)
Ints = NDArray[np.int64]
Ids = NDArray[np.uint64]


def columns(
    rng: np.random.Generator, account: Ids, time_us: Ints, favourites: int = 25, noise: float = 0.1
) -> Columns:
    """Payments at each account's favourite merchants, some elsewhere; two devices, a country."""
    n = len(account)

    def id_of(kind: int, number: NDArray[np.int64]) -> Ids:
        mixed = account * np.uint64(kind) + number.astype(np.uint64)
        return (mixed * MIXER) | np.uint64(1)

    own = rng.integers(0, favourites, n)
    merchant = np.where(rng.random(n) < noise, rng.integers(favourites, 10**6, n), own)
    none = np.zeros(n, dtype=np.int64)
    cents = np.minimum(rng.lognormal(3.0, 1.0, n) * 100, 1e8).astype(np.int64)
    return Columns(
        account=account,
        time_us=time_us,
        amount_e4=cents * 100,
        merchant=id_of(2, merchant),
        category=id_of(3, merchant % 8),
        channel=id_of(4, merchant % 2),
        country=id_of(5, none),
        device=id_of(6, rng.integers(0, 2, n)),
        counterparty=np.zeros(n, dtype=np.uint64),
        latitude=np.where(rng.random(n) < 0.5, 52.0, np.nan),
        longitude=np.where(rng.random(n) < 0.5, 13.0, np.nan),
        attributes=np.empty((n, 0)),
    )


def days(rng: np.random.Generator, accounts: int, count: int) -> Iterator[Columns]:
    """Days of payments in the order of time, to the millisecond."""
    ids = hash_ids([f"account-{number}" for number in range(accounts)])
    rate = rng.lognormal(0.0, 0.7, accounts)
    share = np.cumsum(rate / rate.sum())
    for day in range(count):
        n = accounts * A_MONTH // 30
        who = np.searchsorted(share, rng.random(n))
        times = np.sort(rng.integers(0, DAY // 1_000, n)) * 1_000
        yield columns(rng, ids[np.minimum(who, accounts - 1)], START + day * DAY + times)


def grow(accounts: int, count: int) -> list[AccountState]:
    """The states of all partitions after so many days."""
    states = [AccountState(SPEC) for _ in range(PARTITIONS)]
    highest = busy = rows = 0.0
    for number, found in enumerate(days(np.random.default_rng(1), accounts, count), 1):
        place = (found.account >> np.uint64(32)) % np.uint64(PARTITIONS)
        for partition, state in enumerate(states):
            mine = found.take(np.flatnonzero(place == partition))
            began = time.process_time()
            for begin in range(0, len(mine), 20_000):
                state.absorb(mine.take(slice(begin, begin + 20_000)))
            busy += time.process_time() - began
        rows += len(found)
        known = sum(map(len, states))
        each = sum(state.memory_bytes for state in states) / known
        highest = max(highest, each) if known > 0.9 * accounts else highest
        if number % 10 == 0 or number == count:
            print(f"  day {number:3}: {known:,} accounts, {each:,.0f} bytes each", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"highest, once nine tenths are there: {highest:,.0f} bytes an account")
    print(f"absorbing: {busy / rows * 1e6:.2f} us CPU a payment; process at most {peak:.1f} GB")
    return states


def restart(states: list[AccountState], replayed: int) -> None:
    """Write snapshots, start again from them, and again with ledger rows after them."""
    with tempfile.TemporaryDirectory(prefix="accounts-") as name:
        folder = Path(name)
        try:
            server = start_embedded(folder).set(drivername="postgresql+psycopg")
            _restart(Installation(server, "restart"), states, replayed)
        finally:
            stop_embedded(folder)


def _restart(here: Installation, states: list[AccountState], replayed: int) -> None:
    known = sum(map(len, states))
    memory = Memory(TOPIC, share=1, consecutive=10**9)
    with here.sessions.begin() as session:
        memory.load(session, range(PARTITIONS), SPEC)
    turns = []
    for partition, state in enumerate(states):
        memory[partition].state = state
        for part in range(PARTS):
            began = time.perf_counter()
            with here.sessions.begin() as session:
                memory.save(session, partition, [part])
            turns.append(time.perf_counter() - began)
    with here.sessions() as session:
        size = session.scalar(text("SELECT sum(length(data)) FROM snapshots")) or 0
    print(f"in a snapshot: {size / known:,.0f} bytes an account")
    print(
        f"one turn of {known // PARTITIONS // PARTS:,} accounts: median "
        f"{median(turns) * 1e3:.0f} ms, longest {max(turns) * 1e3:.0f} ms"
    )
    states.clear()
    memory.drop(range(PARTITIONS))
    loading = _load(here)
    print(f"{known:,} accounts from their snapshots: {loading:.1f} s")
    for _ in range(replayed // 5_000):
        scored, _ = here.batch(5_000)
        spans = [(p, scored.offsets[0], scored.offsets[-1] + 1) for p in range(PARTITIONS)]
        here.tables.prepare(ledger.days_of(scored.time_us), spans)
        with here.sessions.begin() as session:
            ledger.write(session, scored, here.tables)
    with here.sessions.begin() as session:
        session.execute(text("UPDATE stream_offsets SET next_offset = :n"), {"n": here.at // 4})
    both = _load(here)
    print(
        f"the same and {here.at:,} ledger rows after them: {both:.1f} s "
        f"({here.at / max(both - loading, 1e-9):,.0f} rows a second)"
    )
    here.engine.dispose()


def _load(here: Installation) -> float:
    memory = Memory(TOPIC, share=1, consecutive=10**9)
    began = time.perf_counter()
    with here.sessions.begin() as session:
        memory.load(session, range(PARTITIONS), SPEC)
    return time.perf_counter() - began


def many(rounds: int = 5) -> None:
    """What a payment costs accounts with many of them, against ordinary ones."""
    rng = np.random.default_rng(2)
    people = (rng.integers(1, 3_000, 200_000).astype(np.uint64)) * MIXER
    month = START + np.sort(rng.integers(0, 50 * DAY, 200_000))
    half = people.copy()
    half[::2] = 7
    late = START + np.sort(rng.integers(0, 30 * DAY, 100_000)) - rng.integers(0, 6 * 10**7, 100_000)

    def one(rows: int, span: int, favourites: int = 500) -> Columns:
        times = START + np.sort(rng.integers(0, span, rows))
        return columns(rng, np.full(rows, 7, dtype=np.uint64), times, favourites)

    cases: dict[str, Columns] = {
        "ordinary accounts": columns(rng, people, month),
        "one account with half of all traffic": columns(rng, half, month),
        "one account, 100,000 in 30 days": one(100_000, 30 * DAY),
        "the same, 50,000 merchants": one(100_000, 30 * DAY, 50_000),
        "the same, in a minute": one(100_000, 6 * 10**7),
        "the same, up to a minute late": columns(rng, np.full(100_000, 7, dtype=np.uint64), late),
        "one account, 1,000 in 30 days": one(10_000, 300 * DAY),
        "one account, 200 in 30 days": one(8_000, 1_200 * DAY),
    }
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, made in cases.items():
            found[name].append(_cost(made))
    ordinary = found["ordinary accounts"]
    print(f"\n{'features of a payment, CPU':42}{'us':>7}{'ratio':>8}{'spread':>14}")
    for name, costs in found.items():
        ratios = sorted(a / b for a, b in zip(costs, ordinary, strict=True))
        print(
            f"{name:42}{median(costs):7.2f}{median(ratios):8.2f}"
            f"{f'{ratios[0]:.2f} - {ratios[-1]:.2f}':>14}"
        )


def _cost(made: Columns) -> float:
    """Median microseconds of CPU a payment, over the later half of the batches."""
    state, costs = AccountState(SPEC), []
    for begin in range(0, len(made), BATCH):
        batch = made.take(slice(begin, begin + BATCH))
        began = time.process_time()
        state.extend(batch, EMPTY_PROFILES)
        costs.append((time.process_time() - began) / len(batch) * 1e6)
    return median(costs[len(costs) // 2 :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=45)
    parser.add_argument("--replay", type=int, default=200_000, help="ledger rows after snapshots")
    arguments = parser.parse_args()
    restart(grow(arguments.accounts, arguments.days), arguments.replay)
    many()


if __name__ == "__main__":
    main()
