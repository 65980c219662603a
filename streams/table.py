"""Reading the columns of a CSV, Parquet or JSON-lines file, nothing interpreted yet."""

from __future__ import annotations

import codecs
import csv
import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as papq

from fraudwatch.errors import ConfigurationError
from streams.faults import Faults

_KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
}
_READ_SIZE = 1 << 24
_JSON = msgspec.json.Decoder(dict[str, object], float_hook=Decimal)


def file_kind(path: Path) -> str:
    """`csv`, `parquet` or `json` by the ending of the name (before `.gz`)."""
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    kind = _KINDS.get(plain.suffix.lower())
    if kind is None or (kind == "parquet" and plain is not path):
        raise ConfigurationError(
            f"{path}: cannot tell the format; the name must end in one of {', '.join(_KINDS)} "
            "(CSV and JSON lines also with .gz)"
        )
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file")
    return kind


def column_names(path: Path, delimiter: str) -> list[str]:
    """The names of the columns. For JSON lines those of all objects."""
    kind = file_kind(path)
    try:
        if kind == "parquet":
            names = list(papq.read_schema(path).names)
        elif kind == "csv":
            head = next(_lines(path)).decode("utf-8-sig")
            names = next(csv.reader([head], delimiter=_delimiter(path, delimiter)))
        else:
            objects = map(_json_object, _json_lines(path))
            names = list(dict.fromkeys(name for item in objects for name in item or ()))
    except (pa.ArrowInvalid, UnicodeDecodeError, StopIteration, OSError, EOFError, csv.Error):
        raise ConfigurationError(f"{path}: this is not a readable {kind} file") from None
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ConfigurationError(f"{path}: two columns have the name {repeated[0]!r}")
    return names


def read_table(path: Path, columns: Sequence[str], delimiter: str) -> pa.Table:
    """The columns named, all rows in file order. CSV gives texts, empty ones as null.

    Raises `FaultyRows` with the rows that cannot be read.
    """
    kind = file_kind(path)
    try:
        if kind == "parquet":
            return papq.read_table(path, columns=list(columns))
        if kind == "csv":
            return _read_csv(path, columns, delimiter)
        return _read_json_lines(path, columns)
    except (
        pa.ArrowInvalid,
        UnicodeDecodeError,
        OSError,
        EOFError,
    ):  # their messages can quote the file
        raise ConfigurationError(
            f"{path}: damaged, or not {kind} in UTF-8 with one name per column"
        ) from None


def _delimiter(path: Path, delimiter: str) -> str:
    return "\t" if ".tsv" in path.suffixes else delimiter


def _read_csv(path: Path, columns: Sequence[str], delimiter: str) -> pa.Table:
    _require_utf8(path)  # on other bytes the handler below would fail, and pyarrow go on
    faults = Faults(path)

    def misshapen(row: pacsv.InvalidRow) -> str:
        # Row 1 is the line of names.
        faults.add_row(row.number - 2, "", "wrong_type", "has more or fewer cells than names")
        return "skip"

    table = pacsv.read_csv(
        path,
        # Only with one thread the handler learns the number of the row.
        read_options=pacsv.ReadOptions(use_threads=False, block_size=_READ_SIZE),
        parse_options=pacsv.ParseOptions(
            delimiter=_delimiter(path, delimiter),
            newlines_in_values=True,
            invalid_row_handler=misshapen,
        ),
        convert_options=pacsv.ConvertOptions(
            include_columns=list(columns),
            column_types=dict.fromkeys(columns, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
        ),
    )
    faults.raise_any()
    return table


def _require_utf8(path: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _open(path) as file:
        while block := file.read(_READ_SIZE):
            decoder.decode(block)
        decoder.decode(b"", final=True)


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _lines(path: Path) -> Iterator[bytes]:
    with _open(path) as file:
        yield from file


def _json_lines(path: Path) -> Iterator[bytes]:
    return filter(bytes.strip, _lines(path))  # an empty line is no row


def _json_object(line: bytes) -> dict[str, object] | None:
    try:
        return _JSON.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the caller names the row


def _read_json_lines(path: Path, columns: Sequence[str]) -> pa.Table:
    faults = Faults(path)
    cells: list[list[object]] = [[] for _ in columns]
    for row, line in enumerate(_json_lines(path)):
        item = _json_object(line)
        if item is None:
            faults.add_row(row, "", "not_json", "is not one JSON object")
            continue
        for name, column in zip(columns, cells, strict=True):
            cell = item.get(name)
            if isinstance(cell, dict | list):
                faults.add_row(row, name, "too_deep", "must be a number or a text")
            column.append(cell)
    faults.raise_any()
    texts = (pa.array(map(_json_text, column), pa.string()) for column in cells)
    return pa.table(dict(zip(columns, texts, strict=True)))


def _json_text(cell: object) -> str | None:
    """A cell as text, as a CSV file would have it: numbers exactly as they were written."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return None if cell is None or cell == "" else str(cell)
