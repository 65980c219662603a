"""Pages from templates, and errors as pages.

Templates get `shell` (who is signed in, where they may go), `now`, and what the page names. Text is
escaped everywhere; no template marks anything as safe.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from fraudwatch.casework.auth import (
    CodeNeeded,
    EnrolmentNeeded,
    Identity,
    NotSignedIn,
    PasswordChangeNeeded,
)
from fraudwatch.casework.console import words
from fraudwatch.casework.console.charts import range_chart
from fraudwatch.casework.console.forms import Filled
from fraudwatch.casework.context import ServicesDep
from fraudwatch.casework.permissions import AnySignedIn
from fraudwatch.casework.problems import Problem
from fraudwatch.clock import Clock
from fraudwatch.domain.access import Permission
from fraudwatch.domain.reason_codes import REASON_CODES, Resolution

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

_PLACES = (
    ("/cases", "Queue", Permission.CASES_READ),
    ("/queues", "Queues", Permission.CASES_READ),
    ("/board", "Board", Permission.BOARD_READ),
    ("/search", "Search", Permission.CASES_READ),
    ("/reason-codes", "Reason codes", Permission.CASES_READ),
    ("/policies", "Policies", Permission.POLICIES_READ),
    ("/models", "Models", Permission.MODELS_READ),
    ("/users", "Users", Permission.USERS_READ),
    ("/audit", "Audit log", Permission.AUDIT_READ),
)

_FIRST = {
    CodeNeeded.code: "/signin/code",
    PasswordChangeNeeded.code: "/password",
    EnrolmentNeeded.code: "/me/second-factor",
}

_TITLES = {
    403: "Not allowed",
    404: "Not found",
    409: "It has changed meanwhile",
    413: "Too large",
    422: "That cannot be",
    500: "Something went wrong here",
    503: "Not available for the moment",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A shipped file, with the version that its address carries."""

    content: bytes
    media_type: str
    version: str


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation."""

    href: str
    text: str
    here: bool


@dataclass(frozen=True, slots=True)
class Shell:
    """What frames every page."""

    places: tuple[Place, ...] = ()
    name: str = ""
    role: str = ""
    csrf: str = ""
    permissions: frozenset[Permission] = frozenset()

    def may(self, permission: str) -> bool:
        """Whether a part of the page is for this reader."""
        return Permission(permission) in self.permissions


@dataclass(frozen=True, slots=True)
class Console:
    """Templates and shipped files, loaded once."""

    environment: Environment
    assets: Mapping[str, Asset]

    def page(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """The page; a name that a template lacks is an error, not a gap."""
        text = self.environment.get_template(template).render(**context)
        return HTMLResponse(text, status)


def load(*, provider_label: str = "") -> Console:
    """Read templates and files of this package; the label is of who else people sign in with."""
    folder = files("fraudwatch.casework.console") / "static"
    assets = {}
    for entry in folder.iterdir():
        media_type = _TYPES.get(entry.name.rpartition(".")[2])
        if media_type is not None:
            content = entry.read_bytes()
            version = hashlib.sha256(content).hexdigest()[:12]
            assets[entry.name] = Asset(content, media_type, version)
    environment = Environment(
        loader=PackageLoader("fraudwatch.casework.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "money": words.money,
        "number": words.number,
        "when": words.when,
        "clock": words.clock,
        "span": words.span,
        "holder": words.holder,
        "event": words.event,
        "reason_title": words.reason_title,
        "path": lambda key: quote(key, safe=""),
    }
    environment.globals |= {
        "asset": lambda name: f"/static/{name}?v={assets[name].version}",
        "due": words.due,
        "query": lambda **values: urlencode({k: v for k, v in values.items() if v}),
        "range_chart": range_chart,
        "codes_of": {
            kind: [code for code in REASON_CODES.values() if code.resolution is kind]
            for kind in Resolution
        },
        "words": words,
        "untouched": Filled(),
        "provider_label": provider_label,
    }
    return Console(environment, assets)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a page of a signed-in person is made with."""

    console: Console
    identity: Identity
    clock: Clock
    path: str

    def page(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """The page in its frame."""
        actor = self.identity.actor
        places = tuple(
            Place(href, text, self.path == href or self.path.startswith(f"{href}/"))
            for href, text, needed in _PLACES
            if actor.may(needed)
        )
        shell = Shell(
            places,
            self.identity.display_name,
            words.ROLES.get(actor.role.value, actor.role.value),
            self.identity.csrf or "",
            actor.permissions,
        )
        return self.console.page(template, status, shell=shell, now=self.clock.now(), **context)

    def as_now(self, identity: Identity) -> Desk:
        """The desk of the same person under the session that they have now."""
        return replace(self, identity=identity)

    @property
    def home(self) -> str:
        """The first page that is for this person."""
        may = self.identity.actor.may
        return next((href for href, _, needed in _PLACES if may(needed)), "/me")


def console_of(request: Request) -> Console:
    """The console of the application that got the request."""
    found: Console = request.app.state.console
    return found


ConsoleDep = Annotated[Console, Depends(console_of)]


def _desk(
    request: Request, console: ConsoleDep, identity: AnySignedIn, services: ServicesDep
) -> Desk:
    return Desk(console, identity, services.clock, request.url.path)


DeskDep = Annotated[Desk, Depends(_desk)]


def go(path: str) -> RedirectResponse:
    """On to another page after a form was carried out: reloading repeats nothing."""
    return RedirectResponse(path, 303)


def error_page(request: Request, found: Problem) -> Response | None:
    """The problem as a page where a browser asked for one; None leaves it to the API."""
    if request.url.path.startswith("/v1/") or "text/html" not in request.headers.get("accept", ""):
        return None
    if found.code in _FIRST:
        return go(_FIRST[found.code])
    if found.code == NotSignedIn.code:
        query = f"?{request.url.query}" if request.url.query else ""
        back = request.url.path + query if request.method == "GET" else "/"
        return go("/signin" if back == "/" else f"/signin?{urlencode({'next': back})}")
    title = _TITLES.get(found.status, found.title)
    return console_of(request).page(
        "problem.html", found.status, shell=Shell(), title=title, problem=found
    )
