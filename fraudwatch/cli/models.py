"""Commands about models: which there are, which decides."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, db, models_registry
from fraudwatch.casework.models import ModelRow
from fraudwatch.clock import SystemClock
from fraudwatch.settings import load_settings

models = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List, show and promote models."
)

Name = Annotated[str, typer.Argument(help="The model's name, as `fraudwatch models list` shows.")]
COMMAND_LINE = "command line"


@models.command(name="list")
def list_models() -> None:
    """List all models, newest first; the champion decides, the challenger scores beside it."""
    table = Table(box=None)
    table.add_column("Name", no_wrap=True)
    for name in ("Status", "Created", "Trained on", "Label weight"):
        table.add_column(name)
    with db.open_sessions(load_settings())() as session:
        for row in models_registry.list_models(session):
            table.add_row(
                row.name,
                row.status,
                f"{row.created_at:%Y-%m-%d %H:%M}",
                f"{row.manifest['rows']['training']:,}",
                f"{row.manifest['label_weight']:.2f}",
            )
    Console().print(table)


@models.command()
def show(name: Name) -> None:
    """Print a model's manifest and evaluation as JSON."""
    with db.open_sessions(load_settings())() as session:
        row = models_registry.get_model(session, name)
        Console().print_json(
            data={
                "name": row.name,
                "status": row.status,
                "sha256": row.sha256,
                "manifest": row.manifest,
                "evaluation": row.evaluation,
            }
        )


@models.command()
def challenge(name: Name) -> None:
    """Let a model score beside the champion; it decides nothing."""
    now = SystemClock().now()
    with db.open_sessions(load_settings()).begin() as session:
        row = models_registry.get_model(session, name)
        models_registry.challenge(session, row, COMMAND_LINE, now)
        _audit(session, row, "model.challenge")
    typer.echo(f"{name} scores beside the champion from the next batch on")


@models.command()
def promote(name: Name) -> None:
    """Make a model the champion; promote the one before again to take it back."""
    now = SystemClock().now()
    with db.open_sessions(load_settings()).begin() as session:
        row = models_registry.get_model(session, name)
        models_registry.promote(session, row.id, COMMAND_LINE, now)
        _audit(session, row, "model.promote")
    typer.echo(f"{name} decides from the workers' next batch on")


def _audit(session: Session, row: ModelRow, action: str) -> None:
    """Write down what was done to a model from the command line."""
    audit.append(
        session,
        at=SystemClock().now(),
        actor=None,
        action=action,
        subject=f"model:{row.id}",
        data={"name": row.name, "sha256": row.sha256, "by": COMMAND_LINE},
    )
