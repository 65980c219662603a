"""Commands about the audit log: the check, and heads that leave."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import text

from fraudwatch.casework import audit as changes
from fraudwatch.casework import audit_heads, db, looks
from fraudwatch.casework.audit_chain import AuditCheck
from fraudwatch.casework.audit_heads import Heads
from fraudwatch.clock import SystemClock
from fraudwatch.settings import Settings, load_settings

audit = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Check the audit log; let its heads leave."
)

_TOPIC = "topic"


@audit.command()
def verify(
    heads: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare with heads that left before: a file of them, or `topic` for "
            "FRAUDWATCH_TOPIC_AUDIT_HEADS. Can be given more than once."
        ),
    ] = None,
) -> None:
    """Check both hash chains, of changes and of looks.

    Names each row that was changed, removed, inserted or moved. A chain that was rewritten as a
    whole, or cut off at its end, shows only by heads that left before. Exits 1 when something is
    not as it was written. May run beside everything else.
    """
    settings = load_settings()
    known = [one for place in heads or () for one in _read(settings, place)]
    with db.database(settings) as sessions, sessions() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        session.execute(text("SET LOCAL statement_timeout = 0"))
        found = {
            "changes": changes.verify(session, audit_heads.of_changes(known)),
            "looks": looks.verify(session, audit_heads.of_looks(known)),
        }
    for name, check in found.items():
        _tell(name, check)
    if heads:
        typer.echo(f"compared with {len(known):,} heads that left before")
    if not all(check.ok for check in found.values()):
        raise typer.Exit(1)


@audit.command(name="heads")
def tell_heads(
    file: Annotated[
        Path | None, typer.Option(help="Add them to this file instead of printing them.")
    ] = None,
) -> None:
    """Write down the heads of both chains, as one line.

    For cron, towards a place where the database's operator cannot write. The API sends the same
    to the topic by itself (FRAUDWATCH_AUDIT_HEADS_SECONDS).
    """
    now = SystemClock().now()
    with db.database(load_settings()) as sessions:
        with sessions.begin() as session:
            while looks.seal(session):
                pass
            looks.mark(session, now)
        with sessions() as session:
            heads = audit_heads.current(session, now)
    if file is None:
        typer.echo(heads.line().decode())
    else:
        audit_heads.append_to(file, heads)


def _read(settings: Settings, place: str) -> list[Heads]:
    if place == _TOPIC:
        return audit_heads.read_topic(settings)
    return audit_heads.read_file(Path(place))


def _tell(name: str, check: AuditCheck) -> None:
    for fault in check.faults:
        typer.echo(f"{name}: {fault}", err=True)
    if check.found > len(check.faults):
        typer.echo(f"{name}: {check.found - len(check.faults)} more", err=True)
    if check.expired:
        typer.echo(f"{name}: rows up to {check.expired} were removed for their age")
    newest = f", the newest is row {check.last}, {check.head}" if check.rows else ""
    typer.echo(f"{name}: {check.rows:,} rows{newest}; " + ("ok" if check.ok else "NOT OK"))
