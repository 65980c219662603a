"""Rounds of faults, each on a database and topics of its own, each compared at its end."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos.compare import Found, Reader, compare
from tests.chaos.faults import Fault, Faults, schedule
from tests.chaos.site import Site
from tests.chaos.traffic import Chunk, traffic
from tests.chaos.trial import PATIENCE, Carrier, Trial

ROWS_PER_FAULT = 60
FILE_SHARE = 5
"""Every fifth round is on files."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Round:
    """A round and what came of it."""

    number: int
    seed: str
    carrier: Carrier
    faults: dict[str, int]
    missed: int
    seconds: float
    found: Found
    crashes: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.found.wrong and not self.crashes


def run_trial(
    trial: Trial, faults: list[Fault], chunks: Iterator[Chunk], tell: Tell, long_freeze: float
) -> tuple[int, Found]:
    """Suffer the faults while messages come, come to rest, compare. How many points were missed,
    and what was found."""
    causing = Faults(trial, long_freeze=long_freeze)
    missed = 0
    trial.feed(next(chunks))
    trial.start()
    # The first chunk tells which points there are.
    trial.wait(lambda: len(trial.census()) > 20, PATIENCE, "workers come to life")
    for number, fault in enumerate(faults):
        trial.feed(next(chunks))
        done = causing.cause(fault)
        missed += "did not arise" in done
        tell(f"  {number + 1:3d} {fault.kind}: {done}")
        trial.tick()
    trial.feed(next(chunks))
    tell("  the rest is taken in")
    trial.come_to_rest()
    tell("  the reference run")
    trial.run_reference()
    tell("  the comparison")
    return missed, examine(trial)


def examine(trial: Trial) -> Found:
    """A trial at rest against its reference run."""
    site, spec = trial.site, trial.site.trained.spec
    mine = Reader(site.sessions(trial.database), trial.settings, spec)
    reference = Reader(site.sessions(trial.reference_database), trial.reference, spec)
    return compare(mine, reference)


def run_round(
    site: Site,
    number: int,
    seed: int,
    count: int,
    tell: Tell,
    *,
    carrier: Carrier,
    long_freezes: int = 0,
    long_freeze: float = 60,
) -> Round:
    """One round of `count` faults."""
    started = time.monotonic()
    name = f"{seed}-{number}"
    faults = schedule(name, count, carrier, long_freezes=long_freezes)
    trial = Trial(site, carrier, slots=3 if carrier == "kafka" else 2)
    try:
        missed, found = run_trial(trial, faults, traffic(name, ROWS_PER_FAULT), tell, long_freeze)
        kinds = Counter(fault.kind for fault in faults)
        seconds = time.monotonic() - started
        return Round(
            number,
            name,
            carrier,
            dict(kinds),
            missed,
            seconds,
            found,
            trial.crashes,
            trial.census(),
        )
    finally:
        trial.close()


class Log:
    """Rounds done, one JSON object a line, so that a long run goes on where it stopped."""

    def __init__(self, path: Path | None, seed: int) -> None:
        self._path = path
        self.done: dict[int, dict[str, object]] = {}
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


def summary(log: Log) -> dict[str, object]:
    """Figures of all rounds together."""
    faults: Counter[str] = Counter()
    figures: Counter[str] = Counter()
    for entry in log.done.values():
        faults.update(entry["faults"])  # type: ignore[call-overload]
        found: dict[str, object] = entry["found"]  # type: ignore[assignment]
        for name, value in found.items():
            if isinstance(value, int):
                figures[name] += value
        figures["rounds"] += 1
        figures["missed_points"] += int(str(entry["missed"]))
        figures["seconds"] += round(float(str(entry["seconds"])))
        figures["wrong"] += not entry["ok"]
    return {"faults": sum(faults.values()), **figures, "kinds": dict(sorted(faults.items()))}


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
