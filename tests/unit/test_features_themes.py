"""Reasons that say the same are told once: each feature belongs to what it is about."""

from __future__ import annotations

import pytest

from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.themes import theme


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("amount", "amount"),
        ("amount_deviation_30d", "amount"),
        ("max_10m", "amount"),
        ("sum_ratio_24h_30d", "amount"),
        ("amount_to_merchant_mean", "merchant"),
        ("merchants_24h", "spread"),
        ("merchant_frauds_7d", "merchant fraud"),
        ("merchant_count_7d", "merchant"),
        ("count_ratio_24h_7d", "pace"),
        ("first_device", "first_device"),
        ("attributes.ip_risk", "attributes.ip_risk"),
    ],
)
def test_theme_of_a_feature(name: str, about: str) -> None:
    assert theme(name) == about


def test_only_novelties_and_knowledge_stand_alone() -> None:
    """A new feature that fits no theme would crowd the reasons with its like."""
    alone = {name for name in FeatureSpec().names if theme(name) == name}
    assert alone == {"amount"} | {
        f"first_{what}"
        for what in ("merchant", "category", "channel", "country", "device", "counterparty")
    }
