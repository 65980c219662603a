"""What commands that run until they are stopped have in common."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Annotated

import typer

StopWithStdin = Annotated[
    bool,
    typer.Option("--stop-with-stdin", help="Stop when standard input closes: for supervisors."),
]


def stop_event() -> threading.Event:
    """Set by SIGTERM and Ctrl-C from now on."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def sleeper(stop: threading.Event) -> Callable[[float], None]:
    """Sleeps as told, or until the event is set."""

    def sleep(seconds: float) -> None:
        stop.wait(seconds)

    return sleep


def exit_in_order() -> None:
    """What a signal handler calls to end the process with its clean-up."""
    raise SystemExit(0)
