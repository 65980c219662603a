"""What a provider of OpenID Connect says of a person, read into what they are here.

Pure: claims in, facts out. Who has no role by the mapping has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fraudwatch.domain.access import SERVICES, Role
from fraudwatch.errors import ConfigurationError

Claims = Mapping[str, object]

ALL_UNITS = "*"
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Rules:
    """Which claims tell what. `roles`: group and role, the first that fits counts."""

    name: str
    role: str
    roles: tuple[tuple[str, Role], ...]
    units: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Who signed in at the provider. `units` None with `scoped`: all of them; without: unsaid."""

    subject: str
    name: str
    display_name: str
    role: Role
    scoped: bool
    units: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a person is not let in: a word for the audit log, and a sentence for them."""

    reason: str
    words: str


def read_person(claims: Claims, rules: Rules) -> Person | Refused:
    """The person, or why they are none here."""
    subject, name = claims.get("sub"), claim(claims, rules.name)
    if not isinstance(subject, str) or not subject:
        return Refused("subject", "the provider did not say who you are")
    if not isinstance(name, str) or not name:
        return Refused("name", "the provider did not tell your name")
    groups = texts(claim(claims, rules.role))
    role = role_of(groups, rules.roles)
    if role is None:
        return Refused(
            "role", "none of your groups at the provider has a role here: ask who manages them"
        )
    units: tuple[str, ...] | None = None
    if rules.units is not None:
        named = texts(claim(claims, rules.units))
        if not named:
            return Refused("units", "the provider did not tell your units: ask who manages them")
        units = None if ALL_UNITS in named else tuple(sorted(named))
    shown = claims.get("name")
    return Person(
        subject=subject,
        name=name,
        display_name=_shown(shown if isinstance(shown, str) else "") or name,
        role=role,
        scoped=rules.units is not None,
        units=units,
    )


def claim(claims: Claims, path: str) -> object:
    """The claim of this name; else what dots lead to within claims; None where there is nothing.

    The whole name comes first: namespaced claims are addresses, and have dots.
    """
    if path in claims:
        return claims[path]
    found: object = claims
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def texts(found: object) -> frozenset[str]:
    """A claim as a set of texts: one text is a set of one, what is no text does not count."""
    listed = found if isinstance(found, list) else [found]
    return frozenset(value for value in listed if isinstance(value, str) and value)


def role_of(groups: frozenset[str], roles: tuple[tuple[str, Role], ...]) -> Role | None:
    """The role of the first group of the mapping that is among these; exactly, case and all."""
    return next((role for group, role in roles if group in groups), None)


def read_roles(mapping: str) -> tuple[tuple[str, Role], ...]:
    """`group=role,…` as pairs, in order. Raises `ConfigurationError`.

    A group may hold `=` (an LDAP name without commas); a role may not.
    """
    people = {role.value: role for role in Role if role not in SERVICES}
    pairs: list[tuple[str, Role]] = []
    for entry in filter(None, (part.strip() for part in mapping.split(","))):
        group, equals, role = (part.strip() for part in entry.rpartition("="))
        if not equals or not group or role not in people:
            raise ConfigurationError(
                f"FRAUDWATCH_OIDC_ROLES: {entry!r} must be group=role, with a role of "
                f"{', '.join(people)}"
            )
        if group in (known for known, _ in pairs):
            raise ConfigurationError(f"FRAUDWATCH_OIDC_ROLES: {group!r} stands there twice")
        pairs.append((group, people[role]))
    if not pairs:
        raise ConfigurationError("FRAUDWATCH_OIDC_ROLES must name a group=role: nobody could enter")
    return tuple(pairs)


def _shown(text: str) -> str:
    printable = "".join(character for character in text if character.isprintable())
    return printable.strip()[:_LONGEST_NAME].strip()
