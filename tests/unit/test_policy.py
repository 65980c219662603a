"""The policy clears only what it may, and the blind-spot draw cannot be avoided or foreseen."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.errors import Invalid
from fraudwatch.policy.rules import Policy, decide, draw

KEY = b"k" * 32
POLICY = Policy(1, 0.99, 0.998, Decimal(1000), 3, 0.0)


def outcomes(
    risk: float, amount: float = 10.0, history: int = 100, policy: Policy = POLICY
) -> tuple[int, int]:
    found = decide(
        policy,
        KEY,
        risk=np.array([risk]),
        amount=np.array([amount]),
        history_count=np.array([history]),
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
    ],
)
def test_impossible_policies_are_refused(values: tuple[float, float, Decimal, int, float]) -> None:
    with pytest.raises(Invalid):
        Policy(1, *values)
