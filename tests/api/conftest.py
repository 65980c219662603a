"""An application on a real database, and browsers and programs that use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import tokens
from fraudwatch.casework.app import create_app
from fraudwatch.casework.context import Services
from fraudwatch.casework.live import Live
from fraudwatch.clock import FixedClock
from fraudwatch.domain.access import Role
from fraudwatch.settings import Settings, load_settings
from streams.files import FilePublisher
from tests.api.seed import NOW, PASSWORD, PASSWORDS, Seed


@dataclass
class Api:
    """The application with all that a test needs to look behind it."""

    app: FastAPI
    services: Services
    clock: FixedClock
    known: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def seed(self) -> Iterator[Seed]:
        """Rows committed at the end of the block."""
        with self.services.sessions.begin() as session:
            yield Seed(session, self.clock.now())

    def client(self, **headers: str) -> TestClient:
        """A client without any credentials. A 500 comes back as an answer, as it would outside."""
        return TestClient(
            self.app,
            base_url="https://testserver",
            headers=headers,
            raise_server_exceptions=False,
        )

    def program(self, role: Role, name: str = "") -> TestClient:
        """A client with an API token of a user of this role, made on the first call."""
        name = name or f"{role.value}-user"
        if name not in self.known:
            with self.seed() as seed:
                user = seed.user(name, role)
                self.known[name] = tokens.issue(
                    seed.session, user, name="test", now=self.clock.now()
                ).token
        return self.client(authorization=f"Bearer {self.known[name]}")

    def browser(self, name: str, password: str = PASSWORD) -> tuple[TestClient, str]:
        """A signed-in browser and its CSRF token."""
        client = self.client()
        answer = client.post("/v1/login", json={"name": name, "password": password})
        assert answer.status_code == 200, answer.text
        return client, answer.json()["csrf"]

    def rows(self, model: type[Any]) -> list[Any]:
        """All rows of a table, in the order of their key."""
        with self.services.sessions() as session:
            return list(session.query(model).order_by(*model.__table__.primary_key.columns))


@pytest.fixture
def settings() -> Settings:
    return load_settings(secret_key="0123456789abcdef" * 4)


@pytest.fixture
def api(
    engine: Engine, sessions: sessionmaker[Session], settings: Settings, tmp_path: Path
) -> Iterator[Api]:
    clock = FixedClock(NOW)
    publisher = FilePublisher(tmp_path, clock)
    services = Services(settings, engine, sessions, clock, PASSWORDS, publisher)
    api = Api(create_app(services), services, clock)
    api.app.state.live = Live(engine, sessions, seconds=0)  # streams that end at once
    yield api
    api.app.state.live.close()
    api.app.state.asking.close()


@pytest.fixture
def count_queries(engine: Engine) -> Callable[[Callable[[], object]], int]:
    """How many statements a call sends to the database."""

    def count(call: Callable[[], object]) -> int:
        seen: list[str] = []

        def note(*args: Any) -> None:
            seen.append(args[2])

        event.listen(engine, "before_cursor_execute", note)
        try:
            call()
        finally:
            event.remove(engine, "before_cursor_execute", note)
        return len(seen)

    return count
