"""Commands that run until they are stopped: the API and the worker."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import uvicorn

from fraudwatch import bootstrap
from fraudwatch.cli.running import StopWithStdin, exit_in_order, stop_event
from fraudwatch.demo.supervisor import follow_parent
from fraudwatch.settings import load_settings
from fraudwatch.telemetry import configure_logging
from fraudwatch.worker_http import served

_GOODBYE_SECONDS = 5
_QUIET_SECONDS = 30  # that a connection may stay open between two requests
_HEADER_BYTES = 32 * 1024  # of a request's line and headers


def api(stop_with_stdin: StopWithStdin = False) -> None:
    """Serve the casework API and the console."""
    settings = load_settings()
    configure_logging(settings.log_level)
    application = bootstrap.api(settings)
    # uvicorn sends itself the signal again once it has stopped: end in good order then.
    signal.signal(signal.SIGTERM, lambda *_: exit_in_order())
    if stop_with_stdin:
        follow_parent()
    uvicorn.run(
        application,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_keep_alive=_QUIET_SECONDS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )


def worker(stop_with_stdin: StopWithStdin = False) -> None:
    """Score transactions from the stream.

    Takes in labels too. Start more of them, up to the number of partitions, to score more.
    SIGTERM or Ctrl-C finishes the batch in hand and stops. Exits 3, after writing down where each
    thread is, when it gives no sign of life for FRAUDWATCH_WATCHDOG_SECONDS.
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    stop = stop_event()
    if stop_with_stdin:
        follow_parent()
    process = bootstrap.Worker(settings, stop)
    with ExitStack() as stack:
        if settings.metrics_port:
            where = (settings.metrics_host, settings.metrics_port)
            stack.enter_context(served(*where, process.watchdog))
        process.run()
