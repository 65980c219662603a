"""Everything on this machine, from an empty folder to a queue of cases."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.status import Status
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import db
from fraudwatch.casework.auth import Passwords
from fraudwatch.casework.models import Case
from fraudwatch.clock import SystemClock
from fraudwatch.demo import folder, people
from fraudwatch.demo.plan import CUSTOMERS, PREPARED, SEED, SIMULATOR_STATE, SPEED
from fraudwatch.demo.supervisor import Part, Supervisor, run_to_end
from fraudwatch.errors import ConfigurationError
from fraudwatch.settings import Settings, load_settings
from streams.topics import create_topics

_FIRST_CASE_SECONDS = 120.0
_CHECK_SECONDS = 0.2
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PASSWORDS = "demo-people.json"


def demo(
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Instead of FRAUDWATCH_PORT.")
    ] = None,
) -> None:
    """Start everything on this machine, with demo data.

    PostgreSQL, a worker, the API with its console, and a simulated stream of payments. Ctrl-C
    stops all of it; the next start goes on where this one stopped.
    """
    settings = load_settings(**({} if port is None else {"port": port}))
    _require_own_parts(settings)
    console = Console(highlight=False)
    for number in _ENDING:
        signal.signal(number, _interrupt)
    data = settings.data_dir.resolve()
    with folder.locked(data, tell=console.print) as lock:
        folder.require_free_port(settings.host, settings.port)
        folder.require_room(data)
        settings = settings.model_copy(
            update={"data_dir": data, "port": settings.port or _free_port(settings.host)}
        )
        _run(settings, _environment(settings), console, lock)


def _run(settings: Settings, environment: Mapping[str, str], console: Console, lock: int) -> None:
    supervisor = Supervisor(settings.data_dir / "logs", console.print, keep_open=(lock,))
    try:
        with console.status("starting PostgreSQL") as status:
            db.migrate_database(settings)
            create_topics(settings)
            sessions = db.open_sessions(settings)
            passwords = _give_passwords(settings, sessions)
            supervisor.start(_part("api", environment))
            if not (settings.data_dir / PREPARED).exists():
                _prepare(environment, console, status, lock)
            supervisor.start(_part("worker", environment))
            supervisor.start(_part("webhooks", environment, "send"))
            supervisor.start(
                _part(
                    "simulate",
                    environment,
                    *("--speed", str(SPEED), "--seed", str(SEED), "--customers", str(CUSTOMERS)),
                    *("--state", str(settings.data_dir / SIMULATOR_STATE)),
                )
            )
            status.update("waiting for the first case")
            _wait_for_first_case(settings, sessions, supervisor)
        _welcome(console, settings, passwords)
        while True:
            supervisor.check()
            time.sleep(_CHECK_SECONDS)
    except KeyboardInterrupt:
        console.print("\nstopping")
    finally:
        # Whoever presses Ctrl-C twice must not leave half of it running.
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        supervisor.stop()
    console.print("stopped; the next start goes on from here")


def _require_own_parts(settings: Settings) -> None:
    """Whoever has a real installation in the environment must not get demo people into it."""
    for name in ("database_url", "stream_url"):
        if getattr(settings, name):
            raise ConfigurationError(
                f"FRAUDWATCH_{name.upper()} is set, but the demo makes a database and a stream of "
                "its own: unset it for the demo, or start fraudwatch api and fraudwatch worker"
            )


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as found:
        port: int = found.getsockname()[1]
    return port


def _environment(settings: Settings) -> dict[str, str]:
    """What the children get: our settings, and secrets of the demo's own."""
    ours = {
        "FRAUDWATCH_DATA_DIR": str(settings.data_dir),
        "FRAUDWATCH_PORT": str(settings.port),
        # The console is at http://127.0.0.1, and not every browser takes secure cookies there.
        "FRAUDWATCH_COOKIE_SECURE": "false",
    }
    if not settings.secret_key.get_secret_value():
        ours["FRAUDWATCH_SECRET_KEY"] = folder.secret_key(settings.data_dir)
    return dict(os.environ) | ours


def _part(command: str, environment: Mapping[str, str], *options: str) -> Part:
    program = [sys.executable, "-m", "fraudwatch.cli", command, *options, "--stop-with-stdin"]
    return Part(command, program, environment)


def _give_passwords(settings: Settings, sessions: sessionmaker[Session]) -> dict[str, str]:
    file = settings.data_dir / _PASSWORDS
    with sessions.begin() as session:
        given, hashes = people.give_passwords(
            session, Passwords(), people.remembered(file), SystemClock().now()
        )
        # Before the commit: a hash that is remembered and not in the database does no harm.
        people.remember(file, hashes)
    return given


def _prepare(environment: Mapping[str, str], console: Console, status: Status, lock: int) -> None:
    status.stop()
    console.print("the first start takes a minute: a past is simulated, a model trained on it")
    past = Part("past", [sys.executable, "-m", "fraudwatch.demo.past"], environment)
    if run_to_end(past, keep_open=(lock,)):
        raise ConfigurationError(
            "the demo's past could not be prepared; what is written above says why. "
            "The next start tries again"
        )
    status.start()


def _wait_for_first_case(
    settings: Settings, sessions: sessionmaker[Session], supervisor: Supervisor
) -> None:
    deadline = time.monotonic() + _FIRST_CASE_SECONDS
    while time.monotonic() < deadline:
        supervisor.check()
        with sessions() as session:
            cases = session.scalar(select(func.count()).select_from(Case))
        if cases and _answers(f"http://{settings.host}:{settings.port}/ready"):
            return
        time.sleep(_CHECK_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own address
            return True
    except (urllib.error.URLError, OSError):
        return False


def _welcome(console: Console, settings: Settings, passwords: Mapping[str, str]) -> None:
    address = f"http://{settings.host}:{settings.port}"
    console.print(f"\n[bold]fraudwatch runs: {address}[/]\n")
    for person in people.PEOPLE:
        secret = passwords.get(person.name)
        shown = f"password [bold]{secret}[/]" if secret else "with the password you chose"
        role = person.role.value.replace("_", " ")
        console.print(f"  {role:<13} sign in as [bold]{person.name}[/], {shown}")
    if passwords:
        console.print("  A password is good for this run, or until you choose your own.")
    password = passwords.get(people.ANALYST.name, "YOUR-PASSWORD")
    jar = _shown(settings.data_dir / "cookies")
    steps = (
        f"Open {address}, sign in as {people.ANALYST.name} and take the next case.",
        "The same over the API, in another terminal:",
        "Prove that every payment was decided exactly once:",
    )
    lines = (
        (),
        (
            f"""CSRF=$(curl -s -c {jar} -H 'Content-Type: application/json' """
            f"""-d '{{"name":"{people.ANALYST.name}","password":"{password}"}}' """
            f"""{address}/v1/login | sed 's/.*"csrf":"\\([^"]*\\)".*/\\1/')""",
            f'curl -s -b {jar} -X POST -H "X-CSRF-Token: $CSRF" {address}/v1/cases/next',
        ),
        (f"{_data_dir_prefix(settings)}{_shown(Path(sys.argv[0]).absolute())} verify",),
    )
    console.print("\n[bold]Three things to try[/]\n")
    for number, (step, commands) in enumerate(zip(steps, lines, strict=True), start=1):
        console.print(f"  {number}. {step}")
        for command in commands:
            # Not wrapped and not marked up, so that it can be copied as it is.
            console.print(f"     {command}", soft_wrap=True, markup=False)
    logs = _shown(settings.data_dir / "logs")
    console.print(f"\nLogs are in {logs}. Ctrl-C stops everything.\n")


def _data_dir_prefix(settings: Settings) -> str:
    default = Settings.model_fields["data_dir"].default
    if settings.data_dir == default.resolve():
        return ""
    return f"FRAUDWATCH_DATA_DIR={settings.data_dir} "


def _shown(path: Path) -> str:
    """The path as one would type it from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
