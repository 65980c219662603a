"""Commands about persons' data: export, erasure, retention."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fraudwatch.casework import db, erasure, retention
from fraudwatch.casework.audit import By
from fraudwatch.casework.export import export as export_person
from fraudwatch.casework.retention import Days
from fraudwatch.clock import SystemClock
from fraudwatch.settings import load_settings

privacy = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Export and erase a person's data."
)

Account = Annotated[str | None, typer.Option("--account", help="Of this account.")]
Customer = Annotated[
    str | None, typer.Option("--customer", help="Of this customer, with all their accounts.")
]
Who = Annotated[str, typer.Option("--by", help="Who asks for it; goes into the audit log.")]
Why = Annotated[str, typer.Option("--why", help="Why; goes into the audit log.")]


@privacy.command()
def export(
    by: Who,
    why: Why,
    account: Account = None,
    customer: Customer = None,
    file: Annotated[Path | None, typer.Option(help="Write here instead of printing.")] = None,
) -> None:
    """Print all that is held of a person, as JSON.

    Their payments as they came in, archived ones as well; rows of every table about them, their
    cases and their payments; who looked at their data. Reads the whole ledger.
    """
    settings = load_settings()
    with db.database(settings) as sessions, sessions.begin() as session:
        found = export_person(
            session,
            settings.require_secret(),
            By(by, why),
            SystemClock().now(),
            account_id=account,
            customer_id=customer,
        )
    written = msgspec.json.format(msgspec.json.encode(found))
    if file is None:
        typer.echo(written.decode())
    else:
        file.touch(mode=0o600)
        file.write_bytes(written)


@privacy.command()
def erase(by: Who, why: Why, account: Account = None, customer: Customer = None) -> None:
    """Put pseudonyms in a person's place, in the database and in the archive.

    Proofs stay whole: `verify` and `audit verify` say the same before and after. Stop the workers
    first and start them afterwards: they remember accounts. Run it as the owner of the tables.
    Exits 1 when a table still names the person.
    """
    settings = load_settings()
    with db.database(settings) as sessions:
        done = erasure.erase(
            sessions,
            settings.archive_folder,
            By(by, why),
            SystemClock().now(),
            account_id=account,
            customer_id=customer,
        )
    for table, rows in sorted(done.rows.items()):
        typer.echo(f"{table}: {rows:,} rows")
    for one in done.archives:
        typer.echo(f"{one['file']}: written anew, SHA-256 {one['is']}")
    typer.echo(f"erased; {done.pseudonym} stands for the account now")
    if done.left:
        typer.echo(f"still named in: {', '.join(done.left)}", err=True)
        raise typer.Exit(1)


@privacy.command()
def retain(
    by: Who = "retention",
    why: Why = "the settings say so",
) -> None:
    """Remove what is older than the settings allow.

    FRAUDWATCH_RETAIN_NOTES_DAYS and its siblings say what and when. For cron, as the owner of the
    tables.
    """
    settings = load_settings()
    days = Days(
        notes=settings.retain_notes_days,
        sessions=settings.retain_sessions_days,
        looks=settings.retain_looks_days,
        audit=settings.retain_audit_days,
    )
    with db.database(settings) as sessions, sessions.begin() as session:
        done = retention.retain(session, days, By(by, why), SystemClock().now())
    typer.echo(", ".join(f"{name}: {count:,}" for name, count in done.items()) or "nothing to do")
