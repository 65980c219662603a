"""The permission is a type in the route's signature; a route without one does not start.

::

    def list_cases(lens: MayReadCases, session: SessionDep) -> ...: ...

`Lens` carries the actor and what they may see. Routes for everybody say so with `PUBLIC`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts

from fraudwatch.casework import auth, looks, scope
from fraudwatch.casework.auth import BrowserNeeded, Identity, NotSignedIn
from fraudwatch.casework.context import Services, ServicesDep, SessionDep, open_session
from fraudwatch.casework.known_tokens import KnownTokens
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.rate_limits import RateLimits
from fraudwatch.domain.access import Hurdle, Permission
from fraudwatch.errors import Busy, ConfigurationError, NotAllowed
from fraudwatch.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"  # of forms, for pages that work without JavaScript

_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


def cookie_name(settings: Settings) -> str:
    """Browsers accept the `__Host-` prefix only with Secure, for this host, from this host."""
    return "__Host-fraudwatch" if settings.cookie_secure else "fraudwatch"


async def presented_csrf(request: Request) -> str | None:
    """The CSRF token that came with the request: in the header, or in a form's field."""
    header = request.headers.get(CSRF_HEADER)
    if header is not None:
        return header
    if request.headers.get("content-type", "").startswith(_FORM_TYPES):
        value = (await request.form()).get(CSRF_FIELD)
        return value if isinstance(value, str) else None
    return None


def presented_token(request: Request) -> str | None:
    """The API token that came with the request."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def identify(
    request: Request,
    services: ServicesDep,
    session: SessionDep,
    csrf: Annotated[str | None, Depends(presented_csrf)],
) -> Identity:
    """Who sent the request, by API token or session cookie.

    Raises `NotSignedIn`, and `Busy` when the session or token sends more than it may.
    """
    now = services.clock.now()
    token = presented_token(request)
    if token is not None:
        identity = auth.by_token(session, services.settings, token, now)
        _take(request, identity)
        return identity
    cookie = request.cookies.get(cookie_name(services.settings))
    if cookie is None:
        raise NotSignedIn("sign in, or send an API token as `Authorization: Bearer`")
    identity = auth.by_cookie(session, services.settings, cookie, now)
    _take(request, identity)
    if request.method not in SAFE_METHODS:
        auth.check_csrf(identity, csrf)
    return identity


def _take(request: Request, identity: Identity) -> None:
    limits: RateLimits = request.app.state.request_limits
    # Ids of sessions and of tokens are counted apart.
    key = identity.token_id if identity.token_id is not None else -(identity.session_id or 0)
    wait = limits.take(key, 1)
    if wait > 0:
        raise Busy("this session or token sends too many requests", retry_seconds=wait)


IdentityDep = Annotated[Identity, Depends(identify)]


class Guard:
    """Base of what decides whether a request may go on; every route has one."""


@dataclass(frozen=True, slots=True)
class Requires(Guard):
    """Lets through who holds the permission."""

    permission: Permission

    def __call__(
        self, request: Request, identity: IdentityDep, services: ServicesDep, session: SessionDep
    ) -> Iterator[Lens]:
        """The lens of the actor; what it shows of persons becomes a look, in the request's own
        transaction. Raises `NotAllowed` or one of its kinds."""
        identity.require_no_hurdle()
        if not identity.actor.may(self.permission):
            raise NotAllowed(f"this needs {self.permission}")
        scope.narrow(session, identity.actor)
        lens = Lens(
            identity.actor, services.settings.require_secret(), services.settings.judge_first
        )
        yield lens
        if lens.shown:
            looks.record(
                session,
                lens,
                at=services.clock.now(),
                where=f"{request.method} {request.scope['route'].path}",
                asked=request.path_params,
            )


@dataclass(frozen=True, slots=True)
class RequiresToken(Guard):
    """Lets through programs whose token holds the permission.

    For routes that wait: when it is done no thread and no database connection is held any more.
    What the database said of a token holds for `known_tokens.SECONDS`.
    """

    permission: Permission

    async def __call__(self, request: Request) -> Identity:
        """Who asks. Raises `NotSignedIn` or `NotAllowed`."""
        token = presented_token(request)
        if token is None:
            raise NotSignedIn("send an API token as `Authorization: Bearer`")
        known: KnownTokens = request.app.state.known_tokens
        identity = known.find(token)
        if identity is None:
            identity = await run_in_threadpool(self._identify, request.app.state.services, token)
            known.keep(token, identity)
        identity.require_no_hurdle()
        if not identity.actor.may(self.permission):
            raise NotAllowed(f"this needs {self.permission}")
        return identity

    @staticmethod
    def _identify(services: Services, token: str) -> Identity:
        with open_session(services) as session:
            return auth.by_token(session, services.settings, token, services.clock.now())


@dataclass(frozen=True, slots=True)
class SignedInOnly(Guard):
    """Lets through everybody who is signed in, also those with one of these things to do first."""

    hurdles: frozenset[Hurdle]

    def __call__(self, identity: IdentityDep) -> Identity:
        """Who asks. Raises what they must do first."""
        identity.require_no_hurdle(self.hurdles)
        return identity


@dataclass(frozen=True, slots=True)
class OwnAccount(Guard):
    """Lets through people in a browser's session, for what changes or tells of their account.

    Not tokens: one that leaked must not make others, nor end the sessions of its owner.
    """

    hurdles: frozenset[Hurdle] = frozenset()

    def __call__(self, identity: IdentityDep) -> Identity:
        """Who asks. Raises `BrowserNeeded` or what they must do first."""
        if identity.session_sha256 is None:
            raise BrowserNeeded("sign in with a browser's session: tokens cannot do this")
        identity.require_no_hurdle(self.hurdles)
        return identity


class Everybody(Guard):
    """Lets everybody through: sign-in, health, the description of the API."""

    def __call__(self) -> None:
        return None


def _needs(permission: Permission) -> Any:
    # Until the route has returned: what was shown is known then, and the answer still here.
    return Depends(Requires(permission), scope="function")


PUBLIC = Depends(Everybody())
Arriving = Annotated[Identity, Depends(SignedInOnly(frozenset(Hurdle)))]
AnySignedIn = Annotated[Identity, Depends(SignedInOnly(frozenset({Hurdle.PASSWORD, Hurdle.ENROL})))]
MayChoosePassword = Annotated[
    Identity, Depends(OwnAccount(frozenset({Hurdle.PASSWORD, Hurdle.ENROL})))
]
MayEnrol = Annotated[Identity, Depends(OwnAccount(frozenset({Hurdle.ENROL})))]
Own = Annotated[Identity, Depends(OwnAccount())]
MayReadCases = Annotated[Lens, _needs(Permission.CASES_READ)]
MayWorkCases = Annotated[Lens, _needs(Permission.CASES_WORK)]
MayReopenCases = Annotated[Lens, _needs(Permission.CASES_REOPEN)]
MayReassignCases = Annotated[Lens, _needs(Permission.CASES_REASSIGN)]
MayManageQueues = Annotated[Lens, _needs(Permission.QUEUES_MANAGE)]
MayReadBoard = Annotated[Lens, _needs(Permission.BOARD_READ)]
MayWriteDisputes = Annotated[Lens, _needs(Permission.DISPUTES_WRITE)]
MayReadTransactions = Annotated[Lens, _needs(Permission.TRANSACTIONS_READ)]
MayAsk = Annotated[Identity, Depends(RequiresToken(Permission.TRANSACTIONS_WRITE))]
MayWriteLabels = Annotated[Lens, _needs(Permission.LABELS_WRITE)]
MayReadDecisions = Annotated[Lens, _needs(Permission.TRANSACTIONS_WRITE)]
MayReadPolicies = Annotated[Lens, _needs(Permission.POLICIES_READ)]
MayProposePolicies = Annotated[Lens, _needs(Permission.POLICIES_PROPOSE)]
MayActivatePolicies = Annotated[Lens, _needs(Permission.POLICIES_ACTIVATE)]
MayReadModels = Annotated[Lens, _needs(Permission.MODELS_READ)]
MayPromoteModels = Annotated[Lens, _needs(Permission.MODELS_PROMOTE)]
MayReadDeadLetters = Annotated[Lens, _needs(Permission.DEAD_LETTERS_READ)]
MayRevealDeadLetters = Annotated[Lens, _needs(Permission.DEAD_LETTERS_REVEAL)]
MayReplayDeadLetters = Annotated[Lens, _needs(Permission.DEAD_LETTERS_REPLAY)]
MayUnmask = Annotated[Lens, _needs(Permission.PERSONAL_UNMASK)]
MayReadAudit = Annotated[Lens, _needs(Permission.AUDIT_READ)]
MayReadUsers = Annotated[Lens, _needs(Permission.USERS_READ)]
MayManageUsers = Annotated[Lens, _needs(Permission.USERS_MANAGE)]
MayReadWebhooks = Annotated[Lens, _needs(Permission.WEBHOOKS_READ)]
MayManageWebhooks = Annotated[Lens, _needs(Permission.WEBHOOKS_MANAGE)]
MayReadMetrics = Annotated[Lens, _needs(Permission.METRICS_READ)]


def guards(route: RouteContext) -> list[Guard]:
    """The guards of a route, from its whole tree of dependencies."""
    dependant = getattr(route, "dependant", None)
    return [] if dependant is None else _guards(dependant)


def require_guards(app: FastAPI, *, unguarded: frozenset[str] = frozenset()) -> None:
    """Raise `ConfigurationError` when any route of the application has no guard.

    `unguarded` names mounts that serve nothing but shipped files.
    """
    for route in iter_route_contexts(app.routes):
        if route.path not in unguarded and not guards(route):
            raise ConfigurationError(f"the route {route.path} names no permission")


def _guards(dependant: Dependant) -> list[Guard]:
    own: list[Guard] = [dependant.call] if isinstance(dependant.call, Guard) else []
    return own + [guard for part in dependant.dependencies for guard in _guards(part)]
