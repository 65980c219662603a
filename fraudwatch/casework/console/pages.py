"""The web console: server-rendered pages over the same services as the REST API.

Every page works by keyboard and without JavaScript. Charts are SVG drawn here; nothing is loaded
from elsewhere, and no page holds inline script or style.
"""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from fraudwatch.casework.console import (
    account,
    case_acts,
    cases,
    details,
    entry,
    people,
    provider,
    queues,
    records,
    render,
    steering,
)
from fraudwatch.casework.provider import Provider

router = APIRouter(include_in_schema=False)
for part in (
    entry,
    provider,
    account,
    cases,
    case_acts,
    details,
    queues,
    records,
    steering,
    people,
):
    router.include_router(part.router)


def install(app: FastAPI) -> None:
    """Add the pages to the application, and have its errors shown as pages in browsers."""
    signs_in: Provider | None = app.state.provider
    label = signs_in.registration.label if signs_in is not None else ""
    app.state.console = render.load(provider_label=label)
    app.state.error_page = render.error_page
    app.include_router(router)
