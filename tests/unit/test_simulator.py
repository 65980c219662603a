"""The simulated world: its promises (same, cut anywhere, canonical) and the truth of its docs."""

from __future__ import annotations

import itertools
import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudwatch.errors import ConfigurationError, Invalid
from streams.simulator import PATTERN_NAMES, RATES, World, WorldConfig
from streams.simulator.places import CITIES

START = datetime(2026, 9, 1, tzinfo=UTC)
DAYS = 60
DOCS = Path(__file__).parents[2] / "docs" / "simulator.md"

QUIET = WorldConfig(seed=3, customers=60)
# Fraud often enough that each pattern has campaigns to look at and rates have little noise.
BUSY = WorldConfig(
    seed=5,
    customers=1500,
    card_testing=0.008,
    account_takeover=0.006,
    stolen_abroad=0.004,
    compromised_merchant=0.01,
    slow_drain=0.006,
)
COLUMNS = {
    "transaction_id": "str",
    "account_id": "str",
    "event_time": "datetime64[us, UTC]",
    "amount_e4": "int64",
    "currency": "str",
    "merchant_id": "str",
    "merchant_category": "str",
    "channel": "str",
    "country": "str",
    "device_id": "str",
    "counterparty_id": "str",
    "customer_id": "str",
    "ip": "str",
    "latitude": "float64",
    "longitude": "float64",
    "attributes.login_age_hours": "float64",
    "attributes.ip_risk": "float64",
    "attributes.failed_logins_24h": "float64",
    "label": "bool",
    "pattern": "str",
}


@pytest.fixture(scope="module")
def quiet() -> World:
    return World(QUIET)


@pytest.fixture(scope="module")
def busy_world() -> World:
    return World(BUSY)


@pytest.fixture(scope="module")
def busy(busy_world: World) -> pd.DataFrame:
    frame = busy_world.generate(START, START + timedelta(days=DAYS))
    rate = frame["currency"].astype(object).map(RATES).astype(float)
    return frame.assign(eur=frame["amount_e4"] / 10_000 * rate)


def of(frame: pd.DataFrame, pattern: str) -> pd.DataFrame:
    found = frame[frame["pattern"] == pattern]
    assert len(found) > 100
    return found


def test_frame_is_canonical(busy: pd.DataFrame) -> None:
    frame = busy.drop(columns="eur")
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == COLUMNS
    assert list(frame.columns) == list(COLUMNS)
    ordered = frame.sort_values(["event_time", "transaction_id"], ignore_index=True)
    pd.testing.assert_frame_equal(frame, ordered)
    assert frame["transaction_id"].is_unique
    assert frame["event_time"].between(START, START + timedelta(days=DAYS), "left").all()
    required = ["transaction_id", "account_id", "currency", "channel", "customer_id", "pattern"]
    assert not frame[required].isna().any().any()


def test_amounts_have_two_decimals_and_are_above_zero(busy: pd.DataFrame) -> None:
    assert (busy["amount_e4"] % 100 == 0).all()
    assert busy["amount_e4"].min() > 0
    assert busy["eur"].max() < 50_000
    assert (busy["currency"] == "EUR").mean() > 0.85


def test_same_configuration_same_world(quiet: World) -> None:
    end = START + timedelta(days=3)
    same = World(QUIET).generate(START, end)
    other = World(replace(QUIET, seed=4)).generate(START, end)
    pd.testing.assert_frame_equal(quiet.generate(START, end), same)
    assert set(other["transaction_id"]).isdisjoint(same["transaction_id"])
    assert other["amount_e4"].head(20).tolist() != same["amount_e4"].head(20).tolist()


@settings(max_examples=15, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 6 * 86_400_000_000), max_size=4).map(sorted),
    fresh=st.booleans(),
)
def test_history_is_the_same_wherever_it_is_cut(cuts: list[int], fresh: bool) -> None:
    """A live stream that goes on later must equal the history generated at once."""
    config = WorldConfig(seed=9, customers=40, compromised_merchant=0.1, slow_drain=0.1)
    world = World(config)
    marks = [START + timedelta(microseconds=cut) for cut in (0, *cuts, 6 * 86_400_000_000)]
    parts = [
        (World(config) if fresh else world).generate(start, end)
        for start, end in itertools.pairwise(marks)
    ]
    whole = world.generate(marks[0], marks[-1])
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)
    assert whole["label"].any()


def test_progress_counts_days(quiet: World) -> None:
    seen: list[tuple[int, int]] = []
    quiet.generate(
        START + timedelta(hours=5),
        START + timedelta(days=2, hours=1),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_nothing_happens_in_no_time(quiet: World) -> None:
    empty = quiet.generate(START, START)
    assert len(empty) == 0
    assert {name: str(kind) for name, kind in empty.dtypes.items()} == COLUMNS
    assert len(quiet.chargebacks(empty)) == 0


def test_naive_and_ancient_times_are_refused(quiet: World) -> None:
    with pytest.raises(Invalid, match="aware"):
        quiet.generate(datetime(2026, 9, 1), START)  # noqa: DTZ001
    with pytest.raises(Invalid, match="1970"):
        quiet.generate(datetime(1969, 9, 1, tzinfo=UTC), START)


@pytest.mark.parametrize(
    ("field", "value"),
    [("customers", 0), ("merchants", 100), ("slow_drain", -0.1), ("report_days_max", 4.0)],
)
def test_impossible_configurations_name_their_field(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=field):
        replace(WorldConfig(), **{field: value})


@pytest.mark.parametrize("pattern", PATTERN_NAMES)
def test_each_pattern_is_as_frequent_as_configured(busy: pd.DataFrame, pattern: str) -> None:
    share = (busy["pattern"] == pattern).sum() / (~busy["label"]).sum()
    assert share == pytest.approx(getattr(BUSY, pattern), rel=0.35)


def test_fraud_is_rare_by_default() -> None:
    frame = World(WorldConfig(seed=2, customers=1500)).generate(START, START + timedelta(days=45))
    assert 0.005 < frame["label"].mean() < 0.01
    assert set(frame.loc[frame["label"], "pattern"]) == set(PATTERN_NAMES)
    per_customer = len(frame) / 1500 / 45
    assert 1.7 < per_customer < 2.7


def test_a_pattern_can_be_switched_off() -> None:
    none: dict[str, Any] = dict.fromkeys(PATTERN_NAMES, 0.0)
    calm = replace(BUSY, customers=200, **none)
    assert not World(calm).generate(START, START + timedelta(days=10))["label"].any()


def test_customers_have_habits(busy: pd.DataFrame) -> None:
    """Amounts, merchants, hours and places of an account are more alike than those of all."""
    own = busy[~busy["label"] & busy["merchant_id"].notna()]
    log = np.log(own["eur"])
    centred = log - log.groupby(own["merchant_category"]).transform("mean")
    level = centred.groupby(own["account_id"]).mean()
    assert level.std() > 0.25
    largest = own.groupby("account_id")["merchant_id"].agg(lambda m: m.value_counts().iloc[0])
    assert (largest / own.groupby("account_id").size()).median() > 0.05
    hours = own["event_time"].dt.hour
    assert hours.between(1, 4).mean() < 0.05
    at_tills = own[own["channel"] == "card_present"]
    home = at_tills.groupby("account_id")["country"].agg(lambda c: c.value_counts().iloc[0])
    assert (home / at_tills.groupby("account_id").size()).median() > 0.9
    abroad = ~at_tills["country"].isin(["DE", "AT", "NL"])
    assert 0.005 < abroad.mean() < 0.1


def test_more_is_spent_after_payday(busy: pd.DataFrame, busy_world: World) -> None:
    own = busy[~busy["label"]]
    account = own["account_id"].str[4:].astype(int).to_numpy()
    payday = busy_world._population.customers.payday[account]
    since = (own["event_time"].dt.day.to_numpy() - payday) % 30
    assert (since < 3).mean() / (3 / 30) > 1.15


def test_few_merchants_have_most_of_the_custom(busy: pd.DataFrame) -> None:
    visits = busy.loc[~busy["label"], "merchant_id"].value_counts()
    assert visits.head(len(visits) // 10).sum() / visits.sum() > 0.35


def test_card_testing_is_many_small_payments_in_minutes(busy: pd.DataFrame) -> None:
    campaigns = of(busy, "card_testing").groupby("device_id")
    assert (campaigns["eur"].max() < 5).all()
    assert campaigns.size().between(8, 25).all()
    assert ((campaigns["event_time"].max() - campaigns["event_time"].min()).max()) <= timedelta(
        minutes=20
    )
    assert (campaigns["account_id"].nunique() == 1).all()
    assert (campaigns["merchant_id"].nunique() <= 2).all()


def test_account_takeover_has_new_device_night_and_large_amounts(busy: pd.DataFrame) -> None:
    frauds = of(busy, "account_takeover")
    honest = busy[~busy["label"]]
    campaigns = frauds.groupby("device_id")
    assert campaigns.size().between(3, 8).all()
    assert not frauds["device_id"].isin(honest["device_id"]).any()
    night = campaigns["event_time"].min().dt.hour.isin([0, 1, 2, 3, 23])
    assert night.mean() == pytest.approx(0.75, abs=0.15)
    usual = honest.groupby("account_id")["eur"].median().reindex(frauds["account_id"])
    assert np.median(frauds["eur"].to_numpy() / usual.to_numpy()) > 4
    known = set(zip(honest["account_id"], honest["merchant_id"], strict=True))
    shops = frauds[frauds["merchant_id"].notna()]
    pairs = list(zip(shops["account_id"], shops["merchant_id"], strict=True))
    assert np.mean([pair in known for pair in pairs]) < 0.25
    assert (frauds["attributes.login_age_hours"] < 72).mean() == pytest.approx(0.75, abs=0.15)
    assert (frauds["channel"] == "transfer").any()


def test_stolen_abroad_is_impossible_travel(busy: pd.DataFrame) -> None:
    """The first payment abroad comes too soon after the customer's own one for any journey."""
    frauds = of(busy, "stolen_abroad")
    placed = busy[busy["latitude"].notna() & busy["pattern"].isin(["", "stolen_abroad"])]
    placed = placed.sort_values(["account_id", "event_time", "transaction_id"])
    before = placed.groupby("account_id").shift()
    first = placed["label"] & (before["pattern"] == "")
    hours = (placed["event_time"] - before["event_time"]).dt.total_seconds() / 3600
    a, b = (np.radians(f[["latitude", "longitude"]].to_numpy()) for f in (placed, before))
    half = (
        np.sin((a[:, 0] - b[:, 0]) / 2) ** 2
        + np.cos(a[:, 0]) * np.cos(b[:, 0]) * np.sin((a[:, 1] - b[:, 1]) / 2) ** 2
    )
    speed = 2 * 6371 * np.arcsin(np.sqrt(half)) / hours
    assert (speed[first] > 250).mean() > 0.95
    assert (placed["country"] != before["country"])[first].mean() > 0.99
    assert set(frauds["channel"]) == {"card_present", "atm"}
    assert set(frauds["country"]) <= {city.country for city in CITIES if city.thieves}


def test_compromised_merchant_shows_at_the_merchant_not_on_the_card(busy: pd.DataFrame) -> None:
    frauds = of(busy, "compromised_merchant")
    assert set(frauds["channel"]) == {"card_present"}
    days = frauds.groupby("merchant_id")["event_time"].agg(lambda t: t.dt.floor("D").nunique())
    assert days.between(5, 28).mean() > 0.7
    assert days.max() > 14
    cards = frauds.groupby("merchant_id")["account_id"].nunique()
    assert (cards / frauds.groupby("merchant_id").size()).median() > 0.6
    honest = busy[~busy["label"]].groupby("merchant_category")["eur"].median()
    ratio = frauds["eur"] / frauds["merchant_category"].map(honest).astype(float)
    assert 0.6 < ratio.median() < 1.7


def test_slow_drain_is_small_and_regular_to_one_payee(busy: pd.DataFrame) -> None:
    frauds = of(busy, "slow_drain")
    campaigns = frauds.groupby("counterparty_id")
    assert not frauds["counterparty_id"].isin(busy.loc[~busy["label"], "counterparty_id"]).any()
    assert (campaigns["account_id"].nunique() == 1).all()
    assert frauds["eur"].between(8, 50).all()
    assert (campaigns["eur"].max() / campaigns["eur"].min()).max() <= 1.1 / 0.9 + 0.01
    days = frauds.assign(day=frauds["event_time"].dt.floor("D"))
    gaps = days.groupby("counterparty_id")["day"].diff().dropna().dt.days
    assert set(gaps) == {1, 2}
    assert campaigns.size().max() <= 35
    assert set(frauds["channel"]) == {"transfer"}


def test_chargebacks_are_late_incomplete_and_stable(busy_world: World, busy: pd.DataFrame) -> None:
    known = busy_world.chargebacks(busy)
    assert {name: str(kind) for name, kind in known.dtypes.items()} == {
        "transaction_id": "str",
        "fraud": "bool",
        "known_at": "datetime64[us, UTC]",
    }
    assert known["fraud"].all()
    assert known["known_at"].is_monotonic_increasing
    joined = known.merge(busy, on="transaction_id", validate="one_to_one")
    assert joined["label"].all()
    assert len(known) / busy["label"].sum() == pytest.approx(BUSY.reported_share, abs=0.05)
    delay = (joined["known_at"] - joined["event_time"]).dt.total_seconds() / 86_400
    assert delay.min() >= 5
    assert delay.max() <= 40
    assert delay.median() == pytest.approx(5 + 35 / 4, abs=1.5)
    half = busy_world.chargebacks(busy.iloc[: len(busy) // 2])
    expected = known[known["transaction_id"].isin(busy["transaction_id"].iloc[: len(busy) // 2])]
    pd.testing.assert_frame_equal(half, expected.reset_index(drop=True))


def test_the_docs_name_every_field_with_its_default_and_every_pattern() -> None:
    text = DOCS.read_text()
    for field in fields(WorldConfig):
        row = re.search(rf"^\| `{field.name}` \| ([\d.]+) \|", text, re.MULTILINE)
        assert row, field.name
        assert float(row[1]) == field.default, field.name
    for pattern in PATTERN_NAMES:
        assert text.count(f"| `{pattern}` |") >= 2, pattern
