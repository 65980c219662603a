"""The commands. Thin: each reads settings, asks `fraudwatch.bootstrap` for parts, and runs them.

A command's module is imported when the command runs, not before: the parts behind some of them
(compiled kernels, detectors, the web framework) take seconds to import, and `fraudwatch --help`
must answer at once. `COMMANDS` is the one table of all of them.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version as installed_version
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from fraudwatch.errors import ConfigurationError, FraudwatchError


class Command(NamedTuple):
    """Where a command lives (`module` in this package, `name` a function or a `Typer` in it)."""

    module: str
    name: str
    group: str
    help: str


_START, _STREAM, _MODELS, _OPERATE = "Start", "Stream", "Models", "Operate"

COMMANDS: dict[str, Command] = {
    "demo": Command("demo", "demo", _START, "Start everything on this machine, with demo data."),
    "api": Command("serve", "api", _START, "Serve the casework API and the console."),
    "worker": Command("serve", "worker", _START, "Score transactions from the stream."),
    "topics": Command("stream", "topics", _STREAM, "Create the topics of the stream."),
    "grow": Command("grow", "grow", _STREAM, "Add partitions to the topics."),
    "publish": Command("publish", "publish", _STREAM, "Send a file of transactions to the stream."),
    "simulate": Command("simulate", "simulate", _STREAM, "Send simulated transactions, live."),
    "schema": Command("stream", "schema", _STREAM, "Print the JSON Schema of a transaction."),
    "verify": Command("stream", "verify", _STREAM, "Prove that each message was decided once."),
    "dead-letters": Command(
        "dead_letters", "dead_letters", _STREAM, "List and replay messages that could not be used."
    ),
    "gaps": Command("dead_letters", "gaps", _STREAM, "Acknowledge messages that expired unread."),
    "labels": Command("labels", "labels", _STREAM, "Take in late truth from files."),
    "replay": Command("replay", "replay", _STREAM, "Recompute decisions and compare them."),
    "ledger": Command("ledger", "ledger", _STREAM, "List and archive days of the ledger."),
    "train": Command("learn", "train", _MODELS, "Train a model."),
    "models": Command("models", "models", _MODELS, "List, show and promote models."),
    "compare": Command("learn", "compare", _MODELS, "Compare the challenger with the champion."),
    "evaluate": Command("learn", "evaluate", _MODELS, "Measure detection by replaying a file."),
    "migrate": Command("operate", "migrate", _OPERATE, "Bring the database to this version."),
    "db": Command("database", "db", _OPERATE, "Let a database role run the service."),
    "privacy": Command("privacy", "privacy", _OPERATE, "Export and erase a person's data."),
    "audit": Command("audit", "audit", _OPERATE, "Check the audit log; let its heads leave."),
    "webhooks": Command("webhooks", "webhooks", _OPERATE, "Send what waits for webhooks."),
    "users": Command("operate", "users", _OPERATE, "Create, list and disable people."),
    "tokens": Command("operate", "tokens", _OPERATE, "Create and revoke tokens for programs."),
}


class _Deferred(TyperCommand):
    """Stands for a command in `--help`; becomes the real one when arguments are parsed."""

    def __init__(self, name: str, command: Command) -> None:
        super().__init__(name, help=command.help, rich_help_panel=command.group)
        self.command = command

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        return load(self.command).make_context(info_name, args, parent, **extra)


class _Commands(TyperGroup):
    """The group of `COMMANDS`."""

    def __init__(self, **attrs: Any) -> None:
        deferred = {name: _Deferred(name, command) for name, command in COMMANDS.items()}
        super().__init__(**attrs | {"commands": deferred})


def load(command: Command) -> Any:
    """Import a command's module and build the command."""
    try:
        module = importlib.import_module(f"{__name__}.{command.module}")
    except OSError as error:
        if "libgomp" not in str(error):
            raise
        raise ConfigurationError(
            "the system's OpenMP library is missing, which LightGBM needs: install it "
            "(Debian, Ubuntu: apt install libgomp1)"
        ) from error
    found = getattr(module, command.name)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command()(found)
        found = single
    return typer.main.get_command(found)


app = typer.Typer(
    cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fraudwatch {installed_version('fraudwatch')}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Finds anomalous financial transactions and has people decide what they mean.

    Settings come from the environment (FRAUDWATCH_…): see docs/settings.md.
    """


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 an error of ours, 2 wrong usage, 3 a worker that hung,
    130 interrupted."""
    try:
        app(prog_name="fraudwatch")
    except FraudwatchError as error:
        typer.echo(f"fraudwatch: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
