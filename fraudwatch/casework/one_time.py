"""One-time passwords: made by the program for a person, who then chooses another."""

from __future__ import annotations

import secrets

# No look-alikes, and no vowels: a random password spells no name and no word.
_READABLE = "23456789bcdfghjkmnpqrstvwxz"


def readable(*, groups: int, of: int) -> str:
    """Random characters (4.75 bits each) in groups, to be read out or typed once."""
    return "-".join("".join(secrets.choice(_READABLE) for _ in range(of)) for _ in range(groups))


def one_time_password() -> str:
    """57 random bits."""
    return readable(groups=3, of=4)
