"""Bugs put in on purpose, to see that the harness finds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """What is wrong, and how to make it so in this process."""

    what: str
    plant: Callable[[], None]


BUGS: dict[str, Bug] = {}
