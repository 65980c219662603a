"""The one table of `make bench`: figures beside their goals, and how noisy the machine was.

Each benchmark returns `Figure`s from a function `measure(noise, ...)`, one value a round, and calls
`noise.sample()` between its rounds. `rows` shows figures as a Markdown table; `write` replaces what
stands between two markers of a page with that table and what must be known of the machine, and
leaves every other byte of the page alone.
"""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

BEGIN = "<!-- make bench: begin -->"
END = "<!-- make bench: end -->"
ROOT = Path(__file__).parents[1]
_REFERENCE_STEPS = 500_000
_HEAD = ("Measure", "Median", "Spread (rounds)", "Goal", "Met", "Beside")


@dataclass(frozen=True)
class Figure:
    """What was measured in each round, in `unit` ("x" for a ratio), and what it should be.

    `beside` tells what it was compared with, or what else the same run gave. Raises ValueError
    without a value, for one that is not finite, and for text of more than one line.
    """

    measure: str
    values: tuple[float, ...]
    unit: str
    goal: float | None
    at_most: bool = True
    beside: str = ""

    def __post_init__(self) -> None:
        if not self.values or not all(map(math.isfinite, self.values)):
            raise ValueError(f"{self.measure!r} needs finite values, one a round: {self.values}")
        if any(len(text.splitlines()) > 1 for text in (self.measure, self.unit, self.beside)):
            raise ValueError(f"{self.measure!r} must fit into one line of a table")

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the goal; None without one."""
        if self.goal is None:
            return None
        return self.median <= self.goal if self.at_most else self.median >= self.goal


@dataclass(frozen=True)
class Sample:
    """Seconds that the reference task took: of the processor, and by the clock."""

    cpu: float
    wall: float


class Noise:
    """Runs the reference task whenever asked, and keeps what it took."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def sample(self) -> None:
        """Work that is the same each time and needs nothing but a processor, some 0.05 s."""
        cpu, wall = time.process_time(), time.perf_counter()
        state = 1
        for _ in range(_REFERENCE_STEPS):
            state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        self.samples.append(Sample(time.process_time() - cpu, time.perf_counter() - wall))


def sampled(measure: Callable[[Noise], list[Figure]]) -> tuple[list[Figure], list[Sample]]:
    """What a benchmark found, and the reference task before, between and after its rounds."""
    noise = Noise()
    noise.sample()
    figures = measure(noise)
    noise.sample()
    return figures, noise.samples


@dataclass(frozen=True)
class Machine:
    """Where and when the figures of a table were measured; load averages of one minute."""

    began: datetime
    revision: str
    cores: int
    load_before: float
    load_after: float
    samples: tuple[Sample, ...]


def revision() -> str:
    """The commit that is checked out, and whether tracked files differ from it."""
    if not (ROOT / ".git").exists():
        return "unknown"

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


def rows(figures: Sequence[Figure]) -> str:
    """The table in Markdown: the median decides whether a goal is met."""
    lines = (_HEAD, ("---",) * len(_HEAD), *map(_cells, figures))
    return "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines
    )


def aligned(figures: Sequence[Figure]) -> str:
    """The same table for a terminal."""
    lines = (_HEAD, *map(_cells, figures))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(figure: Figure) -> tuple[str, ...]:
    unit, rounds = figure.unit, len(figure.values)
    goal = ""
    if figure.goal is not None:
        goal = f"{'≤' if figure.at_most else '≥'} {figure.goal:,.10g} {unit}"
    return (
        figure.measure,
        f"{shown(figure.median)} {unit}",
        f"{_spread(figure.values)} ({rounds})" if rounds > 1 else "(1)",
        goal,
        {None: "", True: "yes", False: "no"}[figure.met],
        figure.beside,
    )


def _spread(values: Sequence[float]) -> str:
    return f"{shown(min(values))} to {shown(max(values))}"


def shown(value: float) -> str:
    """Three significant digits, or the whole number if that has more."""
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def noise_line(samples: Sequence[Sample]) -> str:
    """How much a task that never changes varied while the figures were measured."""
    if not samples:
        return "The reference task was not run."
    cpu = [sample.cpu * 1e3 for sample in samples]
    waits = [sample.wall / sample.cpu for sample in samples]
    return (
        f"Noise: a reference task that only computes, run {len(samples)} times between the rounds, "
        f"took {shown(median(cpu))} ms of a processor ({_spread(cpu)}) and {shown(median(waits))} "
        f"times as long by the clock ({_spread(waits)}; 1.00: nobody else wanted that core)."
    )


def block(figures: Sequence[Figure], machine: Machine, note: str = "") -> str:
    """All that stands between the markers."""
    head = (
        f"Written by `make bench` on {machine.began:%Y-%m-%d %H:%M} UTC at revision "
        f"{machine.revision}; {machine.cores} cores, load {machine.load_before:.1f} before and "
        f"{machine.load_after:.1f} after. {noise_line(machine.samples)}"
    )
    return "\n\n".join(filter(None, (head, note, rows(figures))))


def with_block(page: bytes, inner: str, begin: str = BEGIN, end: str = END) -> bytes:
    """A page with other text between its markers; every other byte stays.

    Raises ValueError unless each marker is there once, in order.
    """
    before, found, rest = page.partition(begin.encode())
    _, ended, after = rest.partition(end.encode())
    if not found or not ended or page.count(begin.encode()) > 1 or page.count(end.encode()) > 1:
        raise ValueError(f"the page needs the lines {begin} and {end}, once each, in this order")
    return before + found + f"\n\n{inner}\n\n".encode() + ended + after


def write(path: Path, figures: Sequence[Figure], machine: Machine, note: str = "") -> None:
    """Replace what stands between the markers of a page; ValueError as for `with_block`."""
    path.write_bytes(with_block(path.read_bytes(), block(figures, machine, note)))
