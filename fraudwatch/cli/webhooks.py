"""Commands about webhooks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Annotated

import typer

from fraudwatch.casework import db
from fraudwatch.casework import webhooks as endpoints
from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.webhook_http import read_networks
from fraudwatch.casework.webhook_sender import WebhookSender
from fraudwatch.cli.running import StopWithStdin, stop_event
from fraudwatch.clock import SystemClock
from fraudwatch.demo.supervisor import follow_parent
from fraudwatch.errors import Unavailable
from fraudwatch.settings import load_settings
from fraudwatch.telemetry import configure_logging

webhooks = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Send what waits for webhooks."
)

_LOOK_SECONDS = 1.0
_AWAY_SECONDS = 5.0

log = logging.getLogger(__name__)


@webhooks.callback()
def _group() -> None:
    """Send what waits for webhooks."""


@webhooks.command()
def send(
    once: Annotated[
        bool, typer.Option("--once", help="Send what waits now, then end: for cron.")
    ] = False,
    threads: Annotated[
        int, typer.Option(min=1, max=64, help="Endpoints that are sent to at the same time.")
    ] = 4,
    stop_with_stdin: StopWithStdin = False,
) -> None:
    """Send signed messages to webhooks, until stopped.

    May run more than once: an endpoint's lease lets one send for it at a time. SIGTERM or Ctrl-C
    ends it after the messages in hand.
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    key = settings.require_secret()
    allowed = read_networks(settings.webhook_networks)
    stop = stop_event()
    if stop_with_stdin:
        follow_parent()
    engine = db.open_database(settings, pool_size=threads)
    sessions = db.session_factory(engine)
    clock = SystemClock()

    def work() -> None:
        spread = Random()  # noqa: S311 - spreads retries in time
        sender = WebhookSender(
            sessions, key, clock, spread, seconds=settings.webhook_seconds, allowed=allowed
        )
        while not stop.is_set():
            try:
                busy = sender.turn()
            except Unavailable as error:
                log.warning("webhooks wait: %s", error)
                stop.wait(_AWAY_SECONDS)
                continue
            if not busy:
                if once:
                    return
                stop.wait(_LOOK_SECONDS)

    try:
        with connect_errors(), sessions.begin() as session:
            endpoints.forget(session, clock.now())
        with ThreadPoolExecutor(threads) as pool:
            running = [pool.submit(_stopping, work, stop) for _ in range(threads)]
        for each in running:
            each.result()
    finally:
        engine.dispose()


def _stopping(work: Callable[[], None], stop: threading.Event) -> None:
    """An error in one thread ends the others too: the supervisor starts all of them again."""
    try:
        work()
    except BaseException:
        stop.set()
        raise
