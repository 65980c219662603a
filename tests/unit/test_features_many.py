"""An account with 100,000 transactions: the same features, ranges and state for any cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import Columns
from fraudwatch.features.profiles import EMPTY_PROFILES
from fraudwatch.features.state import AccountState

N = 100_000
SPEC = FeatureSpec()
SECOND = 1_000_000


def one_account(n: int) -> Columns:
    """Half an hour between two at first, then bursts of ties, and some come late by up to a day."""
    rng = np.random.default_rng(4)
    gaps = rng.choice([0, 1, 40, 1800], size=n, p=[0.2, 0.3, 0.4, 0.1])
    time_us = np.cumsum(gaps) * SECOND + 1_700_000_000 * SECOND
    late = rng.random(n) < 0.02
    time_us[late] -= rng.integers(0, 86_400, size=late.sum()) * SECOND

    def ids(most: int) -> NDArray[np.uint64]:
        return rng.integers(0, most, size=n).astype(np.uint64)

    return Columns(
        account=np.full(n, 77, dtype=np.uint64),
        time_us=time_us,
        amount_e4=rng.integers(1, 10**7, size=n),
        merchant=ids(50),
        category=ids(10),
        channel=ids(3),
        country=ids(5),
        device=ids(4),
        counterparty=ids(30),
        latitude=np.full(n, np.nan),
        longitude=np.full(n, np.nan),
        attributes=np.empty((n, 0)),
    )


def test_an_account_with_very_many_transactions_for_any_cut() -> None:
    """One batch, or many with restarts in between; ranges asked in the middle of batches."""
    columns = one_account(N)
    asked = np.array([3, 500, 8_191, 8_193, 50_000, 99_999])
    whole = AccountState(SPEC)
    expected = whole.extend(columns, EMPTY_PROFILES)
    ranges = np.array(whole.normal_range(asked))
    assert not np.isnan(ranges[:, 1:]).all(axis=2).any()

    state, begin = AccountState(SPEC), 0
    rng = np.random.default_rng(5)
    while begin < N:
        end = min(N, begin + int(rng.choice([1, 77, 2_000, 30_000])))
        found = state.extend(columns.take(slice(begin, end)), EMPTY_PROFILES)
        np.testing.assert_array_equal(found.values, expected.values[begin:end])
        np.testing.assert_array_equal(found.late_us, expected.late_us[begin:end])
        inside = (asked >= begin) & (asked < end)
        np.testing.assert_array_equal(
            np.array(state.normal_range(asked[inside] - begin)), ranges[:, inside]
        )
        if rng.random() < 0.3:
            state = AccountState.load(state.dump(), SPEC)
        begin = end
    assert state.dump() == whole.dump()
