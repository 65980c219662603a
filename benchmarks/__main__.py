"""`make bench`: what can be measured without data of one's own, in one table, in some ten minutes.

``python -m benchmarks [--only worker,asking | --all] [--write | --no-write]`` runs each part in a
process of its own, one after another, prints one table and, unless only some parts were asked for,
writes it into docs/performance.md. A part that fails does not stop the others; nothing is written
then. `--all` also runs the parts that take half an hour.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context

from benchmarks import accounts, asking, capacity, detectors, ledger_size, streams, worker
from benchmarks.table import (
    ROOT,
    Figure,
    Machine,
    Noise,
    Sample,
    aligned,
    noise_line,
    revision,
    sampled,
    with_block,
    write,
)

PAGE = ROOT / "docs" / "performance.md"


@dataclass(frozen=True)
class Part:
    """A benchmark, and in one clause what it works on: the same in every run."""

    measure: Callable[[Noise], list[Figure]]
    input: str
    long: bool = False


PARTS = {
    "worker": Part(worker.measure, worker.INPUT),
    "asking": Part(asking.measure, asking.INPUT),
    "accounts": Part(accounts.measure, accounts.INPUT),
    "detectors": Part(detectors.measure, detectors.INPUT),
    "streams": Part(streams.measure, streams.INPUT),
    "capacity": Part(capacity.measure, capacity.INPUT, long=True),
    "ledger": Part(ledger_size.measure, "ledger: numbered payments of a hundred days", long=True),
}


def some(text: str) -> list[str]:
    """Names of parts, separated by commas."""
    names = text.split(",")
    if unknown := sorted(set(names) - set(PARTS)):
        raise argparse.ArgumentTypeError(f"no such parts: {unknown}; there are {list(PARTS)}")
    return names


def alone(part: Part) -> tuple[list[Figure], list[Sample]]:
    """Run a part in a fresh process: what another left in memory is not measured."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(sampled, part.measure).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--only", type=some, help=f"some of {', '.join(PARTS)}")
    chosen.add_argument("--all", action="store_true", help="also what takes half an hour")
    parser.add_argument(
        "--write",
        action=argparse.BooleanOptionalAction,
        help="into docs/performance.md, in place of what is there",
    )
    options = parser.parse_args()
    names: list[str] = options.only or [
        name for name, part in PARTS.items() if options.all or not part.long
    ]
    writes = options.only is None if options.write is None else options.write
    if writes:
        with_block(PAGE.read_bytes(), "")  # a page without markers is told of now, not at the end
    began, commit, load = datetime.now(UTC), revision(), os.getloadavg()[0]
    figures: list[Figure] = []
    samples: list[Sample] = []
    failed: list[Exception] = []
    for name in names:
        print(f"== {name}", flush=True)
        try:
            found, noise = alone(PARTS[name])
        except Exception as error:  # noqa: BLE001 - raised below, when the others have run
            error.add_note(f"benchmark: {name}")
            failed.append(error)
            continue
        figures += found
        samples += noise
    print(f"\n{aligned(figures)}\n\n{noise_line(samples)}")
    if failed:
        raise ExceptionGroup("some benchmarks failed, nothing was written", failed)
    if writes:
        cores = len(os.sched_getaffinity(0))
        machine = Machine(began, commit, cores, load, os.getloadavg()[0], tuple(samples))
        note = "The same in each run: " + "; ".join(PARTS[name].input for name in names) + "."
        write(PAGE, figures, machine, note)
        print(f"written into {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
