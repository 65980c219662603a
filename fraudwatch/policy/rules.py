"""The policy's rules: from risk to outcome. Pure; the versions used are on every decision."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.errors import Invalid

LATE_DAYS = 30  # the longest window of the features
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits a risk officer set.

    `review_from` and `high_risk_from` are risks in [0, 1] with review_from <= high_risk_from;
    `no_history_amount` is in units of the reference currency: from this amount on nothing is
    cleared for an account with fewer than `no_history_count` earlier transactions;
    `blind_spot_rate` is the share of cleared transactions sent to people at random;
    `late_days`: a transaction that many days or more behind the newest that its account had sent
    before is not cleared.
    """

    policy_id: int
    review_from: float
    high_risk_from: float
    no_history_amount: Decimal
    no_history_count: int
    blind_spot_rate: float
    late_days: int = LATE_DAYS

    def __post_init__(self) -> None:
        if not 0 < self.review_from <= self.high_risk_from <= 1:
            raise Invalid("a policy needs 0 < review_from <= high_risk_from <= 1")
        if not 0 <= self.blind_spot_rate <= 1:
            raise Invalid("blind_spot_rate is a share: 0 to 1")
        if self.late_days < 1:
            raise Invalid("late_days must be 1 or more")
        if self.no_history_amount <= 0 or self.no_history_count < 0:
            raise Invalid("no_history_amount must be above 0 and no_history_count 0 or more")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Parallel columns for n transactions: `Outcome` and `Rule` codes (int8)."""

    outcome: npt.NDArray[np.int8]
    rule: npt.NDArray[np.int8]

    def to_people(self) -> npt.NDArray[np.intp]:
        """Rows that go to people: referred, or drawn for the blind-spot sample."""
        return np.flatnonzero((self.outcome > Outcome.AUTO_CLEAR) | (self.rule == Rule.BLIND_SPOT))


def draw(key: bytes, transaction_id: str) -> float:
    """A number in [0, 1) that depends on the key and the transaction alone.

    Keyed, so that nobody without the key can craft ids that stay out of the sample; a function of
    the id, so that the same transaction draws the same on every replay.
    """
    return _drawing(key)(transaction_id)


def _drawing(key: bytes) -> Callable[[str], float]:
    """`draw` for many transactions: the key is hashed once."""
    keyed = hashlib.blake2b(key=key[:64], digest_size=8)

    def drawn(transaction_id: str) -> float:
        state = keyed.copy()
        state.update(transaction_id.encode())
        return int.from_bytes(state.digest(), "big") / 2**64

    return drawn


def decide(
    policy: Policy,
    key: bytes,
    *,
    risk: npt.NDArray[np.float64],
    amount: npt.NDArray[np.float64],
    history_count: npt.NDArray[np.int64],
    late_us: npt.NDArray[np.int64],
    transaction_ids: Sequence[str],
) -> Outcomes:
    """Outcomes of n transactions.

    `risk` is NaN where it could not be computed: such rows go to review, never cleared.
    `amount` is in units of the reference currency; `history_count` counts the account's earlier
    transactions; `late_us` tells how many microseconds the row is behind the newest of them.
    """
    outcome = np.full(risk.shape, Outcome.AUTO_CLEAR, dtype=np.int8)
    rule = np.full(risk.shape, Rule.RISK, dtype=np.int8)

    outcome[risk >= policy.review_from] = Outcome.REVIEW
    outcome[risk >= policy.high_risk_from] = Outcome.HIGH_RISK

    unscored = np.isnan(risk)
    outcome[unscored] = Outcome.REVIEW
    rule[unscored] = Rule.UNSCORED

    no_history = (
        (outcome == Outcome.AUTO_CLEAR)
        & (amount >= float(policy.no_history_amount))
        & (history_count < policy.no_history_count)
    )
    outcome[no_history] = Outcome.REVIEW
    rule[no_history] = Rule.NO_HISTORY_AMOUNT

    # What is unusual is measured against the account's past at the row's own time, of which less
    # and less is kept the later the row comes: a low risk says nothing then.
    late = (outcome == Outcome.AUTO_CLEAR) & (late_us >= policy.late_days * DAY_US)
    outcome[late] = Outcome.REVIEW
    rule[late] = Rule.LATE

    if policy.blind_spot_rate > 0:
        drawn = _drawing(key)
        for row in np.flatnonzero(outcome == Outcome.AUTO_CLEAR).tolist():
            if drawn(transaction_ids[row]) < policy.blind_spot_rate:
                rule[row] = Rule.BLIND_SPOT
    return Outcomes(outcome, rule)
