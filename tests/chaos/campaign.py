"""Rounds of faults, each on a database and topics of its own, each compared at its end."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fraudwatch.settings import Settings
from tests.chaos.compare import Found, Reader, compare
from tests.chaos.coverage import Tries, never_hit
from tests.chaos.faults import Fault, Faults, schedule
from tests.chaos.site import Site
from tests.chaos.traffic import Chunk, traffic
from tests.chaos.trial import PATIENCE, Carrier, Trial, database_of

ROWS_PER_FAULT = 60
CASES_PER_FAULT = 2
EARLY = 3
"""Orders that wait before a round's workers start, at points that were tried in vain. They come on
top of the faults that are counted."""
FILE_SHARE = 5
"""Every fifth round is on files."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Round:
    """A round and what came of it.

    `faults` and `happened`: how many of each kind were to be, and were. `tried` and `struck`: how
    often an act was ordered at a point, and carried out there. `points`: all that arose. `decided`:
    cases that the analyst decided while faults went on.
    """

    number: int
    seed: str
    carrier: Carrier
    faults: dict[str, int]
    happened: dict[str, int]
    tried: dict[str, int]
    struck: dict[str, int]
    points: list[str]
    decided: int
    seconds: float
    found: Found
    crashes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.found.wrong and not self.crashes


def run_trial(
    trial: Trial,
    faults: list[Fault],
    chunks: Iterator[Chunk],
    tries: Tries,
    tell: Tell,
    long_freeze: float,
) -> tuple[Counter[str], int, Found]:
    """Suffer the faults while messages come and, in the second half, a person decides; come to
    rest, compare. Which faults happened, how many cases were decided, and what was found."""
    causing = Faults(
        trial,
        long_freeze=long_freeze,
        choose=tries.choose,
        more=lambda: trial.feed(next(chunks)),
    )
    decided = 0
    for point in tries.in_vain()[:EARLY]:
        trial.order(point, "kill")
        tries.count[f"kill {point}"] += 1
        tell(f"      an order to kill at {point!r} waits")
    trial.feed(next(chunks))
    trial.start()
    # The first chunk tells which points there are.
    trial.wait(lambda: len(trial.census()) > 20, PATIENCE, "workers come to life")
    for number, fault in enumerate(faults):
        trial.feed(next(chunks))
        if number == len(faults) // 2:
            trial.look_into()
        decided += trial.decide(CASES_PER_FAULT)
        tell(f"  {number + 1:3d} {fault.kind}: {causing.cause(fault)}")
        trial.tick()
    trial.feed(next(chunks))
    tell("  the rest is taken in")
    trial.come_to_rest()
    tell("  the reference run")
    trial.run_reference()
    tell("  the comparison")
    return causing.happened, decided, examine(trial)


def examine(trial: Trial) -> Found:
    """A trial at rest against its reference run."""
    return compare(_reader(trial, trial.settings), _reader(trial, trial.reference))


def broken(trial: Trial) -> list[str]:
    """The promises that a trial at rest breaks, whatever its reference run would say."""
    return _reader(trial, trial.settings).broken_promises()


def _reader(trial: Trial, settings: Settings) -> Reader:
    return Reader(trial.site.sessions(database_of(settings)), settings, trial.site.trained.spec)


def run_round(
    site: Site,
    number: int,
    seed: int,
    count: int,
    tell: Tell,
    *,
    tries: Tries,
    carrier: Carrier,
    long_freezes: int = 0,
    long_freeze: float = 60,
) -> Round:
    """One round of `count` faults."""
    started = time.monotonic()
    name = f"{seed}-{number}"
    faults = schedule(name, count, carrier, long_freezes=long_freezes)
    trial = Trial(site, carrier, slots=3 if carrier == "kafka" else 2)
    before = tries.count.copy()
    try:
        happened, decided, found = run_trial(
            trial, faults, traffic(name, ROWS_PER_FAULT), tries, tell, long_freeze
        )
        tried = tries.count - before
        struck = Counter(f"{order['act']} {order['point']}" for order in trial.obeyed())
        tries.learn({}, struck)
        return Round(
            number=number,
            seed=name,
            carrier=carrier,
            faults=dict(Counter(fault.kind for fault in faults)),
            happened=dict(happened),
            tried=dict(tried),
            struck=dict(struck),
            points=trial.census(),
            decided=decided,
            seconds=time.monotonic() - started,
            found=found,
            crashes=trial.crashes,
        )
    finally:
        trial.close()


class Log:
    """Rounds done, one JSON object a line, so that a long run goes on where it stopped."""

    def __init__(self, path: Path | None, seed: int) -> None:
        self._path = path
        self.done: dict[int, dict[str, Any]] = {}
        if path is not None and path.is_file():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                if entry["seed"] == f"{seed}-{entry['number']}":
                    self.done[entry["number"]] = entry

    def add(self, done: Round) -> None:
        entry = asdict(done) | {"ok": done.ok}
        self.done[done.number] = entry
        if self._path is not None:
            with self._path.open("a") as log:
                log.write(json.dumps(entry) + "\n")


def summary(log: Log) -> dict[str, Any]:
    """Figures of all rounds together. `never_hit`: what a long run should have hit."""
    names = ("faults", "happened", "struck")
    added: dict[str, Counter[str]] = {name: Counter() for name in names}
    points: Counter[str] = Counter()
    figures: Counter[str] = Counter()
    for entry in log.done.values():
        for name, counts in added.items():
            counts.update(entry[name])
        points.update(entry["points"])
        figures.update({k: v for k, v in entry["found"].items() if isinstance(v, int)})
        figures["rounds"] += 1
        figures["decided_under_faults"] += entry["decided"]
        figures["seconds"] += round(entry["seconds"])
        figures["wrong"] += not entry["ok"]
    struck: dict[str, dict[str, int]] = {point: {} for point in sorted(points)}
    for name, times in sorted(added["struck"].items()):
        act, point = name.split(" ", 1)
        struck.setdefault(point, {})[act] = times
    return {
        "faults": added["faults"].total(),
        **figures,
        "kinds": {
            kind: f"{added['happened'][kind]} of {planned}"
            for kind, planned in sorted(added["faults"].items())
        },
        "points": struck,
        "never_hit": never_hit(added["happened"], added["struck"], points),
    }


def run(
    count: int,
    seed: int,
    tell: Tell,
    *,
    per_round: int = 50,
    long_freeze: float = 60,
    long_freezes: int = 4,
    file_rounds: Sequence[int] | None = None,
    log: Path | None = None,
) -> Log:
    """Many rounds; `file_rounds` are on files, else every fifth is. The long freezes of the broker
    are in the first rounds, one each."""
    kept = Log(log, seed)
    tries = Tries()
    for entry in kept.done.values():
        tries.learn(entry["tried"], entry["struck"])
    rounds = [min(per_round, count - start) for start in range(0, count, per_round)]
    if all(number in kept.done for number in range(len(rounds))):
        return kept
    with Site(kafka=True) as site:
        for number, size in enumerate(rounds):
            if number in kept.done:
                tell(f"round {number} was done before")
                continue
            on_files = (
                number % FILE_SHARE == FILE_SHARE - 1
                if file_rounds is None
                else number in file_rounds
            )
            carrier: Carrier = "file" if on_files else "kafka"
            tell(f"round {number}: {size} faults on {carrier}, seed {seed}-{number}")
            done = run_round(
                site,
                number,
                seed,
                size,
                tell,
                tries=tries,
                carrier=carrier,
                long_freezes=int(number < long_freezes and carrier == "kafka"),
                long_freeze=long_freeze,
            )
            kept.add(done)
            tell(
                f"round {number}: {'ok' if done.ok else 'WRONG'} in {done.seconds:.0f} s, "
                f"{done.found}"
            )
            for crash in done.crashes:
                tell(f"  crash: {crash}")
    return kept
