"""A real Chromium and a served application with a case in its queue."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework.app import create_app
from fraudwatch.casework.context import Services
from fraudwatch.clock import SystemClock
from fraudwatch.domain.decision import Outcome
from fraudwatch.settings import load_settings
from streams.files import FilePublisher
from tests.api.seed import PASSWORDS, Seed
from tests.parts import skip_or_fail

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for the run; each test opens its own context."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        skip_or_fail("browser", f"none of {', '.join(NAMES)} is installed")
    with sync_playwright() as playwright:
        # Containers rarely allow the sandbox; only our own pages are opened.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def address(engine: Engine, sessions: sessionmaker[Session], tmp_path: Path) -> Iterator[str]:
    """Address of the served application: two cases wait, `ada` is a senior analyst."""
    now = datetime.now(UTC)
    with sessions.begin() as session:
        seed = Seed(session, now)
        seed.user("ada")
        for day in range(12):
            seed.transaction("acc-000000000111", at=now - timedelta(days=day, hours=1))
        outcomes = (Outcome.HIGH_RISK, Outcome.REVIEW)
        seed.case("acc-000000000111", outcomes=outcomes, priority=2.0)
        seed.case("acc-000000000222", priority=1.0)
    settings = load_settings(secret_key="0123456789abcdef" * 4, cookie_secure=False)
    clock = SystemClock()
    publisher = FilePublisher(tmp_path, clock)
    app = create_app(Services(settings, engine, sessions, clock, PASSWORDS, publisher))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()
