"""The command that lets a simulated world's payments flow."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from fraudwatch.cli.running import StopWithStdin, sleeper, stop_event
from fraudwatch.clock import SystemClock
from fraudwatch.demo.supervisor import follow_parent
from fraudwatch.settings import load_settings
from streams.carriers import open_publisher
from streams.simulator import World, WorldConfig
from streams.simulator.live import stream_live


def simulate(
    speed: Annotated[
        float, typer.Option(min=0.001, help="Simulated seconds a second, until it is now.")
    ] = 60,
    days_ago: Annotated[float, typer.Option(min=0, help="Where it begins, before now.")] = 7,
    seed: Annotated[int, typer.Option(min=0, help="Another number, another world.")] = 1,
    customers: Annotated[int, typer.Option(min=1, help="How many customers.")] = 500,
    state: Annotated[
        Path | None,
        typer.Option(help="File that keeps how far it came (data folder: simulator.json)."),
    ] = None,
    stop_with_stdin: StopWithStdin = False,
) -> None:
    """Send simulated transactions, live.

    Chargebacks go to the labels topic when their time comes. Stopped and started again, it goes
    on where it was.
    """
    settings = load_settings()
    stop = stop_event()
    if stop_with_stdin:
        follow_parent()
    clock = SystemClock()
    publisher = open_publisher(settings, clock)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    try:
        stream_live(
            World(WorldConfig(seed=seed, customers=customers)),
            clock.now() - timedelta(days=days_ago),
            speed=speed,
            clock=clock,
            sleep=sleeper(stop),
            stop=stop.is_set,
            publisher=publisher,
            transactions_topic=settings.topic_transactions,
            labels_topic=settings.topic_labels,
            state_file=state or settings.data_dir / "simulator.json",
        )
    finally:
        publisher.close()
