"""Every registered detector keeps every promise of the check suite."""

from __future__ import annotations

import pytest

from fraudwatch.detectors.checks import checks
from fraudwatch.detectors.registry import DETECTORS


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_detector_keeps_every_promise(name: str, subtests: pytest.Subtests) -> None:
    """Same score alone and in any batch, PyOD's own score, no bad input taken, lossless storage."""
    held = []
    for check, run in checks(DETECTORS[name]):
        with subtests.test(check):
            run()
            held.append(check)
    assert len(held) >= 14
