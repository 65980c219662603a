"""Commands about the ledger's tables and its archive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select

from fraudwatch.casework import archive as archiving
from fraudwatch.casework import db
from fraudwatch.casework.archive import TableOutcome
from fraudwatch.casework.archive_rows import read_archives
from fraudwatch.casework.ledger_tables import read_tables
from fraudwatch.clock import SystemClock
from fraudwatch.errors import Invalid
from fraudwatch.settings import load_settings

ledger = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List and archive days of the ledger."
)


@ledger.command(name="list")
def list_tables() -> None:
    """List the tables of days, and those that have become files of the archive."""
    shown = Table("First day", "Until", "Rows", "Size", "Where", box=None)
    with db.open_sessions(load_settings())() as session:
        for archived in read_archives(session):
            shown.add_row(
                str(archived.first),
                str(archived.until),
                f"{archived.rows:,}",
                f"{archived.size / 1e6:,.1f} MB",
                str(archived.path) if archived.deleted_at is None else "deleted",
            )
        for table in read_tables(session):
            size = session.scalar(select(func.pg_total_relation_size(f'"{table.name}"'))) or 0
            shown.add_row(str(table.first), str(table.until), "", f"{size / 1e6:,.1f} MB", "online")
    Console().print(shown)


@ledger.command()
def archive(
    before: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Archive the days before this one (UTC)."),
    ] = None,
    keep_days: Annotated[
        int | None, typer.Option(min=1, help="Archive what is older than so many days.")
    ] = None,
) -> None:
    """Make files of old days and drop their tables.

    Each day is written as Parquet with a manifest, read back and compared, then dropped; a day
    without rows is dropped and leaves no file. Without an option FRAUDWATCH_LEDGER_DAYS counts.
    Files older than FRAUDWATCH_ARCHIVE_DAYS are deleted then. May run beside the workers, and again
    after a failure. Exits 1 when a table had to stay.
    """
    settings = load_settings()
    if before is not None and keep_days is not None:
        raise Invalid("give --before or --keep-days, not both")
    days = keep_days or settings.ledger_days
    if before is None and not days:
        raise Invalid("give --before or --keep-days, or set FRAUDWATCH_LEDGER_DAYS")
    sessions, now = db.open_sessions(settings), SystemClock().now()
    today = now.astimezone(UTC).date()
    outcomes = archiving.archive(
        sessions,
        settings.archive_folder,
        settings.topic_transactions,
        before.date() if before is not None else today - timedelta(days=days),
        tell=_tell,
    )
    deleted = 0
    if settings.archive_days:
        deleted = archiving.delete_old(
            sessions, settings.archive_folder, today - timedelta(days=settings.archive_days), now
        )
    archived = sum(outcome.archived is not None for outcome in outcomes)
    dropped = sum(outcome.dropped for outcome in outcomes)
    typer.echo(f"{archived} archived, {dropped} dropped empty, {deleted} deleted for their age")
    if archived + dropped < len(outcomes):
        raise typer.Exit(1)


def _tell(outcome: TableOutcome) -> None:
    if outcome.archived is not None:
        file = outcome.archived
        typer.echo(f"{file.path}: {file.rows:,} rows, SHA-256 {file.sha256}")
    elif outcome.dropped:
        typer.echo(f"{outcome.table.name}: empty, dropped")
    else:
        typer.echo(f"{outcome.table.name} stays: {outcome.reason}", err=True)
