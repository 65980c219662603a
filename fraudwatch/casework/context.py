"""What the API works with, and the one edge where a request's work is committed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework.auth import Passwords
from fraudwatch.casework.db import connect_errors
from fraudwatch.clock import Clock
from fraudwatch.errors import Unavailable
from fraudwatch.settings import Settings
from streams.source import Publisher


@dataclass(frozen=True, slots=True)
class Services:
    """Made once by `fraudwatch.bootstrap` and kept as `app.state.services`."""

    settings: Settings
    engine: Engine
    sessions: sessionmaker[Session]
    clock: Clock
    passwords: Passwords
    publisher: Publisher


def get_services(request: Request) -> Services:
    """The services of the application that got the request."""
    services: Services = request.app.state.services
    return services


@contextmanager
def open_session(services: Services) -> Iterator[Session]:
    """A session that commits at the end of the block. Raises `Unavailable`."""
    try:
        with connect_errors(), services.sessions.begin() as session:
            yield session
    except PoolTimeout as error:
        raise Unavailable("database: all connections are busy") from error


def get_session(services: Annotated[Services, Depends(get_services)]) -> Iterator[Session]:
    """A session that commits when the route has returned, and rolls back when it raised."""
    with open_session(services) as session:
        yield session


ServicesDep = Annotated[Services, Depends(get_services)]

# The scope makes the commit happen before the answer leaves: if it fails, so does the request.
SessionDep = Annotated[Session, Depends(get_session, scope="function")]
