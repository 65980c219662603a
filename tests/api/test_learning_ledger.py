"""The return path on a real database: what the ledger gives to learning, models made of it, and
merchant profiles."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import ledger, models_registry, profile_store
from fraudwatch.casework.ledger_tables import LedgerTables
from fraudwatch.casework.models import (
    Alert,
    AuditRow,
    Case,
    LabelRow,
    ModelRow,
    ProfileVersion,
    StreamOffset,
)
from fraudwatch.casework.scored import Scored
from fraudwatch.clock import FixedClock
from fraudwatch.detectors import bundle
from fraudwatch.detectors.training import TrainingConfig
from fraudwatch.domain.decision import Outcome, Rule, Versions
from fraudwatch.domain.label import PRECEDENCE, LabelSource
from fraudwatch.domain.transaction import encode
from fraudwatch.errors import ConfigurationError, Conflict
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import from_frame, from_transactions, hash_ids
from fraudwatch.features.offline import compute_features
from fraudwatch.features.profiles import EPOCH_DAY, build_profiles, day_table
from fraudwatch.history import FRAUD, LEGITIMATE, UNKNOWN, from_canonical, from_ledger
from fraudwatch.learning import Workshop
from fraudwatch.profile_keeper import ProfileKeeper, refresh_profiles
from fraudwatch.settings import load_settings
from streams.mapping import Mapping, frame_to_transactions
from streams.simulator.config import WorldConfig
from streams.simulator.world import World

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 10, tzinfo=UTC)
NOW = END + timedelta(days=1)
TOPIC = "transactions"
SPEC = FeatureSpec()
WORLD = World(WorldConfig(seed=5, customers=60, payments_per_day=2, compromised_merchant=0.03))
QUICK = TrainingConfig(detectors=("pca",), label_trees=20)


@dataclass(frozen=True)
class Stored:
    """What the ledger holds, as it was put there."""

    frame: pd.DataFrame
    features: NDArray[np.float64]
    outcome: NDArray[np.int8]
    rule: NDArray[np.int8]


@pytest.fixture(scope="module")
def rows() -> Stored:
    frame = WORLD.generate(BEGIN, END)
    features = compute_features(frame, SPEC).values
    rng = np.random.default_rng(1)
    outcome = np.where(rng.random(len(frame)) < 0.05, Outcome.REVIEW, Outcome.AUTO_CLEAR)
    rule = np.where(
        (outcome == Outcome.AUTO_CLEAR) & (rng.random(len(frame)) < 0.02),
        Rule.BLIND_SPOT,
        Rule.RISK,
    )
    return Stored(frame, features, outcome.astype(np.int8), rule.astype(np.int8))


@pytest.fixture
def stored(sessions: sessionmaker[Session], rows: Stored) -> Stored:
    """The rows in the ledger, alternating between two partitions."""
    transactions = list(frame_to_transactions(rows.frame))
    n = len(transactions)
    unscored = np.full(n, np.nan)
    tables = LedgerTables(sessions, FixedClock(NOW))
    time_us = from_transactions(transactions, SPEC).time_us
    tables.prepare(ledger.days_of(time_us), [(0, 0, n), (1, 0, n)])
    with sessions.begin() as session:
        ledger.write(
            session,
            Scored(
                partitions=[row % 2 for row in range(n)],
                offsets=[row // 2 for row in range(n)],
                transactions=transactions,
                time_us=time_us,
                payloads=[encode(transaction) for transaction in transactions],
                features=rows.features,
                features_version=SPEC.version,
                anomaly_score=unscored,
                risk=unscored,
                challenger_risk=unscored,
                outcome=rows.outcome,
                rule=rows.rule,
                reasons={},
                versions=Versions(None, 1, ""),
                challenger_id=None,
                scored_at=NOW,
            ),
            tables,
        )
        for partition in (0, 1):
            session.add(
                StreamOffset(
                    topic=TOPIC,
                    partition=partition,
                    first_offset=0,
                    published_offset=0,
                    next_offset=(n + 1 - partition) // 2,
                )
            )
    return rows


def label(
    session: Session,
    transaction_id: str,
    fraud: bool,
    source: LabelSource = LabelSource.ANALYST,
    known_at: datetime = END,
) -> None:
    session.add(
        LabelRow(
            transaction_id=transaction_id,
            fraud=fraud,
            source=source.value,
            precedence=PRECEDENCE[source],
            known_at=known_at,
        )
    )


def label_all(session: Session, stored: Stored) -> None:
    """The truth about everything that was flagged, and all chargebacks."""
    flagged = stored.frame[stored.outcome > 0]
    for name, fraud in zip(flagged["transaction_id"], flagged["label"], strict=True):
        label(session, name, bool(fraud))
    known = WORLD.chargebacks(stored.frame)
    for name, moment in zip(known["transaction_id"], known["known_at"], strict=True):
        label(session, name, True, LabelSource.CHARGEBACK, moment)


def open_case(session: Session, stored: Stored, row: int) -> None:
    case = Case(
        account_id=stored.frame["account_id"].iloc[row],
        status="new",
        outcome=1,
        amount=1,
        alert_count=1,
        priority=1.0,
        opened_at=NOW,
        updated_at=NOW,
        due_at=NOW,
    )
    session.add(case)
    session.flush()
    session.add(
        Alert(
            case_id=case.id,
            partition=row % 2,
            offset=row // 2,
            transaction_id=stored.frame["transaction_id"].iloc[row],
            event_time=stored.frame["event_time"].iloc[row],
            outcome=1,
            rule=0,
            added_at=NOW,
        )
    )


@pytest.fixture
def workshop(sessions: sessionmaker[Session], tmp_path: Path) -> Workshop:
    settings = load_settings(data_dir=tmp_path)
    return Workshop(sessions, settings, FixedClock(NOW), "a test", config=QUICK)


def test_the_ledger_gives_back_what_was_scored(
    sessions: sessionmaker[Session], stored: Stored
) -> None:
    """Features to the last bit, in order of time, inside the window and of the right version."""
    with sessions.begin() as session:
        history = from_ledger(session, SPEC, since=BEGIN, until=END)
        assert np.array_equal(history.features, stored.features)
        assert np.array_equal(history.transaction, hash_ids(stored.frame["transaction_id"]))
        assert np.array_equal(history.account, from_frame(stored.frame, SPEC).account)
        assert np.array_equal(history.flagged, stored.outcome > 0)
        assert np.array_equal(history.sampled, stored.rule == Rule.BLIND_SPOT)
        assert (history.fraud == UNKNOWN).all()
        assert not history.open.any()
        assert not history.matured.any(), "without chargebacks nothing shows how long truth takes"
        middle = BEGIN + timedelta(days=10)
        part = from_ledger(session, SPEC, since=middle, until=middle + timedelta(days=2))
        days = stored.frame["event_time"]
        inside = (days >= middle) & (days < middle + timedelta(days=2))
        assert np.array_equal(part.features, stored.features[inside.to_numpy()])
        other = FeatureSpec(rates={"USD": 0.9})
        assert len(from_ledger(session, other, since=BEGIN, until=END)) == 0


def test_the_label_of_highest_precedence_counts(
    sessions: sessionmaker[Session], stored: Stored
) -> None:
    """An analyst cleared it, the chargeback says fraud, an appeal has the last word."""
    ids = stored.frame["transaction_id"]
    with sessions.begin() as session:
        label(session, ids[0], False)
        label(session, ids[1], False, known_at=END + timedelta(hours=1))
        label(session, ids[1], True, LabelSource.CHARGEBACK, known_at=END)
        label(session, ids[2], True, LabelSource.CHARGEBACK)
        label(session, ids[2], False, LabelSource.APPEAL)
        label(session, ids[3], False, known_at=END)
        label(session, ids[3], True, known_at=END + timedelta(hours=1))
        label(session, "never seen", True)
    with sessions.begin() as session:
        history = from_ledger(session, SPEC, since=BEGIN, until=END)
    assert history.fraud[:5].tolist() == [LEGITIMATE, FRAUD, LEGITIMATE, FRAUD, UNKNOWN]


def test_rows_of_open_cases_are_marked(sessions: sessionmaker[Session], stored: Stored) -> None:
    with sessions.begin() as session:
        open_case(session, stored, 7)
    with sessions.begin() as session:
        history = from_ledger(session, SPEC, since=BEGIN, until=END)
    assert np.flatnonzero(history.open).tolist() == [7]


def test_chargebacks_show_when_truth_has_come(
    sessions: sessionmaker[Session], stored: Stored
) -> None:
    """95 % of these take up to 10 days: what is older and has none counts as ordinary."""
    ids, times = (stored.frame[name].head(100) for name in ("transaction_id", "event_time"))
    with sessions.begin() as session:
        for place, (name, moment) in enumerate(zip(ids, times, strict=True)):
            days = 10 if place < 98 else 30
            label(session, name, True, LabelSource.CHARGEBACK, moment + timedelta(days=days))
    with sessions.begin() as session:
        history = from_ledger(session, SPEC, since=BEGIN, until=END)
    old = (stored.frame["event_time"] < END - timedelta(days=10)).to_numpy()
    assert np.array_equal(history.matured, old)


def test_the_first_model_decides_and_the_next_challenges(
    sessions: sessionmaker[Session], stored: Stored, workshop: Workshop
) -> None:
    told: list[str] = []
    first = workshop.train_from_ledger(lambda stage, _: told.append(stage))
    assert first.status == "champion"
    assert first.manifest["label_weight"] == 0
    assert "calibrating" in told
    with sessions.begin() as session:
        label_all(session, stored)
    workshop.clock.moment += timedelta(seconds=1)  # type: ignore[attr-defined]
    second = workshop.train_from_ledger()
    assert second.status == "challenger"
    assert second.manifest["rows"]["labelled_fraud"] > 0
    assert second.manifest["label_weight"] > 0
    assert first.name != second.name
    with sessions() as session:
        decides = models_registry.champion(session)
        assert decides is not None
        assert decides.name == first.name
        actions = session.scalars(select(AuditRow.action).order_by(AuditRow.id)).all()
        assert list(actions) == ["model.train", "model.train"]
    for row in (first, second):
        model = bundle.load(workshop.settings.models_dir / row.name, row.sha256)
        assert np.isfinite(model.score(stored.features[:5]).risk).all()


def test_challenger_and_champion_are_compared_on_later_transactions(
    sessions: sessionmaker[Session], stored: Stored, workshop: Workshop, tmp_path: Path
) -> None:
    earlier = stored.frame[stored.frame["event_time"] < BEGIN + timedelta(days=30)]
    with pytest.raises(Conflict):
        workshop.evaluate_challenger()
    plain = earlier.drop(columns=[c for c in earlier if str(c).startswith("attributes.")])
    workshop.train_from_frame(plain.drop(columns="label"))
    known = WORLD.chargebacks(earlier)
    workshop.clock.moment += timedelta(seconds=1)  # type: ignore[attr-defined]
    workshop.train_from_frame(plain, known_frauds=known)
    with sessions.begin() as session:
        label_all(session, stored)
    found = workshop.evaluate_challenger(budget=3)
    later = stored.frame["event_time"] > earlier["event_time"].iloc[-1]
    assert found["rows"] == int(later.sum())
    assert found["known_frauds"] > 0
    for role in ("champion", "challenger"):
        assert 0 <= found[role]["average_precision"] <= 1
        assert 0 <= found[role]["recall_at_budget"] <= 1
        for measured in found[role]["at_or_above"].values():
            assert 0 <= measured["all"] <= 1
    with sessions() as session:
        challenger = session.scalars(select(ModelRow).where(ModelRow.status == "challenger")).one()
        assert challenger.evaluation == found


def test_an_empty_ledger_teaches_nothing(workshop: Workshop) -> None:
    with pytest.raises(ConfigurationError, match="empty"):
        workshop.train_from_ledger()


def test_a_file_teaches_the_first_model(workshop: Workshop, rows: Stored, tmp_path: Path) -> None:
    path, mapping = tmp_path / "past.parquet", tmp_path / "past.toml"
    rows.frame[["transaction_id", "account_id", "event_time", "merchant_id", "label"]].assign(
        amount=rows.frame["amount_e4"] / 10_000
    ).to_parquet(path)
    mapping.write_text(
        '[fields]\ntransaction_id = "transaction_id"\naccount_id = "account_id"\n'
        'event_time = "event_time"\namount = "amount"\nmerchant_id = "merchant_id"\n'
        '[constants]\ncurrency = "EUR"\n[label]\ncolumn = "label"\n'
    )
    row = workshop.train_from_file(path, Mapping.load(mapping), labels=True)
    assert row.status == "champion"
    assert row.manifest["rows"]["labelled_fraud"] > 0
    mapping.write_text(mapping.read_text().replace('[label]\ncolumn = "label"\n', ""))
    with pytest.raises(ConfigurationError, match="label"):
        workshop.train_from_file(path, Mapping.load(mapping), labels=True)


def test_labels_of_a_file_are_known_only_after_their_delay(rows: Stored) -> None:
    """Frauds of the last days are unknown still, and matured is what is older than the delay."""
    known = WORLD.chargebacks(rows.frame)
    history = from_canonical(rows.frame, known, days=100)
    last = rows.frame["event_time"].iloc[-1]
    told = set(known.loc[known["known_at"] <= last, "transaction_id"])
    frauds = rows.frame["transaction_id"][history.fraud == FRAUD]
    assert set(frauds) == told
    assert len(told) < int(rows.frame["label"].sum())
    assert history.matured[0]
    assert not history.matured[-1]


def expected_profiles(stored: Stored, as_of: date, known: set[str]) -> bytes:
    columns = from_frame(stored.frame, SPEC)
    frauds = stored.frame["transaction_id"].isin(known).to_numpy().astype(np.int64)
    before = columns.time_us < (as_of - EPOCH_DAY).days * 86_400 * 10**6
    return build_profiles(as_of, [day_table(columns.take(before), frauds[before])]).dump()


def test_profiles_of_the_newest_day_equal_the_offline_ones(
    sessions: sessionmaker[Session], stored: Stored
) -> None:
    """Made once a day, of earlier days, with the labels known when the day began."""
    newest = stored.frame["event_time"].iloc[-1].date()
    midnight = datetime(newest.year, newest.month, newest.day, tzinfo=UTC)
    with sessions.begin() as session:
        label_all(session, stored)
        label(session, "never seen", True)
        known = set(WORLD.chargebacks(stored.frame).query("known_at < @midnight").transaction_id)
        corrected = stored.frame["transaction_id"][5]
        label(session, corrected, True, known_at=midnight - timedelta(days=2))
        label(session, corrected, False, LabelSource.APPEAL, midnight - timedelta(days=1))
        late = stored.frame["transaction_id"][6]
        label(session, late, True, known_at=midnight)
    with sessions.begin() as session:
        assert refresh_profiles(session, TOPIC, NOW) == newest.isoformat()
    with sessions.begin() as session:
        assert refresh_profiles(session, TOPIC, NOW) is None, "one version a day"
        profiles = profile_store.load(session, newest.isoformat())
    assert len(known) > 10
    assert profiles.dump() == expected_profiles(stored, newest, known - {corrected})
    assert profiles.numbers[:, -1].sum() > 0


def test_amounts_in_profiles_are_converted_as_features_convert_them(
    sessions: sessionmaker[Session], stored: Stored
) -> None:
    spec = FeatureSpec(rates=dict.fromkeys(("USD", "GBP", "EUR"), 0.8765))
    with sessions.begin() as session:
        model = models_registry.register(session, "m", "x", {"features": spec.to_dict()}, NOW)
        models_registry.promote(session, model.id, "a test", NOW)
    with sessions.begin() as session:
        version = refresh_profiles(session, TOPIC, NOW)
        assert version is not None
        profiles = profile_store.load(session, version)
    columns = from_frame(stored.frame, spec)
    as_of = date.fromisoformat(version)
    before = columns.time_us < (as_of - EPOCH_DAY).days * 86_400 * 10**6
    expected = build_profiles(as_of, [day_table(columns.take(before))])
    assert profiles.dump() == expected.dump()


def test_an_event_day_in_the_future_makes_no_profiles_yet(
    sessions: sessionmaker[Session], stored: Stored
) -> None:
    """A clock that runs ahead must not close a day that is still going on."""
    today = END - timedelta(days=3)
    with sessions.begin() as session:
        assert refresh_profiles(session, TOPIC, today) == today.date().isoformat()


def test_only_one_worker_makes_profiles(sessions: sessionmaker[Session], stored: Stored) -> None:
    with sessions.begin() as busy, sessions.begin() as other:
        assert refresh_profiles(busy, TOPIC, NOW) is not None
        assert refresh_profiles(other, TOPIC, NOW) is None, "does not wait for the first"


def test_no_profiles_without_a_stream(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        assert refresh_profiles(session, TOPIC, NOW) is None


def test_the_keeper_works_beside_a_worker_and_stops(
    sessions: sessionmaker[Session], stored: Stored
) -> None:
    keeper = ProfileKeeper(sessions, TOPIC, FixedClock(NOW), seconds=0.05)
    keeper.start()
    assert _soon(lambda: _versions(sessions) == 1)
    keeper.stop()
    with sessions.begin() as session:
        session.execute(text("DELETE FROM merchant_profiles"))
    time.sleep(0.2)
    assert _versions(sessions) == 0, "nothing is made after stop"


def _versions(sessions: sessionmaker[Session]) -> int:
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(ProfileVersion)) or 0


def _soon(true: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return False
