"""Commands about the stream: topics, schema, the proof."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fraudwatch.casework import db
from fraudwatch.casework.verify import Proof
from fraudwatch.casework.verify import verify as prove
from fraudwatch.domain.transaction import json_schema
from fraudwatch.settings import load_settings
from streams.topic_check import topic_differences
from streams.topics import create_topics


def topics(
    check: Annotated[
        bool,
        typer.Option("--check", help="Create nothing; exit 1 when something is not as set."),
    ] = False,
) -> None:
    """Create the topics of the stream.

    Those that exist stay as they are; what differs from the settings (replication, min ISR,
    retention, message size) is told. Refuses when one has another number of partitions than
    FRAUDWATCH_PARTITIONS says: a key must stay in its partition.
    """
    settings = load_settings()
    if not check:
        for name, done in create_topics(settings).items():
            typer.echo(f"{name}: {done}")
    differences = topic_differences(settings)
    for difference in differences:
        typer.echo(str(difference), err=True)
    if check and differences:
        raise typer.Exit(1)


def schema() -> None:
    """Print the JSON Schema of a transaction."""
    typer.echo(json.dumps(json_schema(), indent=2))


def verify(
    as_json: Annotated[bool, typer.Option("--json", help="Print the proof as JSON.")] = False,
) -> None:
    """Prove that each message was decided once.

    For each input partition: offsets read, ledger rows, dead letters, missing and doubled ones,
    counted in the database. Exits 1 when something does not add up. May run beside the workers.
    """
    settings = load_settings()
    with db.open_sessions(settings)() as session:
        proof = prove(session, settings.topic_transactions)
    if as_json:
        typer.echo(json.dumps(proof.as_dict(), indent=2))
    else:
        _show(proof)
    if not proof.ok:
        raise typer.Exit(1)


_COUNTS = {
    "read": "read",
    "rows": "rows",
    "dead_letters": "dead\nletters",
    "missing": "missing",
    "doubled": "doubled",
    "unpublished": "not\npublished",
}
_RARE = ("empty", "expired", "acknowledged", "beyond")


def _show(proof: Proof) -> None:
    """A table that fits 80 columns; what is rare follows in words."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("topic, partition", no_wrap=True)
    for heading in _COUNTS.values():
        table.add_column(heading, justify="right")
    table.add_column("", no_wrap=True)
    rare = []
    for partition in proof.partitions:
        count = partition.as_dict()
        name = f"{count['topic']} {count['partition']}"
        table.add_row(
            name,
            *(f"{count[column]:,}" for column in _COUNTS),
            "ok" if count["ok"] else "[bold red]wrong[/]",
        )
        if some := [f"{count[kind]:,} {kind}" for kind in _RARE if count[kind]]:
            rare.append(f"{name}: {', '.join(some)}")
    Console().print(table)
    for line in rare:
        typer.echo(line)
    if proof.archived_rows or proof.deleted_rows:
        typer.echo(
            f"rows in the archive: {proof.archived_rows:,}; deleted with it: {proof.deleted_rows:,}"
        )
    for fault in proof.archive_faults:
        typer.echo(f"archive: {fault}", err=True)
    typer.echo(
        f"transactions decided twice: {proof.doubled_transactions}; "
        f"messages waiting to leave: {proof.unpublished_outbox}; "
        + ("ok" if proof.ok else "NOT OK")
    )
