"""The access matrix: each route, page and topic, and who may use it.

`rows` reads it from the guards of the application; `written` reads it back from docs/access.md,
which people review. Tests call the application cell by cell after what is written there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from fraudwatch.casework.permissions import (
    Everybody,
    Guard,
    OwnAccount,
    Requires,
    RequiresToken,
    SignedInOnly,
    guards,
)
from fraudwatch.domain.access import ROLE_PERMISSIONS, SERVICES, Role
from fraudwatch.settings import Settings
from streams.topics import topics

PAGE = Path(__file__).parents[2] / "docs/access.md"
REGENERATE = "run `make docs`, and review what changed in docs/access.md"

SIGNED_IN = "to be signed in"
YES, SESSION, TOKEN, NO = "yes", "session", "token", ""
"""What a cell says: any way in, a browser's session alone, an API token alone, none."""

# Which part reads and which writes each topic; the setting without `topic_` names it.
TOPIC_PARTS = {
    "transactions": ("worker", "api, publish, simulate; payment systems"),
    "labels": ("worker", "whoever knows of chargebacks and appeals"),
    "decisions": ("payment systems, not analysts", "worker"),
    "outcomes": ("payment systems", "worker"),
    "dead_letters": ("operators", "worker"),
    "audit_heads": ("auditors", "api, worker"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One operation: what it needs, whether anybody may, and a cell for each role."""

    method: str
    path: str
    needs: str
    nobody: str
    roles: tuple[str, ...]

    @property
    def operation(self) -> tuple[str, str]:
        """Method and path."""
        return self.method, self.path

    def cell(self, role: Role) -> str:
        """What the matrix says of a role."""
        return self.roles[list(Role).index(role)]


def rows(app: FastAPI) -> list[Row]:
    """A row for each route of the application, REST first, then pages, by path."""
    found = [
        _row(method, route.path, guards(route))
        for route in iter_route_contexts(app.routes)
        if route.path is not None
        for method in (route.methods or ())
    ]
    return sorted(found, key=lambda row: (not row.path.startswith("/v1/"), row.path, row.method))


def _row(method: str, path: str, found: list[Guard]) -> Row:
    assert found, f"{method} {path} has no guard"
    cells = [_cells(guard) for guard in found]
    roles = tuple(_both([words[1][at] for words in cells]) for at in range(len(Role)))
    asked = [words[0] for words in cells if words[0] != SIGNED_IN] or [SIGNED_IN]
    needs = ", ".join(dict.fromkeys(asked))
    nobody = YES if all(isinstance(guard, Everybody) for guard in found) else NO
    return Row(method, path, needs, nobody, roles)


def _both(cells: list[str]) -> str:
    """Several guards must all let through."""
    ways = {YES: {SESSION, TOKEN}, SESSION: {SESSION}, TOKEN: {TOKEN}, NO: set()}
    left = set.intersection(*(ways[cell] for cell in cells))
    return next(cell for cell, way in ways.items() if way == left)


def _cells(guard: Guard) -> tuple[str, list[str]]:
    """What a guard asks for, in words, and its cell for each role."""
    match guard:
        case Everybody():
            return "nothing", [YES] * len(Role)
        case SignedInOnly():
            return SIGNED_IN, [YES] * len(Role)
        case OwnAccount():
            return "own account", [NO if role in SERVICES else SESSION for role in Role]
        case Requires(permission):
            return f"`{permission.value}`", [
                YES if permission in ROLE_PERMISSIONS[role] else NO for role in Role
            ]
        case RequiresToken(permission):
            return f"`{permission.value}`", [
                TOKEN if permission in ROLE_PERMISSIONS[role] else NO for role in Role
            ]
        case _:
            raise AssertionError(f"{type(guard).__name__} has no words in tests/docs/access.py")


def routes_table(found: Iterable[Row]) -> list[tuple[str, ...]]:
    """Header and lines of the matrix of routes and pages."""
    header = ("Operation", "Needs", "anonymous", *(role.value for role in Role))
    return [
        header,
        *((f"`{row.method} {row.path}`", row.needs, row.nobody, *row.roles) for row in found),
    ]


def topics_table(settings: Settings) -> list[tuple[str, ...]]:
    """Header and lines of the matrix of topics: which part reads and writes each."""
    names = {getattr(settings, f"topic_{short}"): parts for short, parts in TOPIC_PARTS.items()}
    lines = [(f"`{topic.name}`", *names[topic.name]) for topic in topics(settings)]
    return [("Topic", "Read by", "Written by"), *lines]


def written() -> list[Row]:
    """The rows of docs/access.md."""
    found = []
    for line in PAGE.read_text().splitlines():
        if match := re.match(r"\| `([A-Z]+) (/[^`]*)` \|", line):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found.append(Row(match[1], match[2], cells[1], cells[2], tuple(cells[3:])))
    return found
