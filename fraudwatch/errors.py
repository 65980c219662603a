"""Errors with names. Everything that is not one of these crashes loudly.

::

    FraudwatchError
    ├── ConfigurationError      a setting, mapping or file of ours is wrong; the operator must act
    ├── InputError              a message or row is bad: reason, field path; never holds values
    ├── Unavailable             a part we need is away for now: wait and try again
    ├── Fenced                  memory of a partition is void: drop it, read its offset again
    ├── DeadLetterLimit         too many bad messages: stop, a person must look
    ├── ArchiveError            a file of the ledger's archive is damaged or missing
    ├── BundleError             a model bundle is damaged, incompatible or missing
    ├── NotFound                no such case, account, model …
    ├── Conflict                the state has moved on (stale version, lost lease, illegal move)
    ├── NotAllowed              the actor lacks the permission
    ├── Busy                    too much at once: nothing was done, try again a little later
    └── Invalid                 a request that can never work as it stands
"""

from __future__ import annotations

from collections.abc import Mapping


class FraudwatchError(Exception):
    """Base of all errors that we raise on purpose. `code` is stable and machine-readable."""

    code = "error"


class ConfigurationError(FraudwatchError):
    """What is wrong, where, and what to do about it, in one message."""

    code = "configuration"


class InputError(FraudwatchError):
    """A message that cannot become a transaction or label.

    `reason` is one of `fraudwatch.domain.transaction.REASONS`, `field` a path such as
    ``attributes.score`` (empty for the message as a whole), `detail` a sentence. None of them
    ever holds a value from the message: they go into logs, values must not.
    """

    code = "input"

    def __init__(self, reason: str, field: str = "", detail: str = "") -> None:
        super().__init__(f"{reason}: {field or 'message'}{': ' if detail else ''}{detail}")
        self.reason = reason
        self.field = field
        self.detail = detail


class Unavailable(FraudwatchError):
    """A database, broker or disk does not answer for now; nothing was lost, try again."""

    code = "unavailable"


class Fenced(FraudwatchError):
    """What a worker remembers of these partitions no longer holds, mostly because another worker
    advanced them: drop it and read their offsets again."""

    code = "fenced"

    def __init__(self, partitions: frozenset[int]) -> None:
        super().__init__(f"memory of partitions {sorted(partitions)} is void")
        self.partitions = partitions


class DeadLetterLimit(FraudwatchError):
    """Bad messages passed the limit of share or consecutive count."""

    code = "dead-letter-limit"


class ArchiveError(FraudwatchError):
    """A file of the ledger's archive that is missing or not as it was written; names it."""

    code = "archive"


class BundleError(FraudwatchError):
    """A model bundle whose files, hashes, features or versions do not fit."""

    code = "bundle"


class NotFound(FraudwatchError):
    """The thing asked for does not exist, or the actor may not know that it does."""

    code = "not-found"


class Conflict(FraudwatchError):
    """The state has moved on. `current` is the state as it is now, for the caller to look at."""

    code = "conflict"

    def __init__(self, message: str, current: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.current = dict(current or {})


class Busy(FraudwatchError):
    """Too much is asked at once, of one caller or of all: nothing was done, try again later."""

    code = "busy"

    def __init__(self, message: str, *, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class NotAllowed(FraudwatchError):
    """The actor lacks the named permission."""

    code = "not-allowed"


class Invalid(FraudwatchError):
    """A request that can never work as it stands: what, where, what to do."""

    code = "invalid"
