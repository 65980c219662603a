"""Commands that run until they are stopped: the API and the worker."""

from __future__ import annotations

import signal

import prometheus_client
import uvicorn

from fraudwatch import bootstrap
from fraudwatch.cli.running import StopWithStdin, exit_in_order, stop_event
from fraudwatch.demo.supervisor import follow_parent
from fraudwatch.settings import load_settings
from fraudwatch.telemetry import REGISTRY, configure_logging

_GOODBYE_SECONDS = 5


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
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )


def worker(stop_with_stdin: StopWithStdin = False) -> None:
    """Score transactions from the stream.

    Takes in labels too. Start more of them, up to the number of partitions, to score more.
    SIGTERM or Ctrl-C finishes the batch in hand and stops.
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    stop = stop_event()
    if stop_with_stdin:
        follow_parent()
    process = bootstrap.Worker(settings, stop)
    if settings.metrics_port:
        prometheus_client.start_http_server(
            settings.metrics_port, settings.metrics_host, registry=REGISTRY
        )
    process.run()
