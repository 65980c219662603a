"""Who sent the last requests: so that a program that asks often is looked up once a second."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable

from fraudwatch.casework.auth import Identity

SECONDS = 1.0
"""How long a token that was revoked may still be used, at most."""
_MOST = 10_000


class KnownTokens:
    """Identities of tokens that were valid less than `SECONDS` ago. Thread-safe."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[float, Identity]] = OrderedDict()

    def find(self, token: str) -> Identity | None:
        """Whose token it is, if it was looked up a moment ago."""
        since, identity = self._known.get(_name(token), (-float("inf"), None))
        return identity if self._monotonic() - since < SECONDS else None

    def keep(self, token: str, identity: Identity) -> None:
        """The database has just said whose token it is."""
        with self._lock:
            self._known[_name(token)] = (self._monotonic(), identity)
            self._known.move_to_end(_name(token))
            if len(self._known) > _MOST:
                self._known.popitem(last=False)


def _name(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
