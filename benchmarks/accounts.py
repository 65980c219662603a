"""Accounts in memory: bytes of each, restart with a million, and accounts with very many payments.

``python -m benchmarks.accounts [--accounts N] [--days N] [--replay N] [--rounds N]`` measures:

- what an account takes while payments come in (30 in 30 days on average, differing by account as
  people do), at its highest, and in a snapshot; how long one turn of writing a snapshot stops a
  worker;
- a restart of one worker with four partitions, from the start of its process: accounts from their
  snapshots in an embedded PostgreSQL, then the ledger rows after them; beside it a process that
  reads the same snapshots and makes nothing of them;
- features of accounts with many payments, as ratios to ordinary ones.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import URL, text

from benchmarks.ledger_size import PARTITIONS, SPEC, Installation, server
from benchmarks.restart import LOAD, READ, memory_of
from benchmarks.table import Figure, Noise, aligned
from fraudwatch.casework import ledger
from fraudwatch.casework.snapshots import PARTS
from fraudwatch.features.columns import Columns, hash_ids
from fraudwatch.features.profiles import EMPTY_PROFILES
from fraudwatch.features.spans import DAY
from fraudwatch.features.state import AccountState

ACCOUNTS, DAYS, REPLAYED, ROUNDS = 1_000_000, 45, 200_000, 3
GOAL_BYTES, GOAL_RESTART = 1_024, 10
SEED = 1
INPUT = (
    f"accounts: {ACCOUNTS:,} with {DAYS} days of made-up payments of seed {SEED}, busy ones "
    f"of seed {SEED + 1}"
)
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


@dataclass(frozen=True)
class Grown:
    """States of all partitions; the most bytes an account, and CPU microseconds a payment."""

    states: list[AccountState]
    highest: float
    absorbing: float


def grow(accounts: int, count: int) -> Grown:
    """Let so many days of payments come in."""
    states = [AccountState(SPEC) for _ in range(PARTITIONS)]
    highest = busy = rows = 0.0
    for number, found in enumerate(days(np.random.default_rng(SEED), accounts, count), 1):
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
    return Grown(states, highest, busy / rows * 1e6)


def memory(grown: Grown, known: int, in_snapshot: float) -> Figure:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Figure(
        f"memory an account, the highest while {known:,} grow",
        (grown.highest,),
        "bytes",
        GOAL_BYTES,
        beside=f"{in_snapshot:.0f} bytes in a snapshot; a payment joins in "
        f"{grown.absorbing:.2f} us CPU; the whole process at most {peak:.1f} GB",
    )


def restart(grown: Grown, replayed: int, noise: Noise, rounds: int) -> list[Figure]:
    """Write snapshots, start again from them, and again with ledger rows after them."""
    with server() as url:
        here = Installation(url, "restart")
        known = sum(map(len, grown.states))
        turns = save(here, grown.states)
        with here.sessions() as session:
            size = session.scalar(text("SELECT sum(length(data)) FROM snapshots")) or 0
        figures = [memory(grown, known, size / known)]
        grown.states.clear()
        fresh = restarts(here.engine.url, noise, rounds, [LOAD, READ])
        replay(here, replayed)
        longer = restarts(here.engine.url, noise, rounds, [LOAD])
        here.engine.dispose()
    load, read, more = fresh[LOAD], fresh[READ], longer[LOAD]
    return [
        *figures,
        Figure(
            f"restart with {known:,} accounts",
            load.wall,
            "s",
            GOAL_RESTART,
            beside=f"{median(load.cpu):.1f} s of a processor; a process that only reads the same "
            f"bytes {median(read.wall):.1f} s, {median(read.cpu):.1f} s of a processor",
        ),
        Figure(
            f"the same and {here.at:,} ledger rows after the snapshots",
            more.wall,
            "s",
            GOAL_RESTART,
            beside=f"{median(more.cpu):.1f} s of a processor",
        ),
        Figure(
            f"one turn of a snapshot, {known // PARTITIONS // PARTS:,} accounts",
            tuple(turn * 1e3 for turn in turns),
            "ms",
            None,
            beside="a worker stops for so long; a round is a turn",
        ),
    ]


def save(here: Installation, states: Sequence[AccountState]) -> list[float]:
    """Write snapshots of all accounts; returns the seconds of each turn."""
    memory, turns = memory_of(), []
    with here.sessions.begin() as session:
        memory.load(session, range(PARTITIONS), SPEC)
    for partition, state in enumerate(states):
        memory[partition].state = state
        for part in range(PARTS):
            began = time.perf_counter()
            with here.sessions.begin() as session:
                memory.save(session, partition, [part])
            turns.append(time.perf_counter() - began)
    memory.drop(range(PARTITIONS))
    return turns


def replay(here: Installation, rows: int) -> None:
    """Let so many rows of the ledger follow the snapshots."""
    for _ in range(rows // 5_000):
        scored, _ = here.batch(5_000)
        spans = [(p, scored.offsets[0], scored.offsets[-1] + 1) for p in range(PARTITIONS)]
        here.tables.prepare(ledger.days_of(scored.time_us), spans)
        with here.sessions.begin() as session:
            ledger.write(session, scored, here.tables)
    with here.sessions.begin() as session:
        session.execute(text("UPDATE stream_offsets SET next_offset = :n"), {"n": here.at // 4})


@dataclass(frozen=True)
class Restarts:
    """Seconds that fresh processes took, by the clock and of a processor, in each round."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


def restarts(database: URL, noise: Noise, rounds: int, ways: Sequence[str]) -> dict[str, Restarts]:
    """Start a process for each way in each round."""
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    url = database.render_as_string(hide_password=False)
    for _ in range(rounds):
        noise.sample()
        for way, found in taken.items():
            wall, cpu = time.perf_counter(), _children_cpu()
            subprocess.run([sys.executable, "-m", "benchmarks.restart", way, url], check=True)
            found.append((time.perf_counter() - wall, _children_cpu() - cpu))
    print(f"  restarts: {taken}", flush=True)
    return {way: Restarts(*map(tuple, zip(*found, strict=True))) for way, found in taken.items()}


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def many(noise: Noise, rounds: int) -> list[Figure]:
    """What a payment costs accounts with many of them, against ordinary ones."""
    rng = np.random.default_rng(SEED + 1)
    people = (rng.integers(1, 3_000, 200_000).astype(np.uint64)) * MIXER
    month = START + np.sort(rng.integers(0, 50 * DAY, 200_000))
    half = people.copy()
    half[::2] = 7
    late = START + np.sort(rng.integers(0, 30 * DAY, 100_000)) - rng.integers(0, 6 * 10**7, 100_000)

    def one(rows: int, span: int, favourites: int = 500) -> Columns:
        times = START + np.sort(rng.integers(0, span, rows))
        return columns(rng, np.full(rows, 7, dtype=np.uint64), times, favourites)

    ordinary = columns(rng, people, month)
    cases: dict[str, Columns] = {
        "an account with half of all traffic": columns(rng, half, month),
        "an account with 100,000 payments in 30 days": one(100_000, 30 * DAY),
        "the same at 50,000 merchants": one(100_000, 30 * DAY, 50_000),
        "the same in a minute": one(100_000, 6 * 10**7),
        "the same up to a minute late": columns(rng, np.full(100_000, 7, dtype=np.uint64), late),
        "an account with 1,000 payments in 30 days": one(10_000, 300 * DAY),
        "an account with 200 payments in 30 days": one(8_000, 1_200 * DAY),
    }
    beside: list[float] = []
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        noise.sample()
        beside.append(_cost(ordinary))
        for name, made in cases.items():
            found[name].append(_cost(made))
    return [
        Figure(
            f"{name} / ordinary ones, features of a payment",
            tuple(a / b for a, b in zip(costs, beside, strict=True)),
            "x",
            None,
            beside=f"{median(costs):.2f} us / {median(beside):.2f} us CPU",
        )
        for name, costs in found.items()
    ]


def _cost(made: Columns) -> float:
    """Median microseconds of CPU a payment, over the later half of the batches."""
    state, costs = AccountState(SPEC), []
    for begin in range(0, len(made), BATCH):
        batch = made.take(slice(begin, begin + BATCH))
        began = time.process_time()
        state.extend(batch, EMPTY_PROFILES)
        costs.append((time.process_time() - began) / len(batch) * 1e6)
    return median(costs[len(costs) // 2 :])


def measure(
    noise: Noise,
    accounts: int = ACCOUNTS,
    days: int = DAYS,
    replay: int = REPLAYED,
    rounds: int = ROUNDS,
) -> list[Figure]:
    """Accounts grow once, which is the same each time; the rest is done in each round."""
    grown = grow(accounts, days)
    return restart(grown, replay, noise, rounds) + many(noise, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--replay", type=int, default=REPLAYED, help="ledger rows after snapshots")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    print(aligned(measure(Noise(), **vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
