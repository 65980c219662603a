"""The command that sends a file to the stream."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from fraudwatch.cli.running import stop_event
from fraudwatch.clock import SystemClock
from fraudwatch.settings import load_settings
from streams.carriers import open_publisher
from streams.mapping import Mapping
from streams.publish import publish_file

MappingFile = Annotated[
    Path,
    typer.Option(
        "--mapping", exists=True, dir_okay=False, help="TOML file: which column is which field."
    ),
]
DataFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="CSV, Parquet or JSON lines.")
]


def publish(
    file: DataFile,
    mapping: MappingFile,
    speed: Annotated[
        float | None,
        typer.Option(min=0.001, help="Multiple of recorded time; flat out if not given."),
    ] = None,
    first: Annotated[
        int, typer.Option(min=0, help="Row to begin with, in order of time, counted from 0.")
    ] = 0,
) -> None:
    """Send a file of transactions to the stream.

    Each account goes to a partition of its own, in order of time. A faulty row is named with its
    column before anything is sent. Ctrl-C stops between two batches and tells the row to go on
    with.
    """
    settings = load_settings()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    publisher = open_publisher(settings, SystemClock())
    try:
        with Progress(*columns, console=Console(stderr=True)) as bars:
            bar = bars.add_task(f"reading {file.name}", total=None)
            done = publish_file(
                file,
                Mapping.load(mapping),
                publisher,
                settings.topic_transactions,
                clock=SystemClock(),
                stop=stop_event(),
                speed=speed,
                first=first,
                progress=lambda rows, of: bars.update(
                    bar, description="publishing", completed=rows, total=of
                ),
            )
    finally:
        publisher.close()
    typer.echo(f"{done.next_row - done.first:,} of {done.rows - done.first:,} rows published")
    if not done.complete:
        typer.echo(f"go on with: --first {done.next_row}", err=True)
        raise typer.Exit(130)
