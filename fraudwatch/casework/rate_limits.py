"""How often a program may ask: a token bucket for each API token.

Kept in the process that answers: with several API processes behind a balancer a token may have as
many times the limit. That needs no round trip, and what protects the stream itself (waiting
requests, lag) does not depend on it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

_MOST_TOKENS = 10_000


class RateLimits:
    """`rate` transactions or requests a second for each token, up to `burst` at once.

    Thread-safe.

    Buckets that were not used for longest are forgotten beyond 10,000 tokens: forgetting a bucket
    can only be generous.
    """

    def __init__(self, rate: float, burst: int, monotonic: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._buckets: OrderedDict[int, tuple[float, float]] = OrderedDict()  # left, as of

    def take(self, token: int, count: int) -> float:
        """Take `count` from the token's bucket: 0.0, or the seconds to wait, and nothing is taken.

        More than `burst` at once can never be had: the wait is infinite.
        """
        if count > self._burst:
            return float("inf")
        with self._lock:
            now = self._monotonic()
            left, since = self._buckets.get(token, (float(self._burst), now))
            left = min(float(self._burst), left + (now - since) * self._rate)
            enough = left >= count
            self._buckets[token] = (left - count if enough else left, now)
            self._buckets.move_to_end(token)
            if len(self._buckets) > _MOST_TOKENS:
                self._buckets.popitem(last=False)
            return 0.0 if enough else (count - left) / self._rate
