"""Accounts with many payments: what is carried along equals what a walk finds, to the last bit."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudwatch.domain.transaction import Transaction
from fraudwatch.features import ordered
from fraudwatch.features.busy import MANY
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import Columns, from_transactions
from fraudwatch.features.profiles import EMPTY_PROFILES
from fraudwatch.features.spans import DAY, KEEP, REMEMBER
from fraudwatch.features.state import AccountState
from tests.features_reference import RATES, START, Reference, by_name

SPEC = FeatureSpec(rates=RATES)


def payments(
    rng: np.random.Generator, n: int, days: float, *, late: float = 0, kinds: int = 40
) -> list[Transaction]:
    """Payments of one account over so many days, up to `late` days late, in order of arrival."""
    times = np.sort(rng.uniform(0, days, n)) - rng.uniform(0, late, n) * (rng.random(n) < 0.2)
    picked = rng.integers(0, kinds, (n, 5))
    cents = rng.integers(1, 50_000, n) * np.where(rng.random(n) < 0.01, 10**7, 1)
    return [
        Transaction(
            transaction_id=f"t{number}",
            account_id="a",
            event_time=START + timedelta(seconds=round(float(times[number]) * 86_400)),
            amount=Decimal(int(cents[number])).scaleb(-2),
            currency="EUR",
            merchant_id=f"m{picked[number, 0]}" if picked[number, 0] % 7 else None,
            merchant_category=f"{picked[number, 1]}",
            country="DE" if picked[number, 2] % 3 else "FR",
            device_id=f"d{picked[number, 3] % 4}" if picked[number, 3] % 5 else None,
            counterparty_id=f"c{picked[number, 4]}",
            latitude=float(rng.uniform(-80, 80)) if picked[number, 1] % 9 == 0 else None,
            longitude=1.0 if picked[number, 1] % 9 == 0 else None,
        )
        for number in range(n)
    ]


def features(state: AccountState, columns: Columns) -> np.ndarray:
    return state.extend(columns, EMPTY_PROFILES).values


@pytest.mark.parametrize(("n", "days", "late"), [(400, 25, 0), (380, 30, 1), (360, 20, 9)])
def test_every_feature_of_a_busy_account_equals_its_formula(
    n: int, days: float, late: float
) -> None:
    """Against the slow second implementation; late rows by minutes or by days included."""
    made = payments(np.random.default_rng(n + int(late)), n, days, late=late)
    reference = Reference()
    values = features(AccountState(SPEC), from_transactions(made, SPEC))
    for t, row in zip(made, values, strict=True):
        found, expected = by_name(SPEC.names, row), reference.features(t)
        wrong = {
            name: (value, expected[name])
            for name, value in found.items()
            if name in expected
            and abs(value - expected[name])
            > {"travel_km": 1e-3, "travel_speed": 0.1}.get(name, 1e-9) + 1e-6 * abs(value)
        }
        assert wrong == {}


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_walking_and_carrying_along_find_the_same_bits(seed: int, data: st.DataObject) -> None:
    """A restart makes busy accounts anew from rows and entries, and those with few rows by then
    ordinary again: nowhere may that show."""
    rng = np.random.default_rng(seed)
    quiet, n = data.draw(st.integers(0, 30)), MANY + data.draw(st.integers(0, 200))
    made = [
        *payments(rng, n, data.draw(st.sampled_from([0.01, 3, 36])), late=0.1),
        *payments(rng, 300, 300, late=data.draw(st.sampled_from([0.0, 1.0, 40.0]))),
    ]
    columns = from_transactions(made, SPEC)
    columns.time_us[n:] += (37 + quiet) * DAY
    whole = AccountState(SPEC)
    expected = features(whole, columns)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(made)), max_size=8)))
    state, found = AccountState(SPEC), []
    for begin, end in zip([0, *cuts], [*cuts, len(made)], strict=True):
        found.append(features(state, columns.take(slice(begin, end))))
        state = AccountState.load(state.dump(), SPEC)
    np.testing.assert_array_equal(np.concatenate(found), expected)
    assert state.dump() == whole.dump()


def test_the_newest_rows_count_after_a_restart_in_the_middle_of_very_many() -> None:
    """More than KEEP rows within the windows, each cut at another place."""
    n = KEEP + 2_500
    rng = np.random.default_rng(3)
    columns = from_transactions(payments(rng, n, 20, late=0.01, kinds=900), SPEC)
    whole = AccountState(SPEC)
    expected = features(whole, columns)
    state, found = AccountState(SPEC), []
    for begin in range(0, n, 3_001):
        found.append(features(state, columns.take(slice(begin, begin + 3_001))))
        state = AccountState.load(state.dump(), SPEC)
    np.testing.assert_array_equal(np.concatenate(found), expected)
    assert state.dump() == whole.dump()


def test_values_are_forgotten_after_a_year_by_busy_accounts_too() -> None:
    """Old merchants go when the table of values is full, and are new when they come again."""
    rng = np.random.default_rng(4)
    columns = from_transactions(payments(rng, 4_000, 3 * REMEMBER / DAY, kinds=10**6), SPEC)
    state = AccountState(SPEC)
    values = features(state, columns)
    firsts = values[:, SPEC.names.index("first_counterparty")]
    counterparty, time = columns.counterparty, columns.time_us
    seen: dict[int, int] = {}
    for row in range(len(columns)):
        last = seen.get(int(counterparty[row]))
        known = last is not None and last > time[row] - REMEMBER
        assert firsts[row] == (row > 0 and not known)
        seen[int(counterparty[row])] = int(time[row])
    assert len(state.dump()) < 40_000


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([3, 50, 10**6]), st.integers(1, 16))
def test_ordered_list_counts_as_a_sorted_array(seed: int, kinds: int, buckets: int) -> None:
    """Few different numbers or many, put in and taken out until buckets are cut, emptied, full."""
    rng = np.random.default_rng(seed)
    array = np.zeros(7 + ordered.PIECE * buckets, dtype=np.int64)
    row = np.zeros(8, dtype=np.int64)
    ordered.clear(row, 2, 7, buckets)
    members: list[int] = []
    for step in range(1_500):
        full = len(members) >= 45 * buckets
        if members and (full or rng.random() < (0.3 if step % 600 < 300 else 0.7)):
            value = members.pop(int(rng.integers(len(members))))
            ordered.take_out(array, row, 2, value)
        else:
            value = int(rng.integers(kinds))
            members.append(value)
            ordered.put_in(array, row, 2, value)
        assert ordered.last(array, row, 2) == max(members, default=0)
        probe = int(rng.integers(-1, kinds + 1))
        assert ordered.count(array, row, 2, probe) == sum(m <= probe for m in members)
