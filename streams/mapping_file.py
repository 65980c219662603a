"""The mapping file: how an institution's own columns become ours. See docs/mappings.md."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pandas as pd

from fraudwatch.domain.codes import COUNTRIES, CURRENCY_DECIMALS
from fraudwatch.domain.limits import ATTRIBUTE_NAME_LENGTH, ATTRIBUTES, TEXT_LENGTHS
from fraudwatch.domain.strict import text_fault
from fraudwatch.domain.transaction import Transaction, ip_fault
from fraudwatch.errors import ConfigurationError

FIELDS = tuple(name for name in Transaction.__struct_fields__ if name != "attributes")
REQUIRED = ("transaction_id", "account_id", "event_time", "amount", "currency")
COORDINATES = {"latitude": 90.0, "longitude": 180.0}
TICKS = ("seconds", "milliseconds", "microseconds")

Check = Callable[[str], str | None]

_SECTIONS = {
    "fields": frozenset(FIELDS),
    "constants": frozenset(FIELDS) - {"transaction_id", "account_id", "event_time", "amount"},
    "units": frozenset({"time", "zone", "amount", "decimal_point"}),
    "csv": frozenset({"delimiter"}),
    "label": frozenset({"column", "fraud", "legitimate"}),
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column that is kept under a name of its own; `kind` is `auto`, `number` or `text`."""

    column: str
    kind: str = "auto"


@dataclass(frozen=True, slots=True)
class Label:
    """The column that holds the truth, for training and evaluation only."""

    column: str
    fraud: frozenset[str] = frozenset({"1", "true"})
    legitimate: frozenset[str] = frozenset({"0", "false"})


@dataclass(frozen=True, slots=True)
class Mapping:
    """Our field = their column, and what the file leaves unsaid.

    `row_prefix` is set where the source has no transaction id: ids are the prefix and the number
    of the row. `patterns` take every column that matches and is not named elsewhere as attribute.
    """

    path: Path
    fields: dict[str, str]
    row_prefix: str | None = None
    constants: dict[str, str | float] = field(default_factory=dict)
    time: str = "iso"
    zone: str = "UTC"
    minor_amounts: bool = False
    decimal_point: str = "."
    delimiter: str = ","
    attributes: dict[str, Attribute] = field(default_factory=dict)
    patterns: tuple[str, ...] = ()
    label: Label | None = None
    reporting: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Mapping:
        """Read and check a mapping; `ConfigurationError` names file, key and what to do."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError(f"{path}: cannot be read as a text file") from None
        try:
            raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{path}: not TOML: {error}") from None
        return _Reader(path, raw).mapping()

    def resolve(self, names: Iterable[str]) -> dict[str, Attribute]:
        """The attributes of a file with these columns: those named, and those that match.

        Raises `ConfigurationError` for columns that the mapping names and the file lacks.
        """
        names = list(names)
        present = set(names)
        for key, column in self._named_columns():
            if column not in present:
                raise ConfigurationError(
                    f"{self.path}: {key}: the file has no column {column!r}; "
                    f"it has {', '.join(names)}"
                )
        taken = {column for _, column in self._named_columns()}
        resolved = dict(self.attributes)
        for pattern in self.patterns:
            matching = [name for name in names if fnmatchcase(name, pattern) and name not in taken]
            if not matching:
                raise ConfigurationError(f"{self.path}: attributes: no column matches {pattern!r}")
            resolved.update((name, Attribute(name)) for name in matching)
        for name in resolved:
            if text_fault(name, ATTRIBUTE_NAME_LENGTH):
                raise ConfigurationError(
                    f"{self.path}: attributes: {name!r} must be 1 to {ATTRIBUTE_NAME_LENGTH} "
                    "visible characters; give the column another name under [attributes]"
                )
        if len(resolved) > ATTRIBUTES:
            raise ConfigurationError(
                f"{self.path}: attributes: {len(resolved)} columns, at most {ATTRIBUTES} are kept"
            )
        return resolved

    def columns(self, attributes: dict[str, Attribute]) -> list[str]:
        """All columns of the file that are needed, each once."""
        named = [column for _, column in self._named_columns()]
        return list(dict.fromkeys([*named, *(a.column for a in attributes.values())]))

    def _named_columns(self) -> list[tuple[str, str]]:
        named = [(f"[fields] {name}", column) for name, column in self.fields.items()]
        named += [(f"[attributes] {name}", a.column) for name, a in self.attributes.items()]
        named += [(f"[reporting] {name}", column) for name, column in self.reporting.items()]
        if self.label:
            named.append(("[label] column", self.label.column))
        return named


def field_check(name: str) -> Check:
    """What tells the reason why a text cannot stand in a field; None where it can."""
    if name == "currency":
        return lambda text: None if text in CURRENCY_DECIMALS else "unknown_currency"
    if name == "country":
        return lambda text: None if text in COUNTRIES else "unknown_country"
    if name == "ip":
        return ip_fault
    return partial(text_fault, longest=TEXT_LENGTHS[name])


def _is_time_format(form: str) -> bool:
    try:
        pd.to_datetime(["no time"], format=form, errors="coerce")
    except ValueError:
        return False
    return True


class _Reader:
    """Checks the parts of a mapping; every complaint names file and key."""

    def __init__(self, path: Path, raw: dict[str, object]) -> None:
        self._path = path
        self._raw = raw

    def mapping(self) -> Mapping:
        known = {*_SECTIONS, "attributes", "reporting"}
        for section in self._raw:
            if section not in known:
                raise self._bad(section, f"unknown; sections are {', '.join(sorted(known))}")
        units = self._section("units")
        fields = self._section("fields")
        row_prefix = self._row_prefix(fields.pop("transaction_id", None), fields)
        mapping = Mapping(
            path=self._path,
            fields={name: self._text("fields", name, item) for name, item in fields.items()},
            row_prefix=row_prefix,
            constants=self._constants(),
            time=self._time(units.get("time", "iso")),
            zone=self._zone(units.get("zone", "UTC")),
            minor_amounts=self._choice("units", "amount", units, ("major", "minor")) == "minor",
            decimal_point=self._choice("units", "decimal_point", units, (".", ",")),
            delimiter=self._delimiter(),
            attributes=self._attributes(),
            patterns=self._patterns(),
            label=self._label(),
            reporting=self._reporting(),
        )
        self._check_whole(mapping)
        return mapping

    def _check_whole(self, mapping: Mapping) -> None:
        for name in mapping.constants:
            if name in mapping.fields:
                raise self._bad(f"[constants] {name}", "is also under [fields]; keep one of them")
        given = {*mapping.fields, *mapping.constants}
        if mapping.row_prefix is not None:
            given.add("transaction_id")
        for name in REQUIRED:
            if name not in given:
                raise self._bad(
                    f"[fields] {name}", f'is required: name the column, e.g. {name} = "…"'
                )
        hidden = set(mapping.reporting.values())
        if mapping.label:
            hidden.add(mapping.label.column)
        named = [(f"[fields] {name}", column) for name, column in mapping.fields.items()]
        named += [(f"[attributes] {name}", a.column) for name, a in mapping.attributes.items()]
        for key, column in named:
            if column in hidden:
                raise self._bad(
                    key, f"{column!r} is the label or for reporting, and never part of a message"
                )

    def _row_prefix(self, item: object, fields: dict[str, object]) -> str | None:
        if isinstance(item, dict):
            prefix = item.get("row")
            if set(item) != {"row"} or not isinstance(prefix, str) or text_fault(prefix + "1", 100):
                raise self._bad("[fields] transaction_id", 'must be a column or { row = "prefix" }')
            return prefix
        if item is not None:
            fields["transaction_id"] = item
        return None

    def _constants(self) -> dict[str, str | float]:
        constants: dict[str, str | float] = {}
        for name, item in self._section("constants").items():
            key = f"[constants] {name}"
            if name in COORDINATES:
                limit = COORDINATES[name]
                if not isinstance(item, int | float) or not -limit <= item <= limit:
                    raise self._bad(key, f"must be a number from -{limit:g} to {limit:g}")
                constants[name] = float(item)
                continue
            constants[name] = self._text("constants", name, item)
            reason = field_check(name)(str(item))
            if reason:
                raise self._bad(key, f"{reason}: not a possible {name}")
        return constants

    def _attributes(self) -> dict[str, Attribute]:
        raw = self._raw.get("attributes", {})
        if not isinstance(raw, dict):
            return {}
        attributes = {}
        for name, item in raw.items():
            if isinstance(item, dict):
                kind = item.get("type", "auto")
                column = item.get("column", name)
                if set(item) - {"column", "type"} or kind not in ("auto", "number", "text"):
                    raise self._bad(
                        f"[attributes] {name}",
                        'must be a column or { column = "…", type = "number" or "text" }',
                    )
                attributes[name] = Attribute(self._text("attributes", name, column), kind)
            else:
                attributes[name] = Attribute(self._text("attributes", name, item))
        return attributes

    def _patterns(self) -> tuple[str, ...]:
        raw = self._raw.get("attributes", {})
        if isinstance(raw, dict):
            return ()
        if not isinstance(raw, list) or not all(isinstance(item, str) and item for item in raw):
            raise self._bad("attributes", 'must be a table or a list of columns, e.g. ["V*"]')
        return tuple(raw)

    def _label(self) -> Label | None:
        section = self._section("label")
        if not section:
            return None
        values = {}
        for name in ("fraud", "legitimate"):
            if name in section:
                items = section[name]
                if not isinstance(items, list) or not items:
                    raise self._bad(f"[label] {name}", 'must be a list of values, e.g. ["Y"]')
                values[name] = frozenset(str(item).lower() for item in items)
        label = Label(self._text("label", "column", section.get("column")), **values)
        if label.fraud & label.legitimate:
            raise self._bad("[label]", "fraud and legitimate have a value in common")
        return label

    def _reporting(self) -> dict[str, str]:
        raw = self._raw.get("reporting", {})
        if not isinstance(raw, dict):
            raise self._bad("reporting", "must be a table of columns")
        return {name: self._text("reporting", name, item) for name, item in raw.items()}

    def _time(self, item: object) -> str:
        if item == "iso" or item in TICKS:
            return str(item)
        if isinstance(item, str) and "%" in item and _is_time_format(item):
            return item
        raise self._bad(
            "[units] time", f'must be "iso", {", ".join(TICKS)} or a format like "%d.%m.%Y %H:%M"'
        )

    def _zone(self, item: object) -> str:
        try:
            return ZoneInfo(str(item)).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise self._bad(
                "[units] zone", 'must be a time zone such as "UTC" or "Europe/Brussels"'
            ) from None

    def _delimiter(self) -> str:
        item = self._section("csv").get("delimiter", ",")
        if not isinstance(item, str) or not re.fullmatch(r"[^\w\s\"]|\t", item, re.ASCII):
            raise self._bad("[csv] delimiter", 'must be one sign, e.g. ";" or "\\t"')
        return item

    def _choice(
        self, section: str, name: str, items: dict[str, object], choices: tuple[str, ...]
    ) -> str:
        item = items.get(name, choices[0])
        if item not in choices:
            raise self._bad(f"[{section}] {name}", f"must be one of {', '.join(choices)}")
        return str(item)

    def _section(self, name: str) -> dict[str, object]:
        section = self._raw.get(name, {})
        if not isinstance(section, dict):
            raise self._bad(name, "must be a table")
        for key in section:
            if key not in _SECTIONS[name]:
                raise self._bad(
                    f"[{name}] {key}", f"unknown; keys are {', '.join(sorted(_SECTIONS[name]))}"
                )
        return dict(section)

    def _text(self, section: str, name: str, item: object) -> str:
        if not isinstance(item, str) or not item:
            raise self._bad(f"[{section}] {name}", "must be a text that is not empty")
        return item

    def _bad(self, key: str, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path}: {key}: {what}")
