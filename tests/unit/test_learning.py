"""What may be learnt from what: the division of history, and models made of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudwatch.detectors.model import LABELLED
from fraudwatch.detectors.training import TrainingConfig
from fraudwatch.errors import ConfigurationError
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.history import DAY, FRAUD, LEGITIMATE, UNKNOWN, History
from fraudwatch.learning import AGES, train
from fraudwatch.training_set import Plan, training_set

SPEC = FeatureSpec()
QUICK = TrainingConfig(detectors=("pca",), label_trees=20)


def made_up(rows: int, seed: int = 1) -> History:
    """30 days of noise, in which nothing is known."""
    rng = np.random.default_rng(seed)
    nothing = np.zeros(rows, dtype=np.bool_)
    return History(
        spec=SPEC,
        features=rng.normal(size=(rows, len(SPEC.names))),
        time_us=np.sort(rng.integers(0, 30 * DAY, size=rows)),
        account=rng.integers(1, 50, size=rows).astype(np.uint64),
        transaction=rng.integers(0, 2**64, size=rows, dtype=np.uint64),
        fraud=np.full(rows, UNKNOWN, dtype=np.int8),
        flagged=nothing,
        sampled=nothing,
        open=nothing,
        matured=nothing,
    )


@st.composite
def histories(draw: st.DrawFn) -> History:
    rows = draw(st.integers(1, 80))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    return replace(
        made_up(rows, int(rng.integers(1000))),
        fraud=rng.integers(-1, 2, size=rows).astype(np.int8),
        flagged=rng.random(rows) < 0.3,
        open=rng.random(rows) < 0.3,
        matured=rng.random(rows) < 0.5,
    )


@given(histories(), st.floats(0, 1), st.integers(1, 20))
@settings(deadline=None)
def test_no_row_is_learnt_from_that_must_not_be(history: History, share: float, most: int) -> None:
    plan = Plan(share, calibration_days=10, least_calibration=5, most_matured=most)
    chosen = training_set(history, plan)
    fraud, legitimate = history.fraud == FRAUD, history.fraud == LEGITIMATE
    trains = np.concatenate([chosen.unsupervised, chosen.labelled])
    assert not history.open[trains].any(), "an open case is undecided"
    assert not fraud[chosen.unsupervised].any(), "fraud is not normal"
    assert legitimate[chosen.unsupervised[history.flagged[chosen.unsupervised]]].all(), (
        "what was flagged is normal only once a person cleared it"
    )
    assert not fraud[chosen.calibration].any()
    assert not np.isin(chosen.calibration, trains).any(), "calibration rows train nothing"
    unlabelled = chosen.labelled[history.fraud[chosen.labelled] == UNKNOWN]
    assert history.matured[unlabelled].all(), "without label, only time makes ordinary"
    assert not chosen.fraud[np.isin(chosen.labelled, unlabelled)].any()
    assert np.array_equal(chosen.fraud, fraud[chosen.labelled])
    assert len(unlabelled) <= most
    assert len(np.unique(chosen.labelled)) == len(chosen.labelled)
    recent = history.time_us > history.time_us.max() - 10 * DAY
    assert recent[chosen.calibration].all() or len(chosen.calibration) <= 5


@given(histories())
@settings(deadline=None)
def test_calibration_is_drawn_blind_to_alerts_and_labels(history: History) -> None:
    """Leaving alerts out of calibration would make alerts come more often than promised."""
    bare = replace(
        history,
        fraud=np.full(len(history), UNKNOWN, dtype=np.int8),
        flagged=np.zeros(len(history), dtype=np.bool_),
        open=np.zeros(len(history), dtype=np.bool_),
    )
    drawn = training_set(bare).calibration
    known = training_set(history).calibration
    assert np.array_equal(known, drawn[history.fraud[drawn] != FRAUD])


def test_kept_matured_rows_stand_for_all_of_them() -> None:
    history = made_up(500)
    history = replace(history, matured=history.time_us < 20 * DAY)
    matured = int(history.matured.sum())
    chosen = training_set(history, Plan(calibration_share=0, most_matured=40))
    assert len(chosen.labelled) == 40
    assert chosen.weight.sum() == pytest.approx(matured)


def test_a_model_without_labels_has_no_label_part() -> None:
    model = train(made_up(1500), seed=1, config=QUICK)
    assert model.manifest.label_weight == 0
    assert LABELLED not in model.score(made_up(3).features).parts


def test_labels_grow_into_the_score() -> None:
    """Frauds that no detector finds odd are found once people have said what they are."""
    history = made_up(4000)
    rng = np.random.default_rng(2)
    hidden = (history.features[:, 0] > 0) & (history.features[:, 1] > 0)
    looked_at = rng.random(len(history)) < 0.3
    truth = np.where(hidden, FRAUD, LEGITIMATE).astype(np.int8)
    history = replace(history, fraud=np.where(looked_at, truth, UNKNOWN).astype(np.int8))
    model = train(history, seed=1, config=QUICK)
    later = made_up(1000, seed=9).features
    odd = (later[:, 0] > 0) & (later[:, 1] > 0)
    anomaly = model.score(later).anomaly
    assert 0.5 < model.manifest.label_weight < 1
    assert np.median(anomaly[odd]) > np.quantile(anomaly[~odd], 0.95)


def test_the_promise_of_risk_holds_with_labels_from_alerts_alone() -> None:
    """At 0.95, at most about 5 % of ordinary later traffic, although people saw only alerts."""
    history = made_up(8000)
    size = np.abs(history.features).sum(axis=1)
    flagged = size > np.quantile(size, 0.9)
    truth = np.where(history.features[:, 0] > 1.5, FRAUD, LEGITIMATE)
    history = replace(
        history,
        flagged=flagged,
        fraud=np.where(flagged, truth, UNKNOWN).astype(np.int8),
    )
    model = train(history, seed=3, config=QUICK)
    later = made_up(8000, seed=4).features
    ordinary = later[later[:, 0] <= 1.5]
    assert (model.score(ordinary).risk >= 0.95).mean() < 0.065


def test_the_same_history_and_seed_give_the_same_model() -> None:
    history = made_up(1200)
    history = replace(history, fraud=(np.arange(1200) % 9 == 0).astype(np.int8))
    one, other = (train(history, seed=5, config=QUICK) for _ in range(2))
    rows = made_up(50, seed=8).features
    assert np.array_equal(one.score(rows).anomaly, other.score(rows).anomaly)
    assert np.array_equal(one.score(rows).risk, other.score(rows).risk)


def test_too_little_history_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="too few"):
        train(made_up(50), seed=1, config=QUICK)


def test_how_long_the_service_has_run_teaches_nothing() -> None:
    """Frauds known late are older than what people cleared: that must not be what is learnt."""
    history = made_up(3000)
    ages = [SPEC.names.index(name) for name in AGES]
    history.features[:, ages] = (history.time_us / DAY)[:, None]
    old = history.time_us < 10 * DAY
    truth = np.where(np.arange(3000) % 2 == 0, UNKNOWN, np.where(old, FRAUD, LEGITIMATE))
    model = train(replace(history, fraud=truth.astype(np.int8)), seed=1, config=QUICK)
    rows = made_up(200, seed=6).features
    young = rows.copy()
    rows[:, ages], young[:, ages] = 25.0, 1.0
    one, other = (model.score(X).parts[LABELLED] for X in (rows, young))
    assert np.array_equal(one, other)


def test_the_clearest_frauds_still_rank_among_themselves() -> None:
    """Counting alone would give everything above the reference scores one and the same rank."""
    history = made_up(4000)
    # Overlapping, so that the trees' scores spread: a clean cut gives all frauds one score.
    blurred = history.features[:, 0] + np.random.default_rng(3).normal(size=4000)
    truth = np.where(blurred > 2, FRAUD, LEGITIMATE).astype(np.int8)
    part = train(replace(history, fraud=truth), seed=1, config=QUICK).labelled
    assert part is not None
    scores = part.reference.scores
    raw = np.linspace(scores[0] - 1, scores[-1] + 5, 500)
    logs, counted = part.tail_logs(raw), part.reference.tail_logs(raw)
    assert (np.diff(logs) >= 0).all()
    beyond = raw > scores[-1]
    assert (np.diff(logs[beyond]) > 0).all()
    common = raw <= scores[-(len(scores) // 10)]
    assert np.array_equal(logs[common], counted[common])
