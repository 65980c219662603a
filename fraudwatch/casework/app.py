"""The casework API (and console) as one FastAPI application."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from fraudwatch.casework import problems
from fraudwatch.casework.asking import Asking
from fraudwatch.casework.audit_keeper import AuditKeeper
from fraudwatch.casework.backlog import Backlog
from fraudwatch.casework.case_keeper import CaseKeeper
from fraudwatch.casework.console import pages
from fraudwatch.casework.context import Services
from fraudwatch.casework.edge import Edge
from fraudwatch.casework.known_tokens import KnownTokens
from fraudwatch.casework.live import Live
from fraudwatch.casework.openapi import TAGS, describe
from fraudwatch.casework.permissions import require_guards
from fraudwatch.casework.provider import make_provider
from fraudwatch.casework.rate_limits import RateLimits
from fraudwatch.casework.routes import (
    account,
    audit,
    board,
    case_acts,
    cases,
    dead_letters,
    details,
    disputes,
    events,
    exports,
    labels,
    operations,
    queues,
    rules,
    sessions,
    steering,
    transactions,
    transactions_asked,
    users,
    webhooks,
)

_DESCRIPTION = """
Cases of unusual payments, the people who decide them, and what steers the machine.

Sign in with `POST /v1/login` (a cookie; send `csrf` as `X-CSRF-Token` with every unsafe method) or
send an API token as `Authorization: Bearer`. Errors are `application/problem+json` with a stable
`code`. Acts on a case name the version that the caller has seen.
"""


def create_app(services: Services) -> FastAPI:
    """The application. Raises `ConfigurationError` without a secret key, or when a route of ours
    names no permission.
    """
    settings = services.settings
    settings.require_secret()
    asking = Asking(
        engine=services.engine,
        publisher=services.publisher,
        topic=settings.topic_transactions,
        most_waiting=settings.ask_most_waiting,
        backlog=Backlog(settings, services.sessions, time.monotonic),
        most_lag=settings.ask_most_lag,
    )
    live = Live(services.engine, services.sessions)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        keeper = AuditKeeper(services.sessions, settings, services.clock)
        cases_keeper = CaseKeeper(services.sessions, services.clock)
        keeper.start()
        cases_keeper.start()
        yield
        await run_in_threadpool(cases_keeper.stop)
        await run_in_threadpool(keeper.stop)
        await run_in_threadpool(asking.close)
        await run_in_threadpool(live.close)

    app = FastAPI(
        lifespan=lifespan,
        title="fraudwatch casework",
        version="1",
        description=_DESCRIPTION,
        openapi_tags=TAGS,
        # Generated clients would else have two classes of one name.
        separate_input_output_schemas=False,
        # The built-in pages load scripts from elsewhere; `/openapi.json` is a route of ours.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    app.state.asking = asking
    app.state.provider = make_provider(settings, time.monotonic)
    app.state.live = live
    app.state.known_tokens = KnownTokens(time.monotonic)
    app.state.search_limits = RateLimits(
        settings.search_rate, settings.search_burst, time.monotonic
    )
    app.state.request_limits = RateLimits(
        settings.request_rate, settings.request_burst, time.monotonic
    )
    app.state.rate_limits = RateLimits(settings.ask_rate, settings.ask_burst, time.monotonic)
    problems.install(app)
    app.add_middleware(Edge, https=settings.cookie_secure)
    for part in (
        sessions,
        account,
        users,
        cases,
        case_acts,
        details,
        rules,
        queues,
        board,
        disputes,
        transactions_asked,
        labels,
        transactions,
        dead_letters,
        steering,
        audit,
        webhooks,
        events,
        exports,
        operations,
    ):
        app.include_router(part.router)
    pages.install(app)
    require_guards(app)
    describe(app, settings)
    return app
