"""One-time passwords: made by the program for a person, who then chooses another."""

from __future__ import annotations

import secrets

# No look-alikes, and no vowels: a random password spells no name and no word.
_READABLE = "23456789bcdfghjkmnpqrstvwxz"


def one_time_password() -> str:
    """57 random bits in three groups of four characters, to be read out or typed once."""
    return "-".join("".join(secrets.choice(_READABLE) for _ in range(4)) for _ in range(3))
