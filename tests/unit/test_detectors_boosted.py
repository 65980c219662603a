"""LightGBM's trees without LightGBM: its scores to the last bit, its contributions but for that."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from fraudwatch.detectors.arrays import Floats
from fraudwatch.detectors.boosted import read_boosted
from fraudwatch.errors import BundleError

COLUMNS = 6


def rows(seed: int, count: int, missing: float = 0.0) -> Floats:
    """Skewed, whole-number and two-valued columns, with a share of `missing` values."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, COLUMNS))
    X[:, 0] = np.exp(2 * X[:, 0])
    X[:, 1] = rng.poisson(2.0, size=count)
    X[:, 2] = rng.integers(0, 2, size=count)
    X[rng.random(X.shape) < missing] = np.nan
    return X


def trained(X: Floats, trees: int = 30, **params: int) -> lightgbm.Booster:
    """Trees that find the odd combinations; missing values matter to them."""
    filled = np.nan_to_num(X, nan=1.0)
    odd = (filled[:, 0] > 2) ^ (filled[:, 1] > 2) ^ (filled[:, 3] * filled[:, 4] > 0)
    flipped = np.random.default_rng(1).random(len(X)) < 0.1
    return lightgbm.train(
        {"objective": "binary", "num_leaves": 15, "max_depth": 4, "num_threads": 1, "seed": 1}
        | {"verbosity": -1, "min_data_in_leaf": 3}
        | params,
        lightgbm.Dataset(X, label=(odd ^ flipped).astype(float)),
        num_boost_round=trees,
    )


@pytest.mark.parametrize("seen", [0.0, 0.3])
@pytest.mark.parametrize("params", [{}, {"num_leaves": 2}, {"num_leaves": 120, "max_depth": 8}])
def test_scores_are_lightgbms(seen: float, params: dict[str, int]) -> None:
    """With missing values in training or without; thresholds themselves are on the left."""
    booster = trained(rows(1, 2000, seen), **params)
    compiled = read_boosted(booster.model_to_string(), COLUMNS)
    X = np.vstack([rows(2, 700), rows(3, 600, missing=0.4)])
    cuts = compiled.ranked.cuts
    X[:400] = np.random.default_rng(4).choice(cuts, size=(400, COLUMNS))
    X[400:450] = np.nextafter(X[400:450], np.inf)
    X[450:460] = [[1e300, -1e300, 0.0, -0.0, 1e-40, np.inf]] * 10
    wanted = booster.predict(X, raw_score=True, num_threads=1)
    assert (compiled.raw(X) == wanted).all()
    assert (np.concatenate([compiled.raw(X[i : i + 1]) for i in range(500)]) == wanted[:500]).all()


@pytest.mark.parametrize("seen", [0.0, 0.3])
@pytest.mark.parametrize("depth", [1, 4, 8])
def test_contributions_are_lightgbms(seen: float, depth: int) -> None:
    """And with the mean they add up to the score; alone as in any batch, to the last bit."""
    booster = trained(rows(1, 2000, seen), num_leaves=2**depth - 1 if depth > 1 else 2)
    compiled = read_boosted(booster.model_to_string(), COLUMNS)
    X = np.vstack([rows(2, 100), rows(3, 100, missing=0.4)])
    wanted = np.asarray(booster.predict(X, pred_contrib=True, num_threads=1))
    found = compiled.contributions(X)
    assert np.abs(found - wanted[:, :-1]).max() < 1e-9
    assert np.allclose(found.sum(axis=1) + wanted[:, -1], compiled.raw(X), atol=1e-9)
    alone = [compiled.contributions(X[i : i + 1]) for i in range(len(X))]
    assert (found == np.concatenate(alone)).all()


def test_trees_of_one_leaf_are_read() -> None:
    """Where nothing can be split, LightGBM writes a tree without decisions."""
    booster = trained(rows(1, 200), min_data_in_leaf=150)
    compiled = read_boosted(booster.model_to_string(), COLUMNS)
    X = rows(2, 20)
    assert (compiled.raw(X) == booster.predict(X, raw_score=True)).all()
    assert (compiled.contributions(X) == 0).all()
    assert compiled.raw(X[:0]).shape == (0,)
    assert compiled.contributions(X[:0]).shape == (0, COLUMNS)


def test_trees_of_other_kinds_are_refused() -> None:
    """A kind of tree that is read wrongly would give other scores without anybody noticing."""
    X = rows(1, 1000)
    label = X[:, 1] > 2
    data = {"num_boost_round": 3}
    params = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}
    several = lightgbm.train(
        params | {"objective": "multiclass", "num_class": 3},
        lightgbm.Dataset(X, label=X[:, 1] % 3),
        **data,
    )
    by_name = lightgbm.train(
        params | {"objective": "binary", "min_data_per_group": 1, "cat_smooth": 0},
        lightgbm.Dataset(X, label=label, categorical_feature=[1]),
        **data,
    )
    forest = lightgbm.train(
        params
        | {"objective": "binary", "boosting": "rf", "bagging_freq": 1}
        | {"bagging_fraction": 0.5},
        lightgbm.Dataset(X, label=label),
        **data,
    )
    zero = lightgbm.train(
        params | {"objective": "binary", "zero_as_missing": True},
        lightgbm.Dataset(X, label=label),
        **data,
    )
    linear = lightgbm.train(
        params | {"objective": "regression", "linear_tree": True},
        lightgbm.Dataset(X, label=X[:, 0]),
        **data,
    )
    deep = trained(rows(1, 4000), num_leaves=200, max_depth=-1)
    for booster in (several, by_name, forest, zero, linear):
        with pytest.raises(BundleError, match="label-trained"):
            read_boosted(booster.model_to_string(), COLUMNS)
    assert read_boosted(deep.model_to_string(), COLUMNS).width == COLUMNS  # few features: no limit


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("left_child", "0"),  # a circle
        ("left_child", "999"),
        ("right_child", "-999"),
        ("split_feature", "6"),
        ("split_feature", "-1"),
        ("leaf_value", "nan"),
        ("leaf_count", "0"),
        ("threshold", "word"),
        ("decision_type", "3"),
    ],
)
def test_damaged_text_is_refused(line: str, changed: str) -> None:
    """Compiled kernels check no bounds, and a circle would never end."""
    text = trained(rows(1, 500), trees=1).model_to_string()
    begin = text.index(f"\n{line}=") + len(line) + 2
    end = text.index("\n", begin)
    words = text[begin:end].split()
    damaged = text[:begin] + " ".join([changed, *words[1:]]).strip() + text[end:]
    with pytest.raises(BundleError, match=r"label-trained|feature|child"):
        read_boosted(damaged, COLUMNS)
