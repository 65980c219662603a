"""Writes the parts of the documentation that the code knows best, from settings to detectors.

`make docs` puts them between the markers in docs/; a test fails when they are stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from fastapi import FastAPI
from prometheus_client.metrics import MetricWrapperBase
from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from sqlalchemy import create_engine

from fraudwatch import telemetry
from fraudwatch.casework.app import create_app
from fraudwatch.casework.auth import Passwords
from fraudwatch.casework.context import Services
from fraudwatch.casework.db import session_factory
from fraudwatch.cli import COMMANDS, load
from fraudwatch.clock import SystemClock
from fraudwatch.detectors.registry import DETECTORS
from fraudwatch.detectors.training import DEFAULT
from fraudwatch.domain.access import ROLE_PERMISSIONS, Permission, Role
from fraudwatch.settings import Settings, load_settings
from streams.files import FilePublisher
from tests.docs.access import routes_table, rows, topics_table

ROOT = Path(__file__).parents[2]
BEGIN = "<!-- begin: written by `make docs` -->"
END = "<!-- end -->"


def settings_table() -> str:
    """Each setting: variable, default, meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        assert default is not PydanticUndefined, name
        shown = "(empty)" if default == "" else f"`{default}`"
        rows.append((f"`FRAUDWATCH_{name.upper()}`", shown, field.description or ""))
    return _table(("Variable", "Default", "Meaning"), rows)


def metrics_table() -> str:
    """Each metric: name, kind, labels, meaning."""
    rows: list[tuple[str, ...]] = []
    for value in vars(telemetry).values():
        if isinstance(value, MetricWrapperBase):
            kind = value._type
            name = value._name + ("_total" if kind == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in value._labelnames)
            rows.append((f"`{name}`", str(kind), labels, value._documentation))
    return _table(("Metric", "Kind", "Labels", "Meaning"), sorted(rows))


def commands_text() -> str:
    """Each command: what it does, its arguments and options."""
    parts = []
    for name, command in COMMANDS.items():
        for path, leaf in _leaves(name, load(command)):
            parts.append(f"### `fraudwatch {path}`\n\n{_plain(leaf.help)}\n")
            rows = [
                (_spelling(parameter), _default(parameter), _meaning(parameter))
                for parameter in leaf.params
            ]
            if rows:
                parts.append(_table(("Argument or option", "Default", "Meaning"), rows) + "\n")
    return "\n".join(parts).rstrip()


def detectors_table() -> str:
    """Each registered detector: what it finds, what it costs, where it fails."""
    rows = [
        (
            f"`{detector.name}`" + (" (default)" if detector.name in DEFAULT.detectors else ""),
            detector.card.finds,
            detector.card.cost,
            detector.card.limits,
        )
        for detector in DETECTORS.values()
    ]
    return _table(("Detector", "Finds", "Cost", "Limits"), rows)


def access_text() -> str:
    """Which role holds which permission, and which operation needs it."""
    roles = _table(
        ("Permission", *(f"`{role.value}`" for role in Role)),
        (
            (
                f"`{permission.value}`",
                *("yes" if permission in ROLE_PERMISSIONS[role] else "" for role in Role),
            )
            for permission in Permission
        ),
    )
    operations = _table(
        ("Operation", "What", "Needs"),
        (
            (f"`{method.upper()} {path}`", operation["summary"], _needs(operation))
            for path, methods in described_api()["paths"].items()
            for method, operation in methods.items()
        ),
    )
    return f"{roles}\n\n{operations}"


def access_matrix() -> str:
    """Who may use each route, page and topic."""
    matrix = routes_table(rows(described_app()))
    streams = topics_table(load_settings())
    return "\n\n".join(
        [
            f"## Routes and pages\n\n{_table(matrix[0], matrix[1:])}",
            f"## Topics\n\n{_table(streams[0], streams[1:])}",
        ]
    )


def described_api() -> dict[str, Any]:
    """The API's own description; nothing is connected to."""
    return described_app().openapi()


def described_app() -> FastAPI:
    """The application; nothing is connected to."""
    engine = create_engine("postgresql+psycopg://")
    settings = load_settings(secret_key="0" * 32)
    clock = SystemClock()
    services = Services(
        settings,
        engine,
        session_factory(engine),
        clock,
        Passwords(memory_kib=8),
        FilePublisher(Path(), clock),
    )
    return create_app(services)


def _needs(operation: dict[str, Any]) -> str:
    if not operation["security"]:
        return "nothing"
    return f"`{operation['x-permission']}`" if "x-permission" in operation else "to be signed in"


REFERENCES = {
    "docs/access.md": access_matrix,
    "docs/api.md": access_text,
    "docs/commands.md": commands_text,
    "docs/detectors.md": detectors_table,
    "docs/metrics.md": metrics_table,
    "docs/settings.md": settings_table,
}


def between_markers(text: str) -> str:
    """What stands between the markers of a document."""
    return text.split(BEGIN, 1)[1].split(END, 1)[0].strip()


def main() -> None:
    """Rewrite the generated parts."""
    for path, render in REFERENCES.items():
        file = ROOT / path
        text = file.read_text()
        head, rest = text.split(BEGIN, 1)
        tail = rest.split(END, 1)[1]
        file.write_text(f"{head}{BEGIN}\n\n{render()}\n\n{END}{tail}")
        typer.echo(f"wrote {path}")


def _leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from _leaves(f"{path} {name}", child)


def _plain(help_text: str | None) -> str:
    return "\n".join(line.strip() for line in (help_text or "").strip().splitlines())


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{option}`" for option in parameter.opts + parameter.secondary_opts)


def _meaning(parameter: Any) -> str:
    words = getattr(parameter, "help", "") or ""
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        words += f" One of {', '.join(f'`{choice.value}`' for choice in kind)}."
    return words


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    if default is None or default == "" or callable(default):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
        for line in lines
    )


if __name__ == "__main__":
    main()
