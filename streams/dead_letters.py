"""Messages put aside: what is kept of them, what is told of them, and when it is too much."""

from __future__ import annotations

import base64
import copy
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from fraudwatch.errors import DeadLetterLimit
from streams.source import MAX_MESSAGE_BYTES, RAW_LIMIT, Headers

# A repeat of a message that was decided already is accounted for like a dead letter, but it is no
# sign of bad input: producers may send twice.
HARMLESS = frozenset({"duplicate"})

WINDOW = 1000
"""Messages of a partition among which the share of bad ones is watched."""
KEY_LIMIT = 1024
"""A longer key is not kept: an account id has at most 128 characters."""
MESSAGE_ID = "message_id"
"""Header of messages from the outbox."""
_REPLAY = "replay:"
_OFFSET_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that becomes a dead letter: offsets `offset <= o < next_offset`.

    `size` is the length of the whole value, None where it is not known (a damaged range).
    `replay_of` is the offset of the dead letter whose replay this is, in the same partition unless
    partitions were added in between.
    """

    partition: int
    offset: int
    next_offset: int
    reason: str
    field: str
    detail: str
    raw: bytes
    key: bytes | None = None
    size: int | None = None
    replay_of: int | None = None


def rejected(
    partition: int,
    offset: int,
    reason: str,
    *,
    value: bytes,
    key: bytes | None,
    field: str = "",
    detail: str = "",
    replay_of: int | None = None,
) -> Rejected:
    """One message put aside. What no broker would take again is kept in part only.

    A topic may allow values of many megabytes: whole, a flood of them would fill the database.
    """
    return Rejected(
        partition,
        offset,
        offset + 1,
        reason,
        field,
        detail,
        value if len(value) <= MAX_MESSAGE_BYTES else value[:RAW_LIMIT],
        key if key is None or len(key) <= KEY_LIMIT else None,
        len(value),
        replay_of,
    )


def replay_id(offset: int) -> str:
    """The message id of a dead letter's replay, by which `replay_of` knows it again."""
    return f"{_REPLAY}{offset}"


def replay_of(headers: Headers) -> int | None:
    """The offset in these headers, if the message is a replay. Anybody may write headers."""
    for name, value in headers:
        if name == MESSAGE_ID and value.startswith(_REPLAY.encode()):
            digits = value[len(_REPLAY) :]
            if digits.isdigit() and len(digits) <= _OFFSET_DIGITS:
                return int(digits)
    return None


class DeadLetter(msgspec.Struct, frozen=True):
    """What the dead-letter topic says.

    `raw` is the message in base64, its first `RAW_LIMIT` bytes if it is longer; `size` is its
    length, null where that is not known.
    """

    topic: str
    partition: int
    offset: int
    next_offset: int
    reason: str
    field: str
    detail: str
    raw: str
    size: int | None


def envelope(topic: str, rejected: Rejected) -> bytes:
    """The message for the dead-letter topic: always small enough for a broker."""
    return msgspec.json.encode(
        DeadLetter(
            topic,
            rejected.partition,
            rejected.offset,
            rejected.next_offset,
            rejected.reason,
            rejected.field,
            rejected.detail,
            base64.b64encode(rejected.raw[:RAW_LIMIT]).decode(),
            rejected.size,
        )
    )


class DeadLetterGuard:
    """Watches one partition's stream of good and bad messages.

    `share` is the largest share of bad ones among the last 1,000 messages, `consecutive` the
    longest run of bad ones. `recent` says of the messages before this worker took the partition,
    oldest first, whether each was bad. Messages below `accepted` have been looked at by a person
    and count as good.
    """

    def __init__(
        self,
        topic: str,
        partition: int,
        *,
        share: float,
        consecutive: int,
        recent: Iterable[bool] = (),
        accepted: int = 0,
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._share = share
        self._consecutive = consecutive
        self._accepted = accepted
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._run = 0
        for is_bad in recent:
            self._note(is_bad)

    def copied(self) -> DeadLetterGuard:
        """A guard that has seen the same, for a batch that may have to be tried again."""
        guard = copy.copy(self)
        guard._recent = self._recent.copy()  # noqa: SLF001 - its own kind
        return guard

    def observe(self, offsets: Sequence[int], rejected: Sequence[Rejected]) -> None:
        """Take note of a batch. Raises `DeadLetterLimit` when a limit is passed."""
        if not rejected:
            self._recent.extend([False] * min(len(offsets), WINDOW))
            self._run = 0 if offsets else self._run
            return
        bad = {
            r.offset
            for r in rejected
            if r.reason not in HARMLESS and r.next_offset > self._accepted
        }
        for offset in sorted({*offsets, *(r.offset for r in rejected)}):
            self._note(offset in bad)
            if self._run > self._consecutive:
                raise self._limit(
                    f"{self._run} bad messages in a row up to offset {offset} "
                    f"(limit FRAUDWATCH_DEAD_LETTER_CONSECUTIVE={self._consecutive})",
                    rejected,
                )
        share = sum(self._recent) / WINDOW
        if bad and len(self._recent) == WINDOW and share > self._share:
            raise self._limit(
                f"{share:.0%} of the last {WINDOW} messages are bad "
                f"(limit FRAUDWATCH_DEAD_LETTER_SHARE={self._share:.0%})",
                rejected,
            )

    def _note(self, is_bad: bool) -> None:
        self._recent.append(is_bad)
        self._run = self._run + 1 if is_bad else 0

    def _limit(self, what: str, rejected: Sequence[Rejected]) -> DeadLetterLimit:
        """What was found, and what a person can do about it. Holds no value of a message."""
        found = Counter(f"{r.reason} {r.field}".strip() for r in rejected)
        most = ", ".join(f"{count} x {name}" for name, count in found.most_common(3))
        end = max(r.next_offset for r in rejected)
        return DeadLetterLimit(
            f"{self._topic} partition {self._partition}: {what}. In this batch: {most}. Nothing of "
            "it was taken in. Look at them and mend the sender or this installation; to put them "
            f"aside and go on, `fraudwatch dead-letters accept {self._topic} {self._partition} "
            f"{end}`, then start the worker again (docs/dead-letters.md)"
        )
