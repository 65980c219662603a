"""A model that fails on a row sends that row to people, wherever its batch was cut."""

from __future__ import annotations

import logging
from dataclasses import fields
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from fraudwatch.casework.steering import Registered, Steering
from fraudwatch.detectors.model import Model, Scores
from fraudwatch.detectors.training import TrainingConfig, fit
from fraudwatch.policy.rules import Policy
from fraudwatch.scorers import Scorers
from tests.detector_rows import SPEC, made_up

ROWS = made_up(7, 40)
LIMIT = float(np.quantile(ROWS[:, 0], 0.9))


class Fragile(Model):
    """Fails on a batch that holds a row with a large first value, as a faulty detector does."""

    def score(self, X: NDArray[np.floating]) -> Scores:
        if (X[:, 0] > LIMIT).any():
            raise FloatingPointError("overflow")
        return super().score(X)


@pytest.fixture(scope="module")
def scorers() -> Scorers:
    config = TrainingConfig(detectors=("pca",))
    sound = fit(made_up(1, 500), made_up(2, 500), SPEC, seed=5, config=config)
    model = Fragile(
        **{field.name: getattr(sound, field.name) for field in fields(sound) if field.init}
    )
    found = Scorers(lambda _registered: model)
    policy = Policy(1, 0.99, 0.998, Decimal(1000), 3, 0.0)
    found.follow(Session(), Steering(policy, Registered(1, "m", "0"), None, ""))
    return found


@given(st.lists(st.integers(0, len(ROWS)), max_size=5))
def test_only_the_failing_rows_are_unscored_for_any_cut(scorers: Scorers, cuts: list[int]) -> None:
    """Else a neighbour's fault would send a row to people in one cut and clear it in another."""
    borders = [0, *sorted(cuts), len(ROWS)]
    parts = [scorers.score(ROWS[a:b]) for a, b in pairwise(borders)]
    risk = np.concatenate([part.risk for part in parts])
    np.testing.assert_array_equal(np.isnan(risk), ROWS[:, 0] > LIMIT)
    alone = np.concatenate([scorers.score(ROWS[i : i + 1]).risk for i in range(len(ROWS))])
    np.testing.assert_array_equal(risk, alone)


def test_a_failure_is_told_once_a_batch(scorers: Scorers, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        scorers.score(ROWS)
    assert [record.getMessage() for record in caplog.records] == ["model failed"]
