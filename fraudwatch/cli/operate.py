"""Commands of the operator: the database's schema, people, tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fraudwatch.casework import db
from fraudwatch.casework import tokens as api_tokens
from fraudwatch.casework import users as people
from fraudwatch.casework.auth import Passwords
from fraudwatch.clock import SystemClock
from fraudwatch.domain.access import Permission, Role
from fraudwatch.settings import load_settings

users = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Create, list and disable people."
)
tokens = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Create and revoke tokens for programs."
)

Name = Annotated[str, typer.Argument(help="The user's name, as given at sign-in.")]
Units = Annotated[
    list[str] | None,
    typer.Option("--unit", help="A unit whose cases the user sees; may be repeated. None: all."),
]
TokenName = Annotated[str, typer.Option("--name", help="What the token is for.")]


def migrate() -> None:
    """Bring the database to this version."""
    db.migrate_database(load_settings())
    typer.echo("the database schema is at this program's version")


@users.command()
def create(
    name: Name,
    role: Annotated[Role, typer.Option(help="What the user does here.")],
    display_name: Annotated[str, typer.Option(help="Shown to others; the name if empty.")] = "",
    units: Units = None,
) -> None:
    """Create a user; a person gets a one-time password, to be changed at the first sign-in.

    The password is good for 72 hours. The first administrator is made here, and nowhere else.
    """
    with db.open_sessions(load_settings()).begin() as session:
        _, password = people.invite(
            session,
            Passwords(),
            name=name,
            display_name=display_name,
            role=role,
            units=units or None,
            now=SystemClock().now(),
        )
    if password is None:
        typer.echo(f"created the service {name}; next: fraudwatch tokens create {name} --name ...")
    else:
        typer.echo(f"created {name} ({role.value}), one-time password: {password}")


@users.command(name="list")
def list_users() -> None:
    """List all users."""
    table = Table("Name", "Role", "Units", "Shown as", "State", box=None)
    now = SystemClock().now()
    with db.open_sessions(load_settings())() as session:
        for user in people.list_users(session):
            locked = user.locked_until is not None and user.locked_until > now
            state = "disabled" if user.disabled else "slowed down" if locked else ""
            units = "all" if user.units is None else ", ".join(user.units)
            table.add_row(user.name, user.role, units, user.display_name, state)
    Console().print(table)


@users.command()
def reset_password(name: Name) -> None:
    """Give a person a new one-time password; open sessions end."""
    with db.open_sessions(load_settings()).begin() as session:
        user = people.get_user(session, name)
        password = people.reset_password(session, Passwords(), user, now=SystemClock().now())
    typer.echo(f"one-time password of {name}: {password}")


@users.command()
def change(
    name: Name,
    role: Annotated[Role | None, typer.Option(help="Another role.")] = None,
    units: Units = None,
    all_units: Annotated[bool, typer.Option("--all-units", help="Open all units.")] = False,
) -> None:
    """Give a user another role or other units; open sessions end."""
    with db.open_sessions(load_settings()).begin() as session:
        people.change_user(
            session,
            people.get_user(session, name),
            role=role,
            units=units or None,
            all_units=all_units,
            now=SystemClock().now(),
        )
    typer.echo(f"changed {name}")


@users.command()
def reset_second_factor(name: Name) -> None:
    """Remove a person's second factor, for who lost it; open sessions end."""
    with db.open_sessions(load_settings()).begin() as session:
        people.reset_second_factor(session, people.get_user(session, name), now=SystemClock().now())
    typer.echo(f"{name} signs in with the password alone")


@users.command()
def disable(name: Name) -> None:
    """Shut a user out at once; what they did stays."""
    _set_disabled(name, disabled=True)


@users.command()
def enable(name: Name) -> None:
    """Let a disabled user in again."""
    _set_disabled(name, disabled=False)


def _set_disabled(name: str, *, disabled: bool) -> None:
    with db.open_sessions(load_settings()).begin() as session:
        user = people.get_user(session, name)
        people.set_disabled(session, user, disabled, now=SystemClock().now())
    typer.echo(f"{name} is {'disabled' if disabled else 'enabled'}")


@tokens.command(name="create")
def create_token(
    user: Name,
    name: TokenName,
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it is good for.")] = 90,
    permissions: Annotated[
        list[Permission] | None,
        typer.Option(
            "--permission", help="One of the user's that it has; may be repeated. None: all."
        ),
    ] = None,
) -> None:
    """Create a token that acts as the user; it is shown this once, on standard output."""
    with db.open_sessions(load_settings()).begin() as session:
        made = api_tokens.issue(
            session,
            people.get_user(session, user),
            name=name,
            lifetime=timedelta(days=days),
            permissions=permissions or None,
            now=SystemClock().now(),
        )
    typer.echo(made.token)


@tokens.command()
def revoke(user: Name, name: TokenName) -> None:
    """End all tokens of this name of the user."""
    with db.open_sessions(load_settings()).begin() as session:
        ended = api_tokens.revoke(
            session, people.get_user(session, user), name=name, now=SystemClock().now()
        )
    typer.echo(f"{ended} ended")
