"""Features of accounts' pasts: what they are, and that how the stream comes never changes them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudwatch.domain.transaction import Transaction
from fraudwatch.errors import BundleError
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import Columns, from_transactions
from fraudwatch.features.profiles import EMPTY_PROFILES
from fraudwatch.features.spans import DAY, KEEP
from fraudwatch.features.state import TYPICAL, AccountState
from tests.features_reference import RATES, START, WINDOWS, Reference, by_name, transactions

SPEC = FeatureSpec(attributes=("score",), rates=RATES)
TOLERANCE = {"travel_km": 1e-3, "travel_speed": 0.1}  # the reference measures angles another way
PROFILED = ("merchant_", "amount_to_merchant", "attributes.")


def columns_of(made: list[Transaction]) -> Columns:
    return from_transactions(made, SPEC)


def payments(n: int, every: timedelta, merchant: str | None = None) -> list[Transaction]:
    """Payments of one account in even steps, 1, 2, 3 … units."""
    return [
        Transaction(
            transaction_id=f"p{number}",
            account_id="a",
            event_time=START + number * every,
            amount=Decimal(number + 1),
            currency="EUR",
            merchant_id=merchant,
        )
        for number in range(n)
    ]


def extend(state: AccountState, made: list[Transaction]) -> list[dict[str, float]]:
    values = state.extend(columns_of(made), EMPTY_PROFILES).values
    return [by_name(SPEC.names, row) for row in values]


@settings(max_examples=30, deadline=None)
@given(transactions())
def test_every_feature_equals_its_formula(made: list[Transaction]) -> None:
    """Against a slow second implementation over everything ever received, late rows included."""
    reference = Reference()
    for t, found in zip(made, extend(AccountState(SPEC), made), strict=True):
        expected = reference.features(t)
        wrong = {
            name: (value, expected[name])
            for name, value in found.items()
            if name in expected
            and abs(value - expected[name]) > TOLERANCE.get(name, 1e-9) + 1e-6 * abs(value)
        }
        assert wrong == {}
    if made:
        assert set(found) - set(expected) == {n for n in SPEC.names if n.startswith(PROFILED)}


@settings(max_examples=30, deadline=None)
@given(transactions(), st.data())
def test_cuts_and_restarts_change_nothing(made: list[Transaction], data: st.DataObject) -> None:
    """Batches, and dumps and loads in between: the same bits, and the same bytes at the end."""
    whole = AccountState(SPEC)
    expected = whole.extend(columns_of(made), EMPTY_PROFILES)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(made)), max_size=6)))
    state, found, counts = AccountState(SPEC), [], []
    for begin, end in zip([0, *cuts], [*cuts, len(made)], strict=True):
        batch = state.extend(columns_of(made[begin:end]), EMPTY_PROFILES)
        found.append(batch.values)
        counts.append(batch.history_count)
        if data.draw(st.booleans()):
            state = AccountState.load(state.dump(), SPEC)
    np.testing.assert_array_equal(np.concatenate(found), expected.values)
    np.testing.assert_array_equal(np.concatenate(counts), expected.history_count)
    assert state.dump() == whole.dump()


@settings(max_examples=30, deadline=None)
@given(transactions())
def test_accounts_do_not_know_of_each_other(made: list[Transaction]) -> None:
    """Each account alone gets what it gets among others: partitions do not matter."""
    together = AccountState(SPEC).extend(columns_of(made), EMPTY_PROFILES).values
    for account in "ab":
        rows = [number for number, t in enumerate(made) if t.account_id == account]
        alone = AccountState(SPEC).extend(columns_of([made[row] for row in rows]), EMPTY_PROFILES)
        np.testing.assert_array_equal(alone.values, together[rows])


@settings(max_examples=30, deadline=None)
@given(transactions())
def test_features_are_finite(made: list[Transaction]) -> None:
    """But institution attributes, which may be missing."""
    values = AccountState(SPEC).extend(columns_of(made), EMPTY_PROFILES).values
    own = [name.startswith("attributes.") for name in SPEC.names]
    assert np.isfinite(values[:, ~np.array(own)]).all()
    scores = [t.attributes.get("score") for t in made]
    assert [None if np.isnan(v) else v for v in values[:, -1]] == [
        score if score == 0.5 else None for score in scores
    ]


def test_extreme_times_and_amounts_are_finite() -> None:
    """The year 1, the year 9999, the largest amount, in one account in the wrong order."""
    largest = Decimal(10**16 - 1).scaleb(-4)
    made = [
        Transaction(
            transaction_id=str(year),
            account_id="a",
            event_time=START.replace(year=year, month=1, day=1),
            amount=largest,
            currency="EUR",
            merchant_id="m",
            latitude=90.0,
            longitude=-180.0,
        )
        for year in (9999, 1, 2024, 9999, 1)
    ]
    values = AccountState(SPEC).extend(columns_of(made), EMPTY_PROFILES).values
    assert np.isfinite(values[:, :-1]).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 10 * 86_400), min_size=1, max_size=80), st.data())
def test_book_definition(gaps: list[int], data: st.DataObject) -> None:
    """NB_TX and AVG_AMOUNT over 1, 7 and 30 days of the Fraud Detection Handbook, by pandas."""
    times = START + pd.to_timedelta(np.cumsum(gaps), unit="s")
    accounts = data.draw(st.lists(st.sampled_from("ab"), min_size=len(gaps), max_size=len(gaps)))
    cents = data.draw(st.lists(st.integers(0, 100_000), min_size=len(gaps), max_size=len(gaps)))
    made = [
        Transaction(
            transaction_id=f"t{number:03d}",
            account_id=account,
            event_time=time.to_pydatetime(),
            amount=Decimal(cent).scaleb(-2),
            currency="EUR",
        )
        for number, (time, account, cent) in enumerate(zip(times, accounts, cents, strict=True))
    ]
    values = AccountState(SPEC).extend(columns_of(made), EMPTY_PROFILES).values
    found = pd.DataFrame(values, columns=list(SPEC.names))
    book = pd.DataFrame({"account": accounts, "amount": np.array(cents) / 100}, index=times)
    for account in set(accounts):
        mine = np.array(accounts) == account
        for window, name in (("1D", "24h"), ("7D", "7d"), ("30D", "30d")):
            rolling = book["amount"][mine].rolling(window)
            np.testing.assert_array_equal(found[f"count_{name}"][mine], rolling.count())
            np.testing.assert_allclose(found[f"mean_{name}"][mine], rolling.mean(), atol=1e-9)


def test_windows_are_open_at_the_old_end_and_closed_at_the_new() -> None:
    """A payment exactly w before does not count, one at the same time does."""
    for name, length in WINDOWS.items():
        first, second = payments(2, length)
        third = payments(1, length)[0]
        found = extend(AccountState(SPEC), [first, third, second])
        assert found[1][f"count_{name}"] == 2
        assert found[2][f"count_{name}"] == 1


def test_late_row_sees_what_was_received_before_it() -> None:
    """It counts only what happened up to its own time, and lies in the windows of later ones."""
    day = timedelta(days=1)
    first, second, third, fourth = payments(4, day)
    found = extend(AccountState(SPEC), [first, third, second, fourth])
    assert [row["count_7d"] for row in found] == [1, 2, 2, 4]
    assert found[2]["sum_7d"] == 3.0
    assert found[2]["seconds_since_last"] == 86_400


def test_memory_of_places_ends_after_a_year() -> None:
    """A merchant not seen for 365 days is new again; one seen the day before that is not."""
    for gap, new in ((timedelta(days=365), 1.0), (timedelta(days=365, seconds=-1), 0.0)):
        found = extend(AccountState(SPEC), payments(2, gap, merchant="m"))
        assert [row["first_merchant"] for row in found] == [0.0, new]


def test_account_with_very_many_payments_stays_bounded() -> None:
    """Windows count at most the newest KEEP of the past, and memory does not grow beyond them."""
    n = KEEP + 3_000
    columns = columns_of(payments(n, timedelta(seconds=1), merchant="m"))
    state = AccountState(SPEC)
    values = state.extend(columns, EMPTY_PROFILES).values
    counts = values[:, SPEC.names.index("count_30d")]
    np.testing.assert_array_equal(counts, np.minimum(np.arange(n) + 1, KEEP + 1))
    parts = AccountState(SPEC)
    for begin in range(0, n, 3_000):
        parts.extend(columns.take(slice(begin, begin + 3_000)), EMPTY_PROFILES)
    assert parts.dump() == state.dump()
    size = state.memory_bytes
    for _ in range(3):
        state.extend(columns.take(slice(n - 1_000, n)), EMPTY_PROFILES)
    assert state.memory_bytes == size


def ranges(state: AccountState, made: list[Transaction]) -> np.ndarray:
    """Low and high of each row, for rows taken as one batch."""
    state.extend(columns_of(made), EMPTY_PROFILES)
    return np.array(state.normal_range(np.arange(len(made))))


@settings(max_examples=30, deadline=None)
@given(transactions(late=False, most=40))
def test_normal_range_is_that_of_the_past(made: list[Transaction]) -> None:
    """Quantiles of the account's past amounts."""
    if not made:
        return
    last = made[-1]
    low, high = ranges(AccountState(SPEC), made)[:, -1]
    past = [
        int(amount)
        for amount, t in zip(columns_of(made).amount_e4, made, strict=True)
        if t.account_id == last.account_id
        and last.event_time - timedelta(days=30) < t.event_time < last.event_time
    ]
    position = SPEC.names.index("amount")
    if len(past) < 5:
        assert np.isnan(low).all()
        assert np.isnan(high).all()
    else:
        expected = np.quantile(np.array(past) / 1e4, (0.05, 0.95))
        np.testing.assert_allclose((low[position], high[position]), expected)
        known = ~np.isnan(low)
        assert (low[known] <= high[known]).all()


@settings(max_examples=60, deadline=None)
@given(transactions(most=60), st.data())
def test_normal_range_knows_nothing_of_what_came_after(
    made: list[Transaction], data: st.DataObject
) -> None:
    """Later rows of a batch may tell of earlier times or push old ones out: no bit may change."""
    alone = AccountState(SPEC)
    expected = [ranges(alone, [t]) for t in made]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(made)), max_size=4)))
    state = AccountState(SPEC)
    found = [
        ranges(state, made[begin:end])
        for begin, end in zip([0, *cuts], [*cuts, len(made)], strict=True)
    ]
    np.testing.assert_array_equal(
        np.concatenate(found, axis=1),
        np.concatenate([np.empty_like(found[0][:, :0]), *expected], axis=1),
    )


def test_normal_range_of_an_account_with_very_many_payments() -> None:
    """The newest KEEP of its past count, for a row alone and for one among many of its batch."""
    made = payments(KEEP + 40, timedelta(seconds=7), merchant="m")
    late = [msgspec.structs.replace(t, transaction_id=f"late {t.transaction_id}") for t in made]
    made = made + late[10:12] + late[-12:-9]
    alone, state = AccountState(SPEC), AccountState(SPEC)
    for some in (alone, state):
        extend(some, made[: KEEP + 20])
    expected = np.concatenate([ranges(alone, [t]) for t in made[KEEP + 20 :]], axis=1)
    np.testing.assert_array_equal(ranges(state, made[KEEP + 20 :]), expected)
    assert not np.isnan(expected[:, -1]).all()


def test_normal_range_covers_short_windows_and_not_long_ones() -> None:
    """A month's window cannot be recomputed for a month ago: unknown rather than wrong."""
    low, high = ranges(AccountState(SPEC), payments(100, timedelta(hours=12)))[:, -1]
    found = {n: (low[i], high[i]) for i, n in enumerate(SPEC.names)}
    assert found["count_24h"] == (2.0, 2.0)
    assert found["count_7d"] == (14.0, 14.0)
    assert found["seconds_since_last"] == (43_200, 43_200)
    assert np.isnan(found["count_30d"]).all()


def test_normal_range_of_a_busy_account_is_that_of_its_newest_payments() -> None:
    """Amounts rose from 1 to 2 and then to 3: the newest 256 say 2 to 3. What looks farther back
    than the payments that are recomputed is unknown rather than too small."""
    gap = timedelta(minutes=10)
    made = payments(TYPICAL + 300, gap, merchant="m")
    amounts = [1] * 300 + [2] * (TYPICAL // 2) + [3] * (TYPICAL // 2)
    made = [
        msgspec.structs.replace(t, amount=Decimal(amount))
        for t, amount in zip(made, amounts, strict=True)
    ]
    last = msgspec.structs.replace(made[-1], event_time=made[-1].event_time + gap)
    low, high = ranges(AccountState(SPEC), [*made, last])[:, -1]
    found = {n: (low[i], high[i]) for i, n in enumerate(SPEC.names)}
    assert found["amount"] == (2.0, 3.0)
    assert found["seconds_since_last"] == (600, 600)
    assert found["count_24h"] == (144.0, 144.0)
    assert np.isnan(found["count_7d"]).all()
    assert np.isnan(found["amount_ratio_7d"]).all()


def test_normal_range_of_an_unknown_account_is_unknown() -> None:
    found = ranges(AccountState(SPEC), payments(2, timedelta(0)))
    assert found.shape == (2, 2, len(SPEC.names))
    assert np.isnan(found).all()


def test_how_late_a_row_is() -> None:
    """Measured against the latest of its account that was received before it."""
    day = timedelta(days=1)
    first, second, third, fourth = payments(4, day)
    made = [first, third, second, second, fourth]
    late = AccountState(SPEC).extend(columns_of(made), EMPTY_PROFILES).late_us
    assert late.tolist() == [0, 0, DAY, DAY, 0]


def test_damaged_or_foreign_dump_is_refused() -> None:
    """A flipped byte, a cut, other feature definitions: never a state that is silently wrong."""
    state = AccountState(SPEC)
    extend(state, payments(30, timedelta(days=1), merchant="m"))
    data = state.dump()
    for damaged in (b"", data[:-1], data[:50], data[:-9] + b"x" + data[-8:], b"X" + data[1:]):
        with pytest.raises(BundleError):
            AccountState.load(damaged, SPEC)
    with pytest.raises(BundleError, match="features"):
        AccountState.load(data, FeatureSpec())


def test_state_of_many_accounts_survives_growth_and_dump() -> None:
    """Thousands of accounts: pools grow, the index is made anew, nothing gets lost."""
    made = [
        Transaction(
            transaction_id=str(number),
            account_id=f"account {number % 3_001}",
            event_time=START + number * timedelta(minutes=1),
            amount=Decimal(1),
            currency="EUR",
            merchant_id=f"m{number % 7}",
        )
        for number in range(9_003)
    ]
    state = AccountState(SPEC)
    batch = state.extend(columns_of(made), EMPTY_PROFILES)
    assert len(state) == 3_001
    np.testing.assert_array_equal(batch.history_count, np.arange(9_003) // 3_001)
    again = AccountState.load(state.dump(), SPEC)
    assert len(again) == 3_001
    absorbed = AccountState(SPEC)
    absorbed.absorb(columns_of(made))
    assert absorbed.dump() == state.dump()
    columns = columns_of(made[:500])
    np.testing.assert_array_equal(
        again.extend(columns, EMPTY_PROFILES).values, state.extend(columns, EMPTY_PROFILES).values
    )
