"""Figures of quality: equal to scikit-learn's, right on cases worked by hand, free of order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from fraudwatch.oversight import metrics

rows = st.lists(
    st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3), st.integers(0, 4)),
    min_size=2,
    max_size=60,
)


def _columns(
    drawn: list[tuple[bool, int, int, int]],
) -> tuple[metrics.Flags, metrics.Floats, metrics.Integers, np.typing.NDArray[np.uint64]]:
    fraud, score, day, account = zip(*drawn, strict=True)
    return (
        np.array(fraud),
        np.array(score, dtype=np.float64),
        np.array(day, dtype=np.int64),
        np.array(account, dtype=np.uint64),
    )


@given(rows)
@settings(deadline=None)
def test_auc_and_average_precision_equal_scikit_learn_with_ties(
    drawn: list[tuple[bool, int, int, int]],
) -> None:
    fraud, score, *_ = _columns(drawn)
    if fraud.all() or not fraud.any():
        assert np.isnan(metrics.auc(fraud, score))
        assert np.isnan(metrics.average_precision(fraud, score))
        return
    assert metrics.auc(fraud, score) == pytest.approx(roc_auc_score(fraud, score))
    assert metrics.average_precision(fraud, score) == pytest.approx(
        average_precision_score(fraud, score)
    )


@given(rows, st.lists(st.integers(0, 3), min_size=4, max_size=4))
@settings(deadline=None)
def test_weighting_a_day_is_repeating_its_rows(
    drawn: list[tuple[bool, int, int, int]], times: list[int]
) -> None:
    """The bootstrap weights days instead of copying rows; both must give the same figures."""
    fraud, score, day, _ = _columns(drawn)
    weight = np.array([times[d] for d in np.unique(day)], dtype=np.float64)
    found = metrics.rank(fraud, score, day).figures(weight)
    copies = np.repeat(np.arange(len(day)), [times[d] for d in day])
    expected = metrics.rank(fraud[copies], score[copies], day[copies]).figures()
    assert found == pytest.approx(expected, nan_ok=True)


@given(rows, st.integers(0, 99), st.integers(1, 4))
@settings(deadline=None)
def test_the_order_of_rows_never_matters(
    drawn: list[tuple[bool, int, int, int]], seed: int, k: int
) -> None:
    """Files hold rows of the same second in no particular order: ties must not depend on it."""
    fraud, score, day, account = _columns(drawn)
    order = np.random.default_rng(seed).permutation(len(drawn))
    one = metrics.card_days(fraud, score, account, day, k)
    other = metrics.card_days(fraud[order], score[order], account[order], day[order], k)
    for name in ("day", "precision", "ceiling", "caught", "frauds"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert metrics.rank(fraud, score, day).figures() == pytest.approx(
        metrics.rank(fraud[order], score[order], day[order]).figures(), nan_ok=True
    )


def test_card_precision_by_hand() -> None:
    """Two days, two accounts looked at a day. Day 1: accounts 1 (fraud) and 2 lead, 3 is missed.
    Day 2: account 1 is known by now and out, 2 and 3 are looked at."""
    found = metrics.card_days(
        fraud=np.array([True, False, True, False, True, False, True]),
        score=np.array([9.0, 8.0, 7.0, 6.0, 1.0, 5.0, 4.0]),
        account=np.array([1, 2, 3, 1, 1, 2, 3], dtype=np.uint64),
        day=np.array([1, 1, 1, 2, 2, 2, 2]),
        k=2,
    )
    assert found.day.tolist() == [1, 2]
    assert found.precision.tolist() == [0.5, 0.5]
    assert found.ceiling.tolist() == [1.0, 0.0]
    assert found.caught.tolist() == [1, 1]
    assert found.frauds.tolist() == [2, 1]


def test_an_account_scores_as_its_most_suspicious_transaction() -> None:
    """One high score is enough, although the fraud is the account's other transaction."""
    found = metrics.card_days(
        np.array([True, False, False]),
        np.array([0.0, 9.0, 5.0]),
        np.array([1, 1, 2], dtype=np.uint64),
        np.array([0, 0, 0]),
        k=1,
    )
    assert (found.precision.tolist(), found.caught.tolist()) == ([1.0], [1])


def test_fewer_accounts_than_the_budget() -> None:
    """All accounts are looked at, and the unused budget still counts."""
    found = metrics.card_days(
        np.array([True]), np.array([1.0]), np.array([7], dtype=np.uint64), np.array([3]), k=4
    )
    assert (found.precision.tolist(), found.ceiling.tolist()) == ([0.25], [0.25])


def test_alerts_cover_all_transactions_of_the_chosen_accounts() -> None:
    chosen = metrics.alerts(
        np.array([5.0, 0.0, 4.0, 3.0]), np.array([1, 1, 2, 3], dtype=np.uint64), 2
    )
    assert chosen.tolist() == [True, True, True, False]


def test_no_rows_give_no_figures() -> None:
    none = np.zeros(0)
    account, day = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    assert metrics.alerts(none, account, 3).tolist() == []
    assert np.isnan(metrics.rank(none.astype(bool), none, day).figures()).all()
    assert np.isnan(metrics.false_alarms(none.astype(bool), none, day, 0.9).share())


def test_unscored_ordinary_rows_count_as_alarms() -> None:
    """A row without risk goes to people: leaving it out would flatter a failing model."""
    found = metrics.false_alarms(
        np.array([False, False, False, True]),
        np.array([0.98, 0.99, np.nan, 1.0]),
        np.array([4, 4, 5, 5]),
        0.99,
    )
    assert found.ordinary.tolist() == [2, 1]
    assert found.alarms.tolist() == [1, 1]
    assert found.share() == pytest.approx(2 / 3)
    assert found.share(np.array([2.0, 0.0])) == pytest.approx(0.5)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    """Means of 40 days from a known distribution: about 95 of 100 intervals hold the truth."""
    rng = np.random.default_rng(5)
    values = rng.normal(1.0, 0.5, size=(100, 40))
    held = 0
    for trial in range(100):

        def mean(drawn: Sequence[metrics.Floats], trial: int = trial) -> float:
            return float(drawn[0] @ values[trial] / 40)

        low, high = metrics.interval([40], mean, seed=trial, draws=300)
        held += low <= 1.0 <= high
    assert 88 <= held <= 99


def test_draws_without_a_figure_are_left_out() -> None:
    def figure(drawn: Sequence[metrics.Floats]) -> float:
        return 2.0 if drawn[0][0] else float("nan")

    assert metrics.interval([2], figure, seed=1, draws=50) == (2.0, 2.0)
    assert np.isnan(metrics.interval([1], lambda _: float("nan"), seed=1, draws=3)).all()
