"""Installations, as for the tests of the forward path."""

from tests.pipeline.conftest import install, trained

__all__ = ["install", "trained"]
