"""docs/features.md is the catalogue, word for word."""

from __future__ import annotations

from pathlib import Path

from fraudwatch.features.catalogue import catalogue_markdown

PAGE = Path(__file__).parents[2] / "docs/features.md"


def test_features_page_is_current() -> None:
    """Fails when a feature changed and the page was not written anew from the catalogue."""
    assert PAGE.read_text() == catalogue_markdown()
