"""Which faults really hit, and where: a long run that never tried something has shown nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tests.chaos.faults import KINDS

LONG = 500
"""From so many faults on everything must have been hit."""
RARE_ROUNDS = 3
"""A point that arises in fewer rounds is named as rare, and need not have been hit."""

BETWEEN_POLL_AND_PUBLISH = tuple(
    f"process {step}"
    for step in (
        "after poll",
        "before update stream_offsets",
        "after update stream_offsets",
        "before copy ledger",
        "within copy ledger",
        "after copy ledger",
        "before insert cases",
        "after insert cases",
        "before insert dead_letters",
        "after insert dead_letters",
        "before insert outbox",
        "after insert outbox",
        "before commit",
        "after commit",
        "before publish decisions",
        "after publish decisions",
    )
)
"""Points that must be there: should their names change, the harness must learn of it."""


class Tries:
    """How often each act was ordered at each point, and carried out there, over all rounds."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self._struck: set[str] = set()

    def learn(self, tried: Mapping[str, int], struck: Mapping[str, int]) -> None:
        """Take in what a round tried and struck, by act and point."""
        self.count.update(tried)
        self._struck.update(_points(struck))

    def choose(self, act: str, points: Sequence[str], chance: float) -> tuple[str, bool]:
        """One of the points least tried, and whether it is the first try there."""
        fewest = min(self.count[f"{act} {point}"] for point in points)
        least = [point for point in points if self.count[f"{act} {point}"] == fewest]
        point = least[int(chance * len(least))]
        self.count[f"{act} {point}"] += 1
        return point, fewest == 0

    def in_vain(self) -> list[str]:
        """Points that were tried and never struck, the least tried first. Some arise but once in a
        round, at its beginning."""
        tried: Counter[str] = Counter()
        for name, times in self.count.items():
            tried[name.split(" ", 1)[1]] += times
        return sorted(tried.keys() - self._struck, key=lambda point: (tried[point], point))


def _points(names: Mapping[str, int]) -> set[str]:
    return {name.split(" ", 1)[1] for name, times in names.items() if times}


def never_hit(
    kinds: Mapping[str, int], struck: Mapping[str, int], points: Mapping[str, int]
) -> list[str]:
    """Kinds of faults and points that a long run should have hit, and did not.

    `kinds`: how often each really happened. `struck`: by act and point. `points`: in how many
    rounds each arose.
    """
    wanted = set(BETWEEN_POLL_AND_PUBLISH) | {
        point for point, rounds in points.items() if rounds >= RARE_ROUNDS
    }
    return sorted(kind for kind in KINDS if not kinds.get(kind)) + sorted(wanted - _points(struck))
