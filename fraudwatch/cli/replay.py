"""The command that computes decisions once more."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fraudwatch.bootstrap import open_model
from fraudwatch.casework import db
from fraudwatch.replay import Difference, Replay
from fraudwatch.settings import load_settings


def replay(
    partition: Annotated[
        int | None, typer.Option(min=0, help="Only this partition; all of them without it.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Most differences to show.")] = 20,
) -> None:
    """Recompute decisions and compare them.

    Every row of the ledger from the beginning, bit for bit: features, scores, outcome and reasons,
    with the model, policy and profiles that decided at its offset. Needs the bundles of these
    models and the secret key. Changes nothing and may run beside the workers. Exits 1 when
    something differs.
    """
    settings = load_settings()
    key = settings.require_secret()
    console = Console(stderr=True)
    engine = db.open_database(settings)
    try:
        with db.session_factory(engine)() as session, console.status("replaying") as status:
            found = Replay(
                session, settings.topic_transactions, partial(open_model, settings), key
            ).run(
                partition=partition,
                most=most,
                progress=lambda rows: status.update(f"replaying: {rows:,} transactions"),
            )
    finally:
        engine.dispose()
    if found.first:
        _show(found.first)
    typer.echo(
        f"{found.rows} decisions computed again, {found.different} differ"
        + ("; ok" if found.ok else "; NOT OK")
    )
    if not found.ok:
        raise typer.Exit(1)


def _show(differences: tuple[Difference, ...]) -> None:
    table = Table("Partition", "Offset", "What", "Recorded", "Computed", box=None)
    for one in differences:
        values = [_short(value) for value in (one.recorded, one.computed)]
        table.add_row(str(one.partition), str(one.offset), one.column, *values)
    Console().print(table)


def _short(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
