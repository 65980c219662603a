"""Files of late truth, row by row: each becomes a label, or a reason why it cannot."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec
import pyarrow as pa
import pyarrow.parquet as papq

from fraudwatch.casework.label_intake import decode_outside
from fraudwatch.domain.label import Label
from fraudwatch.errors import ConfigurationError, InputError
from streams.table import file_kind

FIELDS = ("transaction_id", "fraud", "source", "known_at")

_WORDS = {
    **dict.fromkeys(("true", "1", "yes", "y", "fraud"), True),
    **dict.fromkeys(("false", "0", "no", "n", "legitimate"), False),
}
_JSON = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Columns:
    """Which of their columns is which field, and what holds for every row.

    `names` maps our field to their column, by default the same name; a field in `constants` is not
    looked for. Raises `ConfigurationError` for a field that a label has not.
    """

    names: Mapping[str, str]
    constants: Mapping[str, str]

    def __post_init__(self) -> None:
        unknown = [name for name in {**self.names, **self.constants} if name not in FIELDS]
        if unknown:
            raise ConfigurationError(
                f"a label has no field {unknown[0]!r}: there are {', '.join(FIELDS)}"
            )

    def of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a row; those that are empty are left out."""
        found = {name: row.get(self.names.get(name, name)) for name in FIELDS}
        return {k: v for k, v in {**found, **self.constants}.items() if v not in (None, "")}


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no label; `reason` holds no value of it."""

    line: int
    reason: str


def read_labels(
    path: Path, columns: Columns, now: datetime
) -> Iterator[tuple[int, Label] | BadLine]:
    """Each row with its line, counted from 1 (in Parquet: its row).

    CSV, Parquet or JSON lines by the name's ending. Raises `ConfigurationError` where the file as a
    whole cannot be read, or lacks a column.
    """
    try:
        for line, row in _rows(path, columns):
            yield _label(line, row, columns, now)
    except (OSError, pa.ArrowException, csv.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {type(error).__name__}") from error


def _label(
    line: int, row: Mapping[str, Any] | None, columns: Columns, now: datetime
) -> tuple[int, Label] | BadLine:
    if row is None:
        return BadLine(line, "is no JSON object")
    fields = columns.of(row)
    fraud = fields.get("fraud")
    if isinstance(fraud, str | int) and not isinstance(fraud, bool):
        fraud = _WORDS.get(str(fraud).strip().lower())
        if fraud is None:
            return BadLine(line, "wrong_type: fraud: say true or false, yes or no, 1 or 0")
        fields["fraud"] = fraud
    known_at = fields.get("known_at")
    if isinstance(known_at, datetime):
        # Parquet without a time zone holds UTC by convention.
        aware = known_at if known_at.tzinfo else known_at.replace(tzinfo=UTC)
        fields["known_at"] = aware.isoformat()
    try:
        return line, decode_outside(msgspec.json.encode(fields), now)
    except InputError as error:
        return BadLine(line, str(error))
    except (TypeError, UnicodeEncodeError):
        return BadLine(line, "wrong_type: a value is of a kind that no label has")


def _rows(path: Path, columns: Columns) -> Iterator[tuple[int, Mapping[str, Any] | None]]:
    kind = file_kind(path)
    if kind == "parquet":
        with papq.ParquetFile(path) as file:
            _require(path, columns, file.schema_arrow.names)
            line = 0
            for batch in file.iter_batches(10_000):
                for row in batch.to_pylist():
                    line += 1
                    yield line, row
        return
    with _text(path) as lines:
        if kind == "csv":
            reader = csv.DictReader(lines, strict=True)
            _require(path, columns, reader.fieldnames or [])
            for row in reader:
                yield reader.line_num, row
            return
        for line, text in enumerate(lines, 1):
            if text.strip():
                try:
                    yield line, _JSON.decode(text)
                except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
                    yield line, None


def _require(path: Path, columns: Columns, there: Sequence[str]) -> None:
    for name in FIELDS:
        column = columns.names.get(name, name)
        if name not in columns.constants and column not in there:
            raise ConfigurationError(
                f"{path} has no column {column!r} for {name}: name it with --column {name}=COLUMN "
                f"or give one value for all with --all {name}=VALUE"
            )


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
