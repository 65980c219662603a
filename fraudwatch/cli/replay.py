"""The command that computes decisions once more."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from fraudwatch.bootstrap import open_model
from fraudwatch.casework import db, persons
from fraudwatch.casework.steering import Registered
from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.replay import Decision, Difference, Replay
from fraudwatch.settings import load_settings


def replay(
    decision: Annotated[
        str | None,
        typer.Argument(help="A transaction's id: compute its decision alone, and show its parts."),
    ] = None,
    partition: Annotated[
        int | None, typer.Option(min=0, help="Only this partition; all of them without it.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Most differences to show.")] = 20,
) -> None:
    """Recompute decisions and compare them.

    Every row of the ledger from the beginning, bit for bit: features, scores, outcome and reasons,
    with the model, policy and profiles that decided at its offset; or one decision, with what came
    in, what was computed from it and by what. Needs the bundles of these
    models and the secret key. Changes nothing and may run beside the workers. Exits 1 when
    something differs.
    """
    settings = load_settings()
    key = settings.require_secret()
    console = Console(stderr=True)
    engine = db.open_database(settings)
    try:
        with db.session_factory(engine)() as session, console.status("replaying") as status:
            again = Replay(session, settings.topic_transactions, partial(open_model, settings), key)
            if decision is not None:
                one = again.decision(decision)
                status.stop()
                _show_decision(one)
                return
            found = again.run(
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
        + (f", {found.erased} of erased persons left out" if found.erased else "")
        + ("; ok" if found.ok else "; NOT OK")
    )
    if not found.ok:
        raise typer.Exit(1)


def _show_decision(one: Decision) -> None:
    """What came in, what was computed, what was decided; exits 1 where something differs."""
    console = Console()
    received = {
        k: v for k, v in msgspec.to_builtins(one.transaction).items() if v not in (None, {})
    }
    _pairs(console, "What came in", received)
    _pairs(console, f"Features, after {one.earlier} earlier of the account", one.features)
    _pairs(
        console,
        "Decided by",
        {
            "partition, offset": f"{one.partition}, {one.offset}",
            "at": one.scored_at,
            "model": _model(one.champion),
            "beside it": _model(one.challenger),
            "policy": one.policy.policy_id,
            "review from": one.policy.review_from,
            "high risk from": one.policy.high_risk_from,
            "merchant profiles": one.profile_version or "none",
            "features version": one.computed["features_version"],
        },
    )
    table = Table("Decision", "Recorded", "Computed", "", box=None, title_justify="left")
    for name, value in one.computed.items():
        same = "equal" if one.recorded[name] == value else "[bold red]DIFFERS[/]"
        table.add_row(name, *(_short(_worded(name, v)) for v in (one.recorded[name], value)), same)
    console.print(table)
    if persons.is_erased(one.transaction):
        typer.echo("a person was erased: what came in is no longer whole, and features may differ")
    typer.echo("equal bit for bit" if not one.differences else "NOT EQUAL")
    if one.differences:
        raise typer.Exit(1)


def _pairs(console: Console, title: str, values: Mapping[str, object]) -> None:
    table = Table(title, "", box=None)
    for name, value in values.items():
        table.add_row(name, str(value))
    console.print(table)
    console.print()


def _model(registered: Registered | None) -> str:
    return "none" if registered is None else f"{registered.name}, SHA-256 {registered.sha256}"


def _worded(name: str, value: object) -> object:
    if name == "outcome" and isinstance(value, int):
        return Outcome(value).word
    if name == "rule" and isinstance(value, int):
        return Rule(value).name.lower()
    return value


def _show(differences: tuple[Difference, ...]) -> None:
    table = Table("Partition", "Offset", "What", "Recorded", "Computed", box=None)
    for one in differences:
        values = [_short(value) for value in (one.recorded, one.computed)]
        table.add_row(str(one.partition), str(one.offset), one.column, *values)
    Console().print(table)


def _short(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
