"""Commands about learning: train a model, and measure how good detection and learning are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fraudwatch.casework import db
from fraudwatch.cli.models import COMMAND_LINE
from fraudwatch.cli.publish import DataFile, MappingFile
from fraudwatch.clock import SystemClock
from fraudwatch.errors import ConfigurationError
from fraudwatch.evaluation import Recorded, WeeklyOptions, evaluate_weekly, record
from fraudwatch.evaluation_loop import LoopOptions, evaluate_loop
from fraudwatch.learning import Workshop
from fraudwatch.settings import load_settings
from streams.mapping import Mapping, read_frame


def train(
    file: Annotated[
        Path | None,
        typer.Argument(
            exists=True, dir_okay=False, help="Recorded transactions; without it, the ledger."
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Which column of FILE is which field."),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Learn from FILE's labels too, as if known late.")
    ] = False,
    days: Annotated[int, typer.Option(min=1, help="The newest days train.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Same seed and input, same model.")] = 1,
) -> None:
    """Train a model.

    From the ledger: on the features that decisions were made on, with all that people and
    chargebacks have said since. From a file: on its columns. The first model of all decides; a
    later one is the challenger, which scores beside the champion and decides nothing until it is
    promoted (`fraudwatch models promote`).
    """
    settings = load_settings()
    workshop = Workshop(
        sessions=db.open_sessions(settings),
        settings=settings,
        clock=SystemClock(),
        actor=COMMAND_LINE,
        seed=seed,
        days=days,
    )
    with _bar() as tell:
        if file is None:
            tell("reading the ledger", 0.0)
            row = workshop.train_from_ledger(tell)
        else:
            if mapping is None:
                raise ConfigurationError("--mapping is needed to read a file: see docs/mappings.md")
            tell(f"reading {file.name}", 0.0)
            row = workshop.train_from_file(
                file, Mapping.load(mapping), labels=labels, progress=tell
            )
    first, last = row.manifest["window"]
    typer.echo(f"{row.name}: learnt from {first[:10]} to {last[:10]}; it is the {row.status}")


def compare(
    budget: Annotated[int, typer.Option(min=1, help="Accounts looked at a day.")] = 100,
) -> None:
    """Compare the challenger with the champion.

    On transactions of the ledger that are later than what the challenger learnt from. The result,
    printed as JSON, is kept with the challenger; promotion stays a person's command.
    """
    settings = load_settings()
    workshop = Workshop(db.open_sessions(settings), settings, SystemClock(), COMMAND_LINE)
    typer.echo(json.dumps(workshop.evaluate_challenger(budget), indent=2))


class Protocol(StrEnum):
    """How a recorded file is replayed; see docs/evaluation.md."""

    WEEKLY = "weekly"
    LOOP = "loop"


class Labels(StrEnum):
    """What a weekly round learns from."""

    NONE = "none"
    ALL = "all"


_WEEKLY, _LOOP = WeeklyOptions(), LoopOptions()
_FIGURES = ("auc", "average_precision", "card_precision")


def evaluate(
    file: DataFile,
    mapping: MappingFile,
    protocol: Annotated[
        Protocol, typer.Option(help="weekly: what a model is worth; loop: the whole service.")
    ] = Protocol.WEEKLY,
    labels: Annotated[Labels, typer.Option(help="weekly: labels to learn from.")] = Labels.NONE,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day of the protocol.")
    ] = None,
    train_days: Annotated[int, typer.Option(help="weekly: days of training.")] = _WEEKLY.train_days,
    delay_days: Annotated[int, typer.Option(help="weekly: days until labels are known.")] = (
        _WEEKLY.delay_days
    ),
    test_days: Annotated[int, typer.Option(help="weekly: days of test.")] = _WEEKLY.test_days,
    step_days: Annotated[int, typer.Option(help="weekly: days between two rounds.")] = (
        _WEEKLY.step_days
    ),
    rounds: Annotated[int, typer.Option(help="weekly: how many rounds.")] = _WEEKLY.rounds,
    k: Annotated[int, typer.Option(help="weekly: accounts looked at a day.")] = _WEEKLY.k,
    days: Annotated[int, typer.Option(help="loop: live days.")] = _LOOP.days,
    budget: Annotated[int, typer.Option(help="loop: accounts looked at a day.")] = _LOOP.budget,
    audits: Annotated[int, typer.Option(help="loop: cleared ones looked at a day.")] = _LOOP.audits,
    chargeback_days: Annotated[
        str, typer.Option(help="loop: days until other frauds become known, or none.")
    ] = str(_LOOP.chargeback_days),
    analyst_error: Annotated[float, typer.Option(help="loop: share of wrong labels.")] = (
        _LOOP.analyst_error
    ),
    seed: Annotated[int, typer.Option(help="The same seed, the same figures.")] = _WEEKLY.seed,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the result there.")
    ] = None,
) -> None:
    """Measure detection by replaying a file.

    Through the product's own mapping, features, detectors and learning; the file's mapping must
    name the label's column. See docs/evaluation.md for the protocols and figures.
    """
    begins: dict[str, Any] = {} if start is None else {"start": start.date()}
    with _bar() as tell:
        tell(f"reading {file.name}", 0.0)
        recorded: Recorded = record(read_frame(file, Mapping.load(mapping)), file.name)
        if protocol is Protocol.WEEKLY:
            found = evaluate_weekly(
                recorded,
                WeeklyOptions(
                    labels=labels.value,
                    train_days=train_days,
                    delay_days=delay_days,
                    test_days=test_days,
                    step_days=step_days,
                    rounds=rounds,
                    k=k,
                    seed=seed,
                    **begins,
                ),
                tell,
            )
        else:
            found = evaluate_loop(
                recorded,
                LoopOptions(
                    days=days,
                    budget=budget,
                    audits=audits,
                    chargeback_days=_days_or_none(chargeback_days),
                    analyst_error=analyst_error,
                    seed=seed,
                    **begins,
                ),
                tell,
            )
    _show(found)
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=1) + "\n")


def _days_or_none(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isdecimal():
        raise typer.BadParameter("a number of days, or none", param_hint="--chargeback-days")
    return int(text)


def _show(found: dict[str, Any]) -> None:
    cards, alarm, intervals = found["card_precision"], found["false_alarm"], found["intervals"]
    loop = found["protocol"] == "loop"
    table = Table(box=None)
    table.add_column("", no_wrap=True)
    for name in ("AUC", "AP", f"CP@{cards['k']}", *(("Caught", "Labels") if loop else ())):
        table.add_column(name, justify="right")
    for part in found["parts"]:
        figures = [_figure(part[name]) for name in _FIGURES]
        if loop:
            figures += [_figure(part["caught"]), f"{part['labels']:,}"]
        table.add_row(f"{part['from']} to {part['to']}", *figures)
    table.add_section()
    values = {**found, "card_precision": cards["value"]}
    table.add_row("last days" if loop else "mean", *(_figure(values[name]) for name in _FIGURES))
    for place, end in enumerate(("from", "to")):
        table.add_row(
            f"95 % {end}", *(_figure(intervals[name][place]) for name in _FIGURES), style="dim"
        )
    console = Console()
    console.print(table)
    console.print(
        f"AP: average precision; CP: card precision, at best {_figure(cards['ceiling'])}. "
        f"Intervals by bootstrap over days. False alarms: promised "
        f"{alarm['promised']:.2%}, found {_share(alarm['found'])} ({_share(alarm['low'])} to "
        f"{_share(alarm['high'])}). {found['rows']:,} rows in "
        f"{found['seconds']:.0f} s."
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


@contextmanager
def _bar() -> Iterator[Any]:
    """A progress bar on stderr; yields what is called with a stage and the share of it done."""
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task("", total=1.0)
        yield lambda stage, share: bars.update(bar, description=stage, completed=share)
        bars.update(bar, description="done", completed=1.0)
