"""Commands about the database's own rights."""

from __future__ import annotations

from typing import Annotated

import typer

from fraudwatch.casework import db as database
from fraudwatch.casework import grants
from fraudwatch.settings import load_settings

db = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Let a database role run the service."
)


@db.callback()
def _group() -> None:
    """Let a database role run the service."""


@db.command()
def grant(
    role: Annotated[str, typer.Argument(help="A role of the database (CREATE ROLE … LOGIN).")],
) -> None:
    """Give a role the rights that the API and the workers need.

    It can read everything, add rows, and change what may change. It cannot change or remove what
    happened, nor alter a table or a trigger. Run it as the owner of the tables, and let the service
    connect as that role. `fraudwatch migrate` renews the rights.
    """
    with database.database(load_settings()) as sessions, sessions.begin() as session:
        grants.grant(session, role)
    typer.echo(f"{role} may run the service, and change no record")
