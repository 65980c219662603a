"""The policy clears only what it may, and the blind-spot draw cannot be avoided or foreseen."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.errors import Invalid
from fraudwatch.policy.rules import DAY_US, Policy, decide, draw

KEY = b"k" * 32
POLICY = Policy(1, 0.99, 0.998, Decimal(1000), 3, 0.0)


def outcomes(
    risk: float,
    amount: float = 10.0,
    history: int = 100,
    policy: Policy = POLICY,
    late_days: int = 0,
) -> tuple[int, int]:
    found = decide(
        policy,
        KEY,
        risk=np.array([risk]),
        amount=np.array([amount]),
        history_count=np.array([history]),
        late_us=np.array([late_days * DAY_US]),
        transaction_ids=["t-1"],
    )
    return int(found.outcome[0]), int(found.rule[0])


@pytest.mark.parametrize(
    ("risk", "outcome"),
    [
        (0.0, Outcome.AUTO_CLEAR),
        (0.98999, Outcome.AUTO_CLEAR),
        (0.99, Outcome.REVIEW),
        (0.99799, Outcome.REVIEW),
        (0.998, Outcome.HIGH_RISK),
        (1.0, Outcome.HIGH_RISK),
    ],
)
def test_risk_becomes_the_outcome_of_its_band(risk: float, outcome: Outcome) -> None:
    assert outcomes(risk) == (outcome, Rule.RISK)


def test_what_could_not_be_scored_goes_to_people() -> None:
    """NaN compares false with every threshold: without its own rule it would be cleared."""
    assert outcomes(float("nan")) == (Outcome.REVIEW, Rule.UNSCORED)


@pytest.mark.parametrize(
    ("amount", "history", "expected"),
    [
        (1000.0, 2, (Outcome.REVIEW, Rule.NO_HISTORY_AMOUNT)),
        (1000.0, 3, (Outcome.AUTO_CLEAR, Rule.RISK)),
        (999.99, 0, (Outcome.AUTO_CLEAR, Rule.RISK)),
    ],
)
def test_large_amounts_of_unknown_accounts_are_not_cleared(
    amount: float, history: int, expected: tuple[Outcome, Rule]
) -> None:
    assert outcomes(0.5, amount, history) == expected


@pytest.mark.parametrize(
    ("risk", "late_days", "expected"),
    [
        (0.5, 30, (Outcome.REVIEW, Rule.LATE)),
        (0.5, 29, (Outcome.AUTO_CLEAR, Rule.RISK)),
        (0.999, 30, (Outcome.HIGH_RISK, Rule.RISK)),
    ],
)
def test_what_comes_too_late_to_be_measured_is_not_cleared(
    risk: float, late_days: int, expected: tuple[Outcome, Rule]
) -> None:
    """A low risk of a row without a past says nothing; a high one still counts."""
    assert outcomes(risk, late_days=late_days) == expected


def test_a_policy_for_back_filling_clears_what_is_late() -> None:
    """Sending in old data must not flood people: a policy may say how late is late."""
    patient = Policy(2, 0.99, 0.998, Decimal(1000), 3, 0.0, late_days=3650)
    assert outcomes(0.5, policy=patient, late_days=400) == (Outcome.AUTO_CLEAR, Rule.RISK)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1e9), st.integers(0, 10**6))
def test_more_risk_never_gives_a_milder_outcome(
    a: float, b: float, amount: float, history: int
) -> None:
    low, high = sorted((a, b))
    assert outcomes(low, amount, history)[0] <= outcomes(high, amount, history)[0]


def test_blind_spot_draw_is_a_share_of_cleared_traffic_and_decides_nothing() -> None:
    n = 20_000
    policy = Policy(1, 0.99, 0.998, Decimal(1000), 3, 0.05)
    risk = np.where(np.arange(n) % 10 == 0, 0.995, 0.5)
    found = decide(
        policy,
        KEY,
        risk=risk,
        amount=np.full(n, 10.0),
        history_count=np.full(n, 100),
        late_us=np.zeros(n, dtype=np.int64),
        transaction_ids=[f"t-{i}" for i in range(n)],
    )
    drawn = found.rule == Rule.BLIND_SPOT
    assert np.all(found.outcome[drawn] == Outcome.AUTO_CLEAR)
    # 18,000 cleared at 5 %: 900 expected, standard deviation 29.
    assert 780 < drawn.sum() < 1020


def test_draw_depends_on_key_and_transaction_alone() -> None:
    assert draw(KEY, "t-1") == draw(KEY, "t-1")
    assert draw(KEY, "t-1") != draw(b"x" * 32, "t-1")
    assert 0 <= draw(KEY, "t-1") < 1


@pytest.mark.parametrize(
    "values",
    [
        (0.0, 0.5, Decimal(1), 0, 0.0),
        (0.9, 0.8, Decimal(1), 0, 0.0),
        (0.9, 1.1, Decimal(1), 0, 0.0),
        (0.9, 0.95, Decimal(0), 0, 0.0),
        (0.9, 0.95, Decimal(1), 0, 1.5),
        (0.9, 0.95, Decimal(1), 0, 0.0, 0),
    ],
)
def test_impossible_policies_are_refused(values: tuple[Any, ...]) -> None:
    with pytest.raises(Invalid):
        Policy(1, *values)
