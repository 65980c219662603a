"""Does an account stay in one partition? A producer that hashes keys its own way breaks this.

Only accounts new to a partition are looked at: who was there before was looked at then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from fraudwatch.casework.masking import pseudonym
from fraudwatch.telemetry import MISPLACED
from streams.partitioner import partitions_of

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0


class Placement:
    """Watches the accounts that arrive in a topic for the first time.

    A misplaced account is told once a minute at most, by its pseudonym under `key`, and counted
    always; its transaction is decided like any other.
    """

    def __init__(self, topic: str, key: bytes, monotonic: Callable[[], float]) -> None:
        self._topic = topic
        self._key = key
        self._monotonic = monotonic
        self._told = -float("inf")
        self._untold = 0

    def check(
        self, partition: int, partitions: int, accounts: Sequence[str], offsets: Sequence[int]
    ) -> None:
        """Look at accounts new to a partition, with the offsets they came with."""
        expected = partitions_of([account.encode() for account in accounts], partitions).tolist()
        wrong = [place for place, number in enumerate(expected) if number != partition]
        if not wrong:
            return
        MISPLACED.labels(self._topic, partition).inc(len(wrong))
        self._untold += len(wrong)
        if self._monotonic() - self._told < QUIET_SECONDS:
            return
        log.error(
            "ALARM: an account arrives in another partition than its id belongs to; a producer "
            "hashes keys its own way, and the account's past is split",
            extra={
                "data": {
                    "topic": self._topic,
                    "partition": partition,
                    "offset": offsets[wrong[0]],
                    "expected_partition": expected[wrong[0]],
                    "account": pseudonym(accounts[wrong[0]], self._key),
                    "misplaced": self._untold,
                }
            },
        )
        self._told, self._untold = self._monotonic(), 0
