"""The command that adds partitions to the stream."""

from __future__ import annotations

from typing import Annotated

import typer

from fraudwatch import growth
from fraudwatch.casework import db
from fraudwatch.settings import load_settings


def grow(
    partitions: Annotated[int, typer.Option(min=2, max=1024, help="How many there shall be.")],
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="The topic has them already; all that waits in it was sent since they were added.",
        ),
    ] = False,
) -> None:
    """Add partitions to the topics.

    The accounts' pasts move along, so that answers stay what they would have been. Before: pause
    the producers, let the workers read to the end, stop them all. After: set FRAUDWATCH_PARTITIONS,
    start the workers, then the producers. Can be run again after a failure.
    """
    settings = load_settings()
    layout = growth.grow(settings, db.open_sessions(settings), partitions, adopt=adopt)
    typer.echo(
        f"{layout.topic} has {layout.partitions} partitions; next: "
        f"FRAUDWATCH_PARTITIONS={layout.partitions}, start the workers, then the producers"
    )
