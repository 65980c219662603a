"""What the machine decides about a transaction, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import msgspec


class Outcome(IntEnum):
    """Outcome of the machine, ordered. There is no adverse one: only people decline."""

    AUTO_CLEAR = 0
    REVIEW = 1
    HIGH_RISK = 2

    @property
    def word(self) -> str:
        """`auto_clear`, `review` or `high_risk`, as in messages and the API."""
        return self.name.lower()


class Reason(msgspec.Struct, frozen=True):
    """Why a transaction stands out, by one feature.

    `weight` is the share of this feature in the anomaly (0 to 1); `normal_low` and `normal_high`
    bound what is normal for this account (or, without history, for everyone: `normal_of`).
    """

    feature: str
    value: float | None
    sentence: str
    weight: float
    normal_low: float | None = None
    normal_high: float | None = None
    normal_of: str = "everyone"  # or "account"


@dataclass(frozen=True, slots=True)
class Versions:
    """All that a decision depends on besides its input."""

    model_id: int | None
    policy_id: int
    profile_version: str  # ISO date of the merchant profiles, "" for none


class Rule(IntEnum):
    """Which rule of the policy gave the outcome."""

    RISK = 0
    UNSCORED = 1  # no model, or the model failed on this row
    NO_HISTORY_AMOUNT = 2  # large amount on an account without history
    BLIND_SPOT = 3  # cleared, and drawn for the blind-spot sample
    LATE = 4  # so far behind its account's newest that the past it belongs to is no longer kept
