"""A fitted model: one answer for a row, honest calibration, reasons that name what is odd."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.detectors.model import Model
from fraudwatch.detectors.training import LabelledRows, TrainingConfig, fit
from fraudwatch.errors import ConfigurationError, Invalid
from fraudwatch.features.catalogue import FeatureSpec
from tests.detector_rows import SPEC, made_up, strange

QUICK = TrainingConfig(detectors=("pca",))
AMOUNT = SPEC.names.index("amount")
SCORE = SPEC.names.index("attributes.score")


@pytest.fixture(scope="module")
def model() -> Model:
    return fit(made_up(1, 3000), made_up(2, 2000), SPEC, seed=5)


@pytest.fixture(scope="module")
def labelled_model() -> Model:
    X = np.vstack([made_up(3, 1000), strange(4, 200, factor=3.0)])
    labels = LabelledRows(X, np.arange(len(X)) >= 1000, np.ones(len(X)))
    return fit(made_up(1, 3000), made_up(2, 2000), SPEC, seed=5, labels=labels)


def test_row_alone_scores_as_in_any_batch(labelled_model: Model) -> None:
    """A decision must not depend on what happened to arrive with it, to the last bit."""
    X = np.vstack([made_up(11, 300), strange(12, 40)])
    whole = labelled_model.score(X)
    alone = [labelled_model.score(X[i : i + 1]) for i in range(len(X))]
    assert (whole.anomaly == np.concatenate([one.anomaly for one in alone])).all()
    assert (whole.risk == np.concatenate([one.risk for one in alone])).all()
    for name, values in whole.parts.items():
        assert (values == np.concatenate([one.parts[name] for one in alone])).all()


@given(order=st.permutations(range(40)), cut=st.integers(1, 39))
def test_order_and_cut_do_not_matter(labelled_model: Model, order: list[int], cut: int) -> None:
    X = np.vstack([made_up(11, 36), strange(12, 4)])
    whole = labelled_model.score(X).anomaly
    mixed = X[order]
    parts = [labelled_model.score(mixed[:cut]).anomaly, labelled_model.score(mixed[cut:]).anomaly]
    assert (np.concatenate(parts) == whole[order]).all()


def test_strange_rows_have_higher_risk(model: Model) -> None:
    risk = model.score(np.vstack([made_up(21, 400), strange(22, 100)])).risk
    assert np.median(risk[400:]) > 0.97
    assert 0.4 < np.median(risk[:400]) < 0.6


@pytest.mark.parametrize("promised", [0.5, 0.1, 0.02])
def test_false_alarms_are_as_promised(model: Model, promised: float) -> None:
    """On fresh ordinary traffic, risk >= 1 - p holds for about p of the rows."""
    risk = model.score(made_up(31, 4000)).risk
    found = (risk >= 1 - promised).mean()
    assert abs(found - promised) < 4 * np.sqrt(promised * (1 - promised) * (1 / 4000 + 1 / 2000))


def test_risk_is_within_its_bounds_and_follows_the_anomaly(model: Model) -> None:
    scores = model.score(np.vstack([made_up(41, 300), strange(42, 300)]))
    order = np.argsort(scores.anomaly, kind="stable")
    assert (np.diff(scores.risk[order]) >= 0).all()
    assert scores.risk.min() >= 0
    assert scores.risk.max() <= 1 - 1 / (model.calibration.scores.size + 1)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_row_that_cannot_be_scored_has_no_risk(model: Model, bad: float) -> None:
    """It is marked, never scored as something else; its neighbours are scored as ever."""
    X = made_up(51, 5)
    want = model.score(X)
    X[2, AMOUNT] = bad
    found = model.score(X)
    assert np.isnan(found.risk[2])
    assert np.isnan(found.anomaly[2])
    others = [0, 1, 3, 4]
    assert (found.risk[others] == want.risk[others]).all()


def test_missing_attribute_is_scored_with_the_training_median(model: Model) -> None:
    X = made_up(61, 50)
    X[:, SCORE] = np.nan
    missing = model.score(X).anomaly
    place = list(model.preparation.columns).index(SCORE)
    X[:, SCORE] = model.preparation.fill[place]
    assert (missing == model.score(X).anomaly).all()
    X[:, SCORE] = np.inf
    assert np.isnan(model.score(X).risk).all()


def test_huge_values_are_scored_and_risky(labelled_model: Model) -> None:
    """1e300 must neither overflow into an unscored row nor look ordinary."""
    X = made_up(71, 20)
    X[:, AMOUNT] = 1e300
    scores = labelled_model.score(X)
    assert np.isfinite(scores.anomaly).all()
    assert (scores.anomaly > labelled_model.score(made_up(71, 20)).anomaly).all()


@pytest.mark.parametrize("columns", [0, 1, len(SPEC.names) - 1, len(SPEC.names) + 1])
def test_wrong_number_of_features_is_refused(model: Model, columns: int) -> None:
    with pytest.raises(Invalid, match="features"):
        model.score(np.zeros((3, columns)))


def test_no_rows_give_no_scores(labelled_model: Model) -> None:
    scores = labelled_model.score(np.zeros((0, len(SPEC.names))))
    assert scores.anomaly.shape == scores.risk.shape == (0,)
    empty = np.zeros((0, len(SPEC.names)))
    assert labelled_model.reasons(empty, empty, empty) == []


def test_same_rows_and_seed_give_the_same_model(model: Model) -> None:
    again = fit(made_up(1, 3000), made_up(2, 2000), SPEC, seed=5)
    X = made_up(81, 200)
    assert (again.score(X).anomaly == model.score(X).anomaly).all()
    other = fit(made_up(1, 500), made_up(2, 500), SPEC, seed=6)
    assert (other.score(X).anomaly != model.score(X).anomaly).any()


def test_labels_take_over_as_they_grow() -> None:
    """With few frauds known the detectors decide, with many the trees do."""
    weights = []
    for frauds in (1, 50, 450):
        X = np.vstack([made_up(3, 500), strange(4, frauds)])
        rows = LabelledRows(X, np.arange(len(X)) >= 500, np.ones(len(X)))
        fitted = fit(made_up(1, 500), made_up(2, 500), SPEC, seed=5, labels=rows, config=QUICK)
        weights.append(fitted.manifest.label_weight)
    assert weights == [pytest.approx(1 / 51), pytest.approx(0.5), pytest.approx(0.9)]


@pytest.mark.parametrize("fraud", [True, False])
def test_labels_of_one_kind_teach_nothing(fraud: bool) -> None:
    rows = LabelledRows(made_up(3, 50), np.full(50, fraud), np.ones(50))
    fitted = fit(made_up(1, 500), made_up(2, 500), SPEC, seed=5, labels=rows, config=QUICK)
    assert fitted.labelled is None
    assert fitted.manifest.label_weight == 0


def test_labelled_fraud_that_detectors_miss_is_found(labelled_model: Model, model: Model) -> None:
    """The labelled frauds look ordinary but for a moderate amount: only labels tell."""
    X = strange(14, 200, factor=3.0)
    assert np.median(labelled_model.score(X).risk) > np.median(model.score(X).risk)


def test_constant_and_empty_columns_are_left_out() -> None:
    X = made_up(1, 600)
    X[:, AMOUNT] = 4.0
    X[:, SCORE] = np.nan
    fitted = fit(X, made_up(2, 500), SPEC, seed=5, config=QUICK)
    assert {AMOUNT, SCORE}.isdisjoint(fitted.preparation.columns.tolist())
    assert np.isfinite(fitted.score(made_up(3, 50)).risk).all()


def test_detectors_see_the_chosen_features_only() -> None:
    config = TrainingConfig(("pca", "loda"), left_out=("sum_7d", "attributes.score"))
    fitted = fit(made_up(1, 600), made_up(2, 500), SPEC, seed=5, config=config)
    X = made_up(3, 100)
    changed = X.copy()
    changed[:, [SPEC.names.index("sum_7d"), SCORE]] *= 50
    assert (fitted.score(X).anomaly == fitted.score(changed).anomaly).all()


@pytest.mark.parametrize("detector", ["hbos", "ecod", "copod", "cblof", "knn"])
def test_every_registered_detector_can_be_part_of_a_model(detector: str) -> None:
    config = TrainingConfig(detectors=(detector,))
    fitted = fit(made_up(1, 500), made_up(2, 500), SPEC, seed=5, config=config)
    assert np.median(fitted.score(strange(22, 100)).risk) > 0.8


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"detectors": ("iforest", "oracle")}, "oracle"),
        ({"detectors": ()}, "detectors"),
        ({"detectors": ("pca", "pca")}, "different"),
        ({"clip": 0.0}, "positive"),
        ({"label_depth": 9}, "label_depth"),
    ],
)
def test_config_that_cannot_work_is_refused(config: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        TrainingConfig(**config)  # type: ignore[arg-type]


def test_training_that_cannot_work_says_why() -> None:
    good = made_up(1, 500)
    with pytest.raises(ConfigurationError, match="too few"):
        fit(good[:50], good, SPEC, seed=1)
    with pytest.raises(ConfigurationError, match="calibration"):
        fit(good, good[:50], SPEC, seed=1)
    with pytest.raises(ConfigurationError, match="no feature varies"):
        fit(np.ones((500, len(SPEC.names))), good, SPEC, seed=1)
    with pytest.raises(ConfigurationError, match="features"):
        fit(good, good, FeatureSpec(), seed=1)
    with pytest.raises(ConfigurationError, match="sums_7d"):
        fit(good, good, SPEC, seed=1, config=TrainingConfig(left_out=("sums_7d",)))
    with pytest.raises(Invalid, match="one length"):
        LabelledRows(good, np.ones(3, dtype=bool), np.ones(3))
    with pytest.raises(Invalid, match="not negative"):
        LabelledRows(good, np.ones(500, dtype=bool), np.full(500, -1.0))


def test_progress_is_told_from_start_to_end() -> None:
    told: list[tuple[str, float]] = []
    fit(
        made_up(1, 500),
        made_up(2, 500),
        SPEC,
        seed=1,
        config=QUICK,
        progress=lambda stage, share: told.append((stage, share)),
    )
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert "fitting pca" in [stage for stage, _ in told]


def test_reasons_name_the_odd_feature_first(model: Model) -> None:
    X = made_up(91, 1)
    X[0, AMOUNT] = 5000.0
    unknown = np.full(X.shape, np.nan)
    low, high = unknown.copy(), unknown.copy()
    low[0, AMOUNT], high[0, AMOUNT] = 3.0, 9.0
    (everyone,) = model.reasons(X, unknown, unknown)
    (own,) = model.reasons(X, low, high)
    assert own[0].feature == everyone[0].feature == "amount"
    assert (own[0].normal_of, own[0].normal_low, own[0].normal_high) == ("account", 3.0, 9.0)
    assert everyone[0].normal_of == "everyone"
    assert own[0].value == 5000.0
    assert "5,000" in own[0].sentence


def test_reason_weights_are_shares_heaviest_first(labelled_model: Model) -> None:
    X = np.vstack([made_up(95, 30), strange(96, 30)])
    unknown = np.full(X.shape, np.nan)
    for reasons in labelled_model.reasons(X, unknown, unknown, top=4):
        weights = [reason.weight for reason in reasons]
        assert 1 <= len(reasons) <= 4
        assert weights == sorted(weights, reverse=True)
        assert all(0 < weight <= 1 for weight in weights)
        assert sum(weights) <= 1 + 1e-9
    assert np.allclose(labelled_model.weights(X).sum(axis=1), 1.0)


def test_missing_value_is_never_a_reason_of_the_detectors(model: Model) -> None:
    X = made_up(97, 20)
    X[:, SCORE] = np.nan
    assert (model.weights(X)[:, SCORE] == 0).all()


def test_population_range_covers_nine_tenths(model: Model) -> None:
    X = made_up(98, 5000)
    low, high = model.sketch.normal_range()
    inside = np.mean((low[AMOUNT] <= X[:, AMOUNT]) & (X[:, AMOUNT] <= high[AMOUNT]))
    assert 0.87 < inside < 0.93


def test_warming_up_changes_nothing(labelled_model: Model) -> None:
    X = made_up(99, 50)
    before = labelled_model.score(X).anomaly
    labelled_model.warm_up()
    assert (labelled_model.score(X).anomaly == before).all()


def test_described_model_scores_the_same(model: Model) -> None:
    """Evaluation writes its figures into the manifest; everything else stays."""
    named = model.described(name="challenger", metrics={"average_precision": 0.4})
    assert named.name == "challenger"
    assert named.manifest.metrics == {"average_precision": 0.4}
    assert named.manifest.feature_names == model.manifest.feature_names
    X = made_up(99, 20)
    assert (named.score(X).risk == model.score(X).risk).all()
