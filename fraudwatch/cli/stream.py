"""Commands about the stream: topics, files to send, the proof."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fraudwatch import bootstrap
from fraudwatch.casework.verify import Proof
from fraudwatch.casework.verify import verify as prove
from fraudwatch.settings import load_settings


def verify(
    as_json: Annotated[bool, typer.Option("--json", help="Print the proof as JSON.")] = False,
) -> None:
    """Prove that each message was decided once.

    For each input partition: offsets read, ledger rows, dead letters, missing and doubled ones,
    counted in the database. Exits 1 when something does not add up. May run beside the workers.
    """
    settings = load_settings()
    with bootstrap.open_sessions(settings)() as session:
        proof = prove(session, settings.topic_transactions)
    if as_json:
        typer.echo(json.dumps(proof.as_dict(), indent=2))
    else:
        _show(proof)
    if not proof.ok:
        raise typer.Exit(1)


_COUNTS = (
    "read",
    "rows",
    "dead_letters",
    "empty",
    "expired",
    "missing",
    "doubled",
    "beyond",
    "unpublished",
)


def _show(proof: Proof) -> None:
    table = Table(box=None)
    table.add_column("topic")
    for name in ("partition", *_COUNTS):
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("")
    for partition in proof.partitions:
        counts = partition.as_dict()
        table.add_row(
            partition.topic,
            str(partition.partition),
            *(f"{counts[name]:,}" for name in _COUNTS),
            "ok" if partition.ok else "[bold red]wrong[/]",
        )
    Console().print(table)
    typer.echo(
        f"transactions decided twice: {proof.doubled_transactions}; "
        f"messages waiting to leave: {proof.unpublished_outbox}; "
        + ("ok" if proof.ok else "NOT OK")
    )
