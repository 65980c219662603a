"""Whether a password can be guessed: by its length, and by how a cracker would go about it.

No list of leaked passwords is needed: zxcvbn (Wheeler, USENIX Security 2016) estimates guesses from
frequent passwords, words, names, dates, keyboard walks and repeats, and takes what is known of the
person as words too. Rules on kinds of characters are not made (NIST SP 800-63B, 3.1.1.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from zxcvbn import zxcvbn

from fraudwatch.errors import Invalid

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1000
LEAST_GUESSES = 10**10
"""Estimated guesses that a password must stand: argon2id makes each cost some 20 ms."""

_CONTEXT = ("fraudwatch",)
_LONG = 5  # characters of a name; a shorter one stands in other words by chance: eve in several
_ESTIMATED = 72  # characters: the estimate takes longer than linear time, more adds nothing


def check_password(password: str, known: Iterable[str] = ()) -> None:
    """Raise `Invalid` unless the password is fit for use.

    `known` is what others know of the person: their names. It may not stand in the password.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Invalid(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    words = list(_words(known))
    lower = password.lower()
    parts = set(re.split(r"\W+", lower))
    if any(word in (lower if len(word) >= _LONG else parts) for word in words):
        raise Invalid("the password holds your name or the product's: choose unrelated words")
    if len(set(password)) < 5 or _guesses(password, words) < LEAST_GUESSES:
        raise Invalid("the password is too easy to guess: choose several unrelated words")


def _words(known: Iterable[str]) -> Iterable[str]:
    """Names as a whole, and their parts."""
    for name in (*_CONTEXT, *known):
        lower = name.lower()
        yield from {lower, *(part for part in re.split(r"\W+", lower) if len(part) >= 3)} - {""}


def _guesses(password: str, words: list[str]) -> float:
    found = zxcvbn(password[:_ESTIMATED], user_inputs=words)
    return float(found["guesses"])
