"""Messages put aside: what is kept of them, what is told of them, and when it is too much."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from fraudwatch.errors import DeadLetterLimit

# A repeat of a message that was decided already is accounted for like a dead letter, but it is no
# sign of bad input: producers may send twice.
HARMLESS = frozenset({"duplicate"})

_WINDOW = 1000


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that becomes a dead letter: offsets `offset <= o < next_offset`."""

    partition: int
    offset: int
    next_offset: int
    reason: str
    field: str
    detail: str
    raw: bytes


class DeadLetter(msgspec.Struct, frozen=True):
    """What the dead-letter topic says. `raw` is the message in base64."""

    topic: str
    partition: int
    offset: int
    next_offset: int
    reason: str
    field: str
    detail: str
    raw: str


def envelope(topic: str, rejected: Rejected) -> bytes:
    """The message for the dead-letter topic."""
    return msgspec.json.encode(
        DeadLetter(
            topic,
            rejected.partition,
            rejected.offset,
            rejected.next_offset,
            rejected.reason,
            rejected.field,
            rejected.detail,
            base64.b64encode(rejected.raw).decode(),
        )
    )


class DeadLetterGuard:
    """Watches one partition's stream of good and bad messages.

    `share` is the largest share of bad ones among the last 1,000 messages, `consecutive` the
    longest run of bad ones; `run` of them came last before this worker took the partition.
    """

    def __init__(
        self, topic: str, partition: int, *, share: float, consecutive: int, run: int = 0
    ) -> None:
        self._where = f"{topic} partition {partition}"
        self._share = share
        self._consecutive = consecutive
        self._recent: deque[bool] = deque(maxlen=_WINDOW)
        self._run = run

    def observe(self, offsets: Sequence[int], rejected: Sequence[Rejected]) -> None:
        """Take note of a batch. Raises `DeadLetterLimit` when a limit is passed."""
        bad = {r.offset for r in rejected if r.reason not in HARMLESS}
        for offset in sorted({*offsets, *(r.offset for r in rejected)}):
            is_bad = offset in bad
            self._recent.append(is_bad)
            self._run = self._run + 1 if is_bad else 0
            if self._run > self._consecutive:
                raise DeadLetterLimit(
                    f"{self._where}: {self._run} bad messages in a row up to offset {offset} "
                    f"(limit FRAUDWATCH_DEAD_LETTER_CONSECUTIVE={self._consecutive})"
                )
        share = sum(self._recent) / _WINDOW
        if len(self._recent) == _WINDOW and share > self._share:
            raise DeadLetterLimit(
                f"{self._where}: {share:.0%} of the last {_WINDOW} messages are bad "
                f"(limit FRAUDWATCH_DEAD_LETTER_SHARE={self._share:.0%})"
            )
