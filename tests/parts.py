"""Parts that a test needs from outside: where one lacks, the test is skipped loudly or fails."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

REQUIRED = frozenset(filter(None, os.environ.get("TESTS_REQUIRE", "").split(",")))


def skip_or_fail(part: str, reason: str) -> NoReturn:
    """Skip loudly, or fail where `TESTS_REQUIRE` names the part."""
    if part in REQUIRED:
        pytest.fail(f"TESTS_REQUIRE={part}, but {reason}", pytrace=False)
    pytest.skip(f"SKIPPED {part.upper()}: {reason}")
