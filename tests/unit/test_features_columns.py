"""Columns: live transactions and recorded frames give the same bits."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudwatch.domain.transaction import Transaction
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import (
    AMOUNT_LIMIT_E4,
    Columns,
    from_frame,
    from_transactions,
    hash_id,
    in_reference,
    to_us,
)
from tests.features_reference import RATES, canonical, transactions

SPEC = FeatureSpec(attributes=("score", "never"), rates=RATES)


def same(one: Columns, other: Columns) -> None:
    for f in fields(Columns):
        left, right = getattr(one, f.name), getattr(other, f.name)
        assert left.dtype == right.dtype, f.name
        np.testing.assert_array_equal(left, right, err_msg=f.name)


@settings(max_examples=60, deadline=None)
@given(transactions())
def test_columns_of_transactions_equal_those_of_their_frame(made: list[Transaction]) -> None:
    ordered = sorted(made, key=lambda t: (t.event_time, t.transaction_id))
    same(from_transactions(ordered, SPEC), from_frame(canonical(made), SPEC))


def test_frame_with_only_what_is_required() -> None:
    """A source without merchants or places: absent, not an error."""
    frame = pd.DataFrame(
        {
            "transaction_id": ["1"],
            "account_id": ["a"],
            "event_time": pd.Series(
                [datetime(2024, 5, 1, tzinfo=UTC)], dtype="datetime64[us, UTC]"
            ),
            "amount_e4": [15_000],
            "currency": ["EUR"],
        }
    )
    columns = from_frame(frame, SPEC)
    assert columns.account.tolist() == [hash_id("a")]
    assert columns.merchant.tolist() == [0]
    assert np.isnan(columns.latitude[0])
    assert np.isnan(columns.attributes).all()


def test_take_keeps_all_columns_aligned() -> None:
    made = [
        Transaction(
            transaction_id=str(number),
            account_id=str(number),
            event_time=datetime(2024, 5, 1, tzinfo=UTC) + timedelta(seconds=number),
            amount=Decimal(number),
            currency="EUR",
        )
        for number in range(5)
    ]
    columns = from_transactions(made, SPEC)
    same(columns.take(np.array([3, 1])), from_transactions([made[3], made[1]], SPEC))
    same(columns.take(columns.amount_e4 > 20_000), from_transactions(made[3:], SPEC))


@given(
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11))])).filter(
        lambda moment: moment.year > 1
    )
)
def test_times_are_exact_to_the_microsecond(moment: datetime) -> None:
    """Through integers, not floats: a float of seconds loses microseconds in far years."""
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=to_us(moment)) == moment


def test_amounts_round_half_to_even_and_saturate() -> None:
    amounts = np.array([1, 3, 7, 10**16 - 1, 10**16 - 1], dtype=np.int64)
    rates = np.array([0.5, 0.5, 1.0, 1.0, 1e12])
    converted = in_reference(amounts, rates)
    assert converted.tolist() == [0, 2, 7, AMOUNT_LIMIT_E4, AMOUNT_LIMIT_E4]


def test_hashes_never_change() -> None:
    """They are in snapshots and profiles on disk: another hash function would orphan them."""
    assert hash_id("") == 0x2D06800538D394C2
    assert hash_id("abc") == 0x78AF5F94892F3950
