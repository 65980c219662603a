"""The catalogue: complete, versioned, readable."""

from __future__ import annotations

import math

import pytest

from fraudwatch.errors import ConfigurationError
from fraudwatch.features.catalogue import CATALOGUE, FeatureSpec, describe, sentence


def test_every_feature_is_described() -> None:
    assert len(CATALOGUE) >= 25
    assert len({feature.name for feature in CATALOGUE}) == len(CATALOGUE)
    for feature in CATALOGUE:
        assert feature.unit, feature.name
        assert feature.formula, feature.name
        assert (feature.unit == "flag") == bool(feature.absent), feature.name
        assert (feature.unit == "flag") != ("{value}" in feature.sentence), feature.name


@pytest.mark.parametrize("value", [None, math.nan, 0.0, 1.0, 0.25, 1e12, -3.5])
def test_every_feature_has_a_sentence_for_every_value(value: float | None) -> None:
    """A reason must never fail on a value, with or without a known range."""
    for name in FeatureSpec(attributes=("score",)).names:
        for low, high in ((None, None), (math.nan, math.nan), (0.0, 2.0), (1.0, 1.0)):
            for normal_of in ("account", "everyone"):
                text = sentence(name, value, low, high, normal_of)
                assert text.endswith(".")
                assert "{" not in text
                assert "nan" not in text


@pytest.mark.parametrize(
    ("name", "value", "low", "high", "expected"),
    [
        (
            "amount",
            523.1,
            12.0,
            88.4,
            "The amount is 523.10; usual for this account: 12.00 to 88.40.",
        ),
        (
            "count_10m",
            7.0,
            1.0,
            1.0,
            "7 payments in the last 10 minutes; usual for this account: 1.",
        ),
        (
            "first_country",
            1.0,
            None,
            None,
            "The account's first payment with this country in a year.",
        ),
        (
            "seconds_since_last",
            240.0,
            None,
            None,
            "The account's last payment was 4 minutes earlier.",
        ),
        ("attributes.score", 0.5, None, None, "score is 0.5."),
        ("attributes.score", None, None, None, "score is not known."),
    ],
)
def test_sentences_read_plainly(
    name: str, value: float | None, low: float | None, high: float | None, expected: str
) -> None:
    assert sentence(name, value, low, high, "account") == expected


def test_unknown_feature_has_no_sentence() -> None:
    with pytest.raises(KeyError):
        describe("no such feature")


def test_version_follows_attributes_and_rates() -> None:
    """A model must never be given features that mean something else."""
    versions = {
        FeatureSpec().version,
        FeatureSpec(attributes=("a", "b")).version,
        FeatureSpec(attributes=("b", "a")).version,
        FeatureSpec(rates={"USD": 0.9}).version,
        FeatureSpec(rates={"USD": 0.91}).version,
    }
    assert len(versions) == 5
    two = {"USD": 0.9, "JPY": 0.006}
    assert FeatureSpec(rates=two).version == FeatureSpec(rates=dict(reversed(two.items()))).version


def test_spec_survives_the_manifest() -> None:
    spec = FeatureSpec(attributes=("score",), rates={"USD": 0.9})
    again = FeatureSpec.from_dict(spec.to_dict())
    assert again == spec
    assert again.version == spec.version
    assert again.names[-1] == "attributes.score"


@pytest.mark.parametrize("rate", [0.0, -1.0, 1e13, math.nan, math.inf])
def test_rates_must_be_positive_numbers(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="USD"):
        FeatureSpec(rates={"USD": rate})


def test_attributes_must_differ() -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        FeatureSpec(attributes=("a", "a"))
