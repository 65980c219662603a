"""Commands about late truth."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import audit, db
from fraudwatch.casework.label_files import BadLine, Columns, read_labels
from fraudwatch.casework.late_truth import TakenIn, take_in
from fraudwatch.clock import Clock, SystemClock
from fraudwatch.domain.label import Label
from fraudwatch.errors import ConfigurationError
from fraudwatch.settings import load_settings

labels = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Take in late truth from files."
)

_CHUNK = 1000
_SHOWN = 100


@labels.callback()
def _group() -> None:
    """Take in late truth from files."""


@labels.command(name="import")
def import_file(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV, Parquet or JSON lines.")
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(help="Our field and their column, e.g. `transaction_id=REF`. Repeatable."),
    ] = None,
    all_rows: Annotated[
        list[str] | None,
        typer.Option("--all", help="A value for every row, e.g. `source=chargeback`. Repeatable."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say what would come in.")] = False,
) -> None:
    """Take in a file of chargebacks or appeals.

    Fields: transaction_id, fraud, source (chargeback or appeal) and known_at. Bad lines are named
    with their reason, and all others are taken in; then the exit code is 1. A second import of the
    same file changes nothing. A label that contradicts a decision raises its case for review.
    """
    columns = Columns(_pairs(column), _pairs(all_rows))
    clock = SystemClock()
    good: list[Label] = []
    bad: list[BadLine] = []
    for found in read_labels(file, columns, clock.now()):
        if isinstance(found, BadLine):
            bad.append(found)
        else:
            good.append(found[1])
    for line in bad[:_SHOWN]:
        typer.echo(f"{file.name} line {line.line}: {line.reason}", err=True)
    if len(bad) > _SHOWN:
        typer.echo(f"… and {len(bad) - _SHOWN:,} more", err=True)
    if check:
        typer.echo(f"{len(good):,} labels would come in, {len(bad):,} lines are bad")
    else:
        with db.database(load_settings()) as sessions:
            done = _take_in(sessions, file, good, clock)
        typer.echo(
            f"{done.new:,} labels taken in, {done.known:,} known before, {len(bad):,} bad lines, "
            f"{len(done.raised):,} cases raised"
        )
    if bad:
        raise typer.Exit(1)


def _take_in(
    sessions: sessionmaker[Session], file: Path, good: list[Label], clock: Clock
) -> TakenIn:
    """A thousand at a time: what has come in before an error stays, and a second try goes on."""
    new = known = 0
    raised: dict[int, None] = {}
    for start in range(0, len(good), _CHUNK):
        with db.connect_errors(), sessions.begin() as session:
            done = take_in(session, good[start : start + _CHUNK], by=None, now=clock.now())
        new, known = new + done.new, known + done.known
        raised |= dict.fromkeys(done.raised)
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    with db.connect_errors(), sessions.begin() as session:
        audit.append(
            session,
            at=clock.now(),
            actor=None,
            action="labels.imported",
            subject=f"file:{sha256}",
            data={"new": new, "known": known, "raised": list(raised)},
        )
    return TakenIn(new, known, tuple(raised))


def _pairs(options: list[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for option in options or ():
        name, equals, value = option.partition("=")
        if not equals or not value:
            raise ConfigurationError(f"say FIELD=VALUE, not {option!r}")
        pairs[name] = value
    return pairs
