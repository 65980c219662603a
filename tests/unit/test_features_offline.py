"""Merchant profiles and offline features: what was known at the moment, and nothing later."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudwatch.domain.transaction import Transaction
from fraudwatch.errors import BundleError, Invalid
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import from_frame, from_transactions, hash_ids
from fraudwatch.features.offline import compute_features
from fraudwatch.features.profiles import (
    EMPTY_PROFILES,
    DayTable,
    MerchantProfiles,
    build_profiles,
    day_table,
)
from fraudwatch.features.state import AccountState
from tests.features_reference import RATES, by_name, canonical, money, transactions

SPEC = FeatureSpec(rates=RATES)
DAY = timedelta(days=1)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@st.composite
def labels(draw: st.DrawFn, made: list[Transaction]) -> pd.DataFrame:
    """Truth about some of the transactions, known some days later; some of it corrected."""
    known = [
        {"transaction_id": t.transaction_id, "fraud": fraud, "known_at": t.event_time + later}
        for t in made
        for fraud, later in draw(
            st.lists(
                st.tuples(st.booleans(), st.timedeltas(timedelta(0), 40 * DAY)),
                max_size=2,
                unique_by=lambda label: label[1],
            )
        )
    ]
    frame = pd.DataFrame(known, columns=["transaction_id", "fraud", "known_at"])
    return frame.astype({"fraud": bool, "known_at": "datetime64[us, UTC]"})


def expected_merchant(
    t: Transaction, made: list[Transaction], known: list[tuple[datetime, str, bool]], delay: int
) -> dict[str, float]:
    """The merchant features of the catalogue, plainly; `known` is in order of time."""
    today = t.event_time.date()
    now = midnight(today)
    seen = [p for p in made if p.merchant_id and p.merchant_id == t.merchant_id]
    truth = {identity: fraud for known_at, identity, fraud in known if known_at < now}

    def rows(days: int, skipped: int = 0) -> list[Transaction]:
        ages = {p.transaction_id: (today - p.event_time.date()).days for p in seen}
        return [p for p in seen if skipped < ages[p.transaction_id] <= skipped + days]

    def frauds(found: list[Transaction]) -> int:
        return sum(truth.get(p.transaction_id, False) for p in found)

    month = rows(30)
    mean = sum(min(money(p), 1e8) for p in month) / len(month) if month else 0.0
    expected = {
        "merchant_known": float(bool(rows(30 + delay))),
        "merchant_mean_30d": mean,
        "amount_to_merchant_mean": min(money(t) / mean, 1000.0) if mean else 1.0,
        "merchant_frauds_7d": frauds(rows(7)),
        "merchant_frauds_30d": frauds(month),
    }
    for days in (1, 7, 30):
        expected[f"merchant_count_{days}d"] = len(rows(days))
        rated = rows(days, delay)
        rate = frauds(rated) / len(rated) if rated else 0.0
        expected[f"merchant_fraud_rate_{days}d"] = rate
    return expected


@settings(max_examples=25, deadline=None)
@given(transactions(late=False, most=40), st.sampled_from([0, 1, 7]), st.data())
def test_merchant_features_equal_their_formulas(
    made: list[Transaction], delay: int, data: st.DataObject
) -> None:
    """Against plain loops: days before today, labels known before 00:00, corrections included."""
    known = data.draw(labels(made))
    batch = compute_features(canonical(made), SPEC, known_frauds=known, label_delay_days=delay)
    ordered = sorted(made, key=lambda t: (t.event_time, t.transaction_id))
    in_order = known.sort_values("known_at")
    moments = [moment.to_pydatetime() for moment in in_order["known_at"]]
    truths = list(zip(moments, in_order["transaction_id"], in_order["fraud"], strict=True))
    for t, row in zip(ordered, batch.values, strict=True):
        found = by_name(SPEC.names, row)
        expected = expected_merchant(t, made, truths, delay)
        wrong = {n: v for n, v in expected.items() if not math.isclose(v, found[n], rel_tol=1e-9)}
        assert wrong == {}


@settings(max_examples=25, deadline=None)
@given(transactions(late=False), st.data())
def test_live_in_any_batches_equals_offline(made: list[Transaction], data: st.DataObject) -> None:
    """Row by row, to the last bit: decoded transactions in random batches, profiles day by day."""
    ordered = sorted(made, key=lambda t: (t.event_time, t.transaction_id))
    offline = compute_features(canonical(made), SPEC)
    state, profiles, begin, found = AccountState(SPEC), EMPTY_PROFILES, 0, []
    while begin < len(ordered):
        today = ordered[begin].event_time.date()
        same_day = sum(t.event_time.date() == today for t in ordered[begin:])
        end = begin + data.draw(st.integers(1, same_day))
        profiles = build_profiles(today, [day_table(from_transactions(ordered[:begin], SPEC))])
        found.append(state.extend(from_transactions(ordered[begin:end], SPEC), profiles))
        begin = end
    for batch, start in zip(found, np.cumsum([0, *(len(b) for b in found)]), strict=False):
        stop = start + len(batch)
        np.testing.assert_array_equal(batch.values, offline.values[start:stop])
        np.testing.assert_array_equal(batch.history_count, offline.history_count[start:stop])


@settings(max_examples=25, deadline=None)
@given(transactions(late=False), st.data())
def test_offline_features_know_nothing_of_the_future(
    made: list[Transaction], data: st.DataObject
) -> None:
    """Rows and labels that come later change nothing before them."""
    frame, known = canonical(made), data.draw(labels(made))
    cut = data.draw(st.integers(0, len(frame)))
    whole = compute_features(frame, SPEC, known_frauds=known).values[:cut]
    until = frame["event_time"].iloc[cut - 1] if cut else datetime(1970, 1, 1, tzinfo=UTC)
    earlier = known[known["known_at"] < until]
    part = compute_features(frame.iloc[:cut], SPEC, known_frauds=earlier).values
    np.testing.assert_array_equal(part, whole)


def test_without_labels_risk_is_nothing() -> None:
    """Profiles without a known fraud leave the fraud features at 0 for every merchant."""
    times = pd.date_range("2024-01-01", periods=400, freq="3h", tz="UTC").as_unit("us")
    frame = pd.DataFrame(
        {
            "transaction_id": [f"{number:03d}" for number in range(400)],
            "account_id": "a",
            "event_time": times,
            "amount_e4": 10_000,
            "currency": "EUR",
            "merchant_id": [f"m{number % 3}" for number in range(400)],
        }
    )
    done: list[int] = []
    found = pd.DataFrame(
        compute_features(frame, SPEC, progress=done.append).values, columns=list(SPEC.names)
    )
    assert (found.filter(like="fraud") == 0).all().all()
    assert found["merchant_known"].iloc[-1] == 1
    assert done == list(range(8, 401, 8))


def test_rates_end_where_truth_is_known() -> None:
    """Chargebacks take 7 days: with the delay the rate is right, without it far too low."""
    table = DayTable(
        merchant=hash_ids(["m"] * 20),
        day=np.arange(100, 120),
        count=np.full(20, 10),
        amount_e4=np.full(20, 10_000),
        frauds=np.where(np.arange(100, 120) < 113, 5, 0),  # those of the last 7 days: not known yet
    )
    as_of = date(1970, 1, 1) + 120 * DAY
    delayed = build_profiles(as_of, [table])
    column = {name: values[0] for name, values in delayed.lookup(hash_ids(["m"])).items()}
    assert (column["rated_frauds_7d"], column["rated_count_7d"]) == (35, 70)
    assert (column["frauds_7d"], column["frauds_30d"]) == (0, 65)
    hasty = build_profiles(as_of, [table], label_delay_days=0)
    assert hasty.lookup(hash_ids(["m"]))["rated_frauds_7d"].tolist() == [0]


@settings(max_examples=25, deadline=None)
@given(transactions(), st.data())
def test_tables_add_up(made: list[Transaction], data: st.DataObject) -> None:
    """One table or many, in any order: the same profiles, byte for byte."""
    columns = from_frame(canonical(made), SPEC)
    frauds = np.array(
        data.draw(st.lists(st.integers(0, 1), min_size=len(made), max_size=len(made)))
    )
    frauds = frauds.astype(np.int64)
    as_of = max((t.event_time for t in made), default=datetime(2024, 3, 1, tzinfo=UTC)).date()
    whole = build_profiles(as_of, [day_table(columns, frauds)])
    order = np.array(data.draw(st.permutations(range(len(made)))), dtype=np.int64)
    cut = len(made) // 2
    parts = [day_table(columns.take(r), frauds[r]) for r in (order[:cut], order[cut:])]
    assert build_profiles(as_of, parts).dump() == whole.dump()
    again = MerchantProfiles.load(whole.dump())
    assert again.version == as_of.isoformat()
    assert again.dump() == whole.dump()
    for name, values in whole.lookup(columns.merchant).items():
        np.testing.assert_array_equal(again.lookup(columns.merchant)[name], values)
        assert not values[columns.merchant == 0].any()


def test_damaged_profiles_are_refused() -> None:
    data = EMPTY_PROFILES.dump()
    assert len(MerchantProfiles.load(data)) == 0
    for damaged in (data[:-1], b"", data + b"x", AccountState(SPEC).dump()):
        with pytest.raises(BundleError):
            MerchantProfiles.load(damaged)


def test_frame_out_of_order_is_refused() -> None:
    """It would be computed as late rows, unlike the stream it stands for."""
    made = [
        Transaction(
            transaction_id=str(number),
            account_id="a",
            event_time=datetime(2024, 5, 1, tzinfo=UTC) + number * DAY,
            amount=Decimal(1),
            currency="EUR",
        )
        for number in range(3)
    ]
    with pytest.raises(Invalid, match="sorted"):
        compute_features(canonical(made).iloc[::-1], SPEC)


def test_empty_frame_has_no_features() -> None:
    batch = compute_features(canonical([]), SPEC)
    assert batch.values.shape == (0, len(SPEC.names))
    assert batch.history_count.shape == (0,)
