"""The protocols on a small simulated world: their form, their arithmetic, and that nothing is
known before its time."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fraudwatch import evaluation, evaluation_loop
from fraudwatch.detectors.training import TrainingConfig
from fraudwatch.errors import ConfigurationError, Invalid
from fraudwatch.evaluation import Recorded, WeeklyOptions, evaluate_weekly, record
from fraudwatch.evaluation_loop import LoopOptions, Service, evaluate_loop
from fraudwatch.history import FRAUD, LEGITIMATE, UNKNOWN
from fraudwatch.training_set import Plan
from streams.mapping import Mapping, read_frame
from streams.simulator.config import WorldConfig
from streams.simulator.world import World

QUICK = TrainingConfig(detectors=("pca",), label_trees=20)
BEGIN = date(2026, 1, 1)
WEEKLY = WeeklyOptions(start=date(2026, 1, 15), rounds=2, step_days=7, k=5, config=QUICK)
LOOP = LoopOptions(
    start=date(2026, 1, 22), days=14, history_days=14, budget=4, audits=3, config=QUICK
)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    config = WorldConfig(
        seed=3,
        customers=70,
        payments_per_day=3,
        card_testing=0.01,
        stolen_abroad=0.01,
        compromised_merchant=0.02,
    )
    return World(config).generate(
        datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 13, tzinfo=UTC)
    )


@pytest.fixture(scope="module")
def recorded(frame: pd.DataFrame) -> Recorded:
    return record(frame, "world")


def relabelled(frame: pd.DataFrame, since: date) -> Recorded:
    """The same world in which the truth about one in five payments of later days is another."""
    changed = frame.copy()
    later = (frame["event_time"] >= pd.Timestamp(since, tz="UTC")).to_numpy()
    changed["label"] = frame["label"].to_numpy() ^ (later & (np.arange(len(frame)) % 5 == 0))
    return record(changed, "world")


def scored(recorded: Recorded, options: LoopOptions) -> list[evaluation_loop.LiveDay]:
    service = Service(recorded, options)
    for day in range(service.first - options.history_days, service.first):
        service.morning(day)
    days = []
    for day in range(service.first, service.first + options.days):
        service.morning(day)
        days.append(service.live(day))
    return days


def test_the_result_of_weekly_has_the_documented_form(recorded: Recorded) -> None:
    told: list[tuple[str, float]] = []
    found = evaluate_weekly(recorded, WEEKLY, lambda stage, share: told.append((stage, share)))
    assert list(found) == [
        "protocol",
        "labels",
        "data",
        "rows",
        "seconds",
        "auc",
        "average_precision",
        "card_precision",
        "false_alarm",
        "intervals",
        "parts",
    ]
    assert (found["protocol"], found["labels"], found["rows"]) == ("weekly", "none", len(recorded))
    assert [(part["from"], part["to"]) for part in found["parts"]] == [
        ("2026-01-29", "2026-02-04"),
        ("2026-02-05", "2026-02-11"),
    ]
    assert found["auc"] == pytest.approx(np.mean([part["auc"] for part in found["parts"]]))
    for name in ("auc", "average_precision"):
        low, high = found["intervals"][name]
        assert 0 <= low <= found[name] <= high <= 1
    assert 0 < found["card_precision"]["value"] <= found["card_precision"]["ceiling"] <= 1
    assert found["false_alarm"]["promised"] == 0.01
    assert all(0 <= share <= 1 for _, share in told)
    json.dumps(found, allow_nan=False)


def test_labels_teach_what_no_detector_can_see(frame: pd.DataFrame) -> None:
    """A number of the institution's own that is most ordinary where there is fraud."""
    draw = np.random.default_rng(4).random(len(frame))
    hint = np.where(frame["label"], 0.45 + draw / 10, draw)
    world = record(frame.assign(**{"attributes.hint": hint}), "world")
    options = replace(WEEKLY, train_days=14, config=TrainingConfig(detectors=("pca",)))
    without = evaluate_weekly(world, options)
    with_all = evaluate_weekly(world, replace(options, labels="all"))
    assert with_all["average_precision"] > without["average_precision"] + 0.1


def test_test_week_labels_change_no_score_of_the_test_week(
    frame: pd.DataFrame, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is tested on was neither trained on nor known to a merchant profile."""
    parts: list[evaluation.Scored] = []
    real = evaluation.result

    def spy(head: Any, source: Any, found: Any, **more: Any) -> Any:
        parts.extend(found)
        return real(head, source, found, **more)

    monkeypatch.setattr(evaluation, "result", spy)
    options = replace(WEEKLY, rounds=1, labels="all", train_days=10)
    for world in (recorded, relabelled(frame, date(2026, 2, 1))):
        evaluate_weekly(world, options)
    one, other = parts
    assert not np.array_equal(one.fraud, other.fraud)
    assert np.array_equal(one.rank, other.rank)
    assert np.array_equal(one.risk, other.risk)


def test_known_victims_are_out_from_the_day_their_fraud_is_known() -> None:
    """A fraud on day 10, known after 2 days: its account counts on day 12, no more on day 13."""
    days = [10, 11, 12, 13, 13, 13]
    frame = pd.DataFrame(
        {
            "transaction_id": [f"t{i}" for i in range(6)],
            "account_id": ["a", "a", "a", "a", "b", "c"],
            "event_time": pd.to_datetime([f"1970-01-{day + 1:02d}" for day in days], utc=True),
            "amount_e4": 10_000,
            "currency": "EUR",
            "label": [True, False, False, False, False, True],
        }
    )
    small = record(frame, "six")
    rows = np.arange(6)
    out = evaluation.known_victims(small, rows, first=8, delay_days=2)
    assert out.tolist() == [False, False, False, True, False, False]
    later = evaluation.known_victims(small, rows, first=11, delay_days=2)
    assert not later.any(), "frauds before the training window make no known victims"


def test_rounds_beyond_the_file_are_refused(recorded: Recorded) -> None:
    with pytest.raises(ConfigurationError, match="--start"):
        evaluate_weekly(recorded, replace(WEEKLY, start=date(2027, 1, 1)))
    with pytest.raises(ConfigurationError, match="--start"):
        evaluate_loop(recorded, replace(LOOP, start=date(2026, 2, 10)))


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (WEEKLY, {"labels": "some"}),
        (WEEKLY, {"rounds": 0}),
        (WEEKLY, {"threshold": 1.0}),
        (LOOP, {"budget": 0}),
        (LOOP, {"analyst_error": 1.5}),
        (LOOP, {"chargeback_days": -1}),
    ],
)
def test_impossible_options_are_refused(options: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        replace(options, **changes)


def test_a_file_without_labels_cannot_be_evaluated(frame: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match="label"):
        record(frame.drop(columns="label"), "world")


def test_another_layout_is_evaluated_by_mapping_alone(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Other column names, other codes for fraud, anonymous numbers: the numbers become features."""
    rng = np.random.default_rng(1)
    theirs = pd.DataFrame(
        {
            "Nr": frame["transaction_id"],
            "Card": frame["account_id"],
            "When": frame["event_time"],
            "Sum": frame["amount_e4"] / 10_000,
            "Shop": frame["merchant_id"],
            "V1": rng.normal(size=len(frame)) + 4 * frame["label"],
            "V2": rng.normal(size=len(frame)),
            "Note": "x",
            "Bad": np.where(frame["label"], "Y", "N"),
        }
    )
    path, mapping = tmp_path / "theirs.parquet", tmp_path / "theirs.toml"
    theirs.to_parquet(path)
    mapping.write_text(
        'attributes = ["V*", "Note"]\n'
        '[fields]\ntransaction_id = "Nr"\naccount_id = "Card"\nevent_time = "When"\n'
        'amount = "Sum"\nmerchant_id = "Shop"\n[constants]\ncurrency = "EUR"\n'
        '[label]\ncolumn = "Bad"\nfraud = ["Y"]\nlegitimate = ["N"]\n'
    )
    other = record(read_frame(path, Mapping.load(mapping)), "theirs")
    assert other.spec.attributes == ("V1", "V2")
    found = evaluate_weekly(other, replace(WEEKLY, labels="all", train_days=14, rounds=1))
    assert found["average_precision"] > 0.5


def test_the_result_of_loop_has_the_documented_form(recorded: Recorded) -> None:
    found = evaluate_loop(recorded, LOOP)
    assert found["protocol"] == "loop"
    assert [(part["from"], part["to"]) for part in found["parts"]] == [
        ("2026-01-22", "2026-01-28"),
        ("2026-01-29", "2026-02-04"),
    ]
    assert found["average_precision"] == found["parts"][-1]["average_precision"]
    first, last = found["parts"]
    assert 0 < first["labels"] < last["labels"]
    assert all(part["caught"] is None or 0 <= part["caught"] <= 1 for part in (first, last))
    assert first["caught"] > 0
    json.dumps(found, allow_nan=False)


def test_no_score_depends_on_truth_that_comes_later(
    frame: pd.DataFrame, recorded: Recorded
) -> None:
    """Truth about a day is used from the next day on, and from then on it is used."""
    changed = 4
    since = date(2026, 1, 22 + changed)
    options = replace(LOOP, chargeback_days=1)
    one, other = scored(recorded, options), scored(relabelled(frame, since), options)
    for number in range(changed + 1):
        assert np.array_equal(one[number].scored.rank, other[number].scored.rank)
        assert np.array_equal(one[number].scored.risk, other[number].scored.risk)
    after = one[changed + 1].scored, other[changed + 1].scored
    assert not np.array_equal(after[0].rank, after[1].rank)


def test_people_label_their_alerts_and_audits_and_nothing_else(recorded: Recorded) -> None:
    options = replace(LOOP, chargeback_days=None)
    service = Service(recorded, options)
    service.morning(service.first)
    day = service.live(service.first)
    assert (service.label == UNKNOWN).all(), "usable from the next day on"
    service.morning(service.first + 1)
    known = service.label != UNKNOWN
    assert int(known.sum()) == int(day.alerted.sum()) + options.audits
    assert np.array_equal(service.label[known] == FRAUD, service.truth[known])
    assert len(np.unique(day.scored.account[day.alerted])) == options.budget
    assert int(service.sampled.sum()) == options.audits
    assert not (service.sampled & service.flagged).any()


def test_analysts_who_are_always_wrong_are_corrected_by_chargebacks(recorded: Recorded) -> None:
    options = replace(LOOP, analyst_error=1.0, chargeback_days=2)
    service = Service(recorded, options)
    service.morning(service.first)
    service.live(service.first)
    service.morning(service.first + 1)
    known = np.flatnonzero((service.label != UNKNOWN) & (service.day == service.first))
    assert np.array_equal(service.label[known] == FRAUD, ~service.truth[known])
    service.morning(service.first + 3)
    frauds = known[service.truth[known]]
    assert (service.label[frauds] == FRAUD).all()


def test_a_confirmed_account_is_out_for_its_days(recorded: Recorded) -> None:
    """Its payments are neither scored nor learnt from until then."""
    days = scored(recorded, replace(LOOP, block_days=3, budget=70, chargeback_days=None))
    for number in range(len(days) - 4):
        one = days[number].scored
        confirmed = np.unique(one.account[one.fraud & days[number].alerted])
        for later in (1, 2, 3):
            assert not np.isin(days[number + later].scored.account, confirmed).any()
    assert any(day.scored.fraud.any() for day in days)


def test_profiles_of_the_loop_equal_those_of_the_offline_path(recorded: Recorded) -> None:
    """With chargebacks alone, each morning's merchant features are those of compute_features."""
    options = replace(LOOP, history_days=5)
    service = Service(recorded, options)
    for day in range(service.first - options.history_days, service.first):
        service.morning(day)
    offline = evaluation.delayed_features(recorded, 7, lambda _stage, _share: None)
    rows = np.flatnonzero(
        (service.day >= service.first - options.history_days) & (service.day < service.first)
    )
    assert np.array_equal(service.features[rows], offline[rows], equal_nan=True)


def test_learning_starts_without_labels_and_keeps_calibration_apart(recorded: Recorded) -> None:
    service = Service(recorded, replace(LOOP, plan=Plan(least_calibration=100)))
    service.morning(service.first)
    history = service.history(service.first)
    assert (history.fraud == UNKNOWN).all()
    assert not history.matured.any()
    service.live(service.first)
    service.morning(service.first + 1)
    history = service.history(service.first + 1)
    assert (history.fraud != UNKNOWN).sum() > 0
    assert LEGITIMATE in history.fraud
    assert not history.matured.any(), "nothing of the first day is old enough"
