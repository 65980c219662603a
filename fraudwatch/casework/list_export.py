"""Lists as files: CSV and Parquet, written while they are read.

In CSV a text that a spreadsheet would take for a formula begins with an apostrophe instead. Each
page is masked like the list itself, and what it shows of persons is a look, which is in the
database before the page leaves.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as papq

from fraudwatch.casework.schemas import Answer, Page, money_text

PAGE = 200
_GROUP = 10_000  # rows of one group in Parquet
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")

Pages = Iterator[Sequence[Answer]]


def harmless(text: str) -> str:
    """The text as a spreadsheet may read it: an apostrophe before what would be a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def all_pages(read: Callable[[str | None], Page[Any]]) -> Pages:
    """Every page; `read` gets the cursor."""
    cursor: str | None = None
    while True:
        page = read(cursor)
        yield page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def as_csv(columns: Sequence[str], pages: Pages) -> Iterator[bytes]:
    """UTF-8 with a head line, lines ended by CR LF (RFC 4180)."""
    head: Sequence[Sequence[str]] = [columns]
    yield _lines(head)
    for page in pages:
        yield _lines([[_cell(getattr(row, name)) for name in columns] for row in page])


def as_parquet(columns: Sequence[str], model: type[Answer], pages: Pages) -> Iterator[bytes]:
    """Types as the model has them; amounts as exact text."""
    schema = pa.schema([(name, _type(model, name)) for name in columns])
    sink = _Sink()
    with papq.ParquetWriter(sink, schema, compression="zstd") as writer:
        waiting: list[dict[str, object]] = []
        for page in pages:
            waiting += [{name: _value(getattr(row, name)) for name in columns} for row in page]
            if len(waiting) >= _GROUP:
                writer.write_table(pa.Table.from_pylist(waiting, schema))
                waiting = []
                yield sink.take()
        writer.write_table(pa.Table.from_pylist(waiting, schema))
    yield sink.take()


class _Sink(io.RawIOBase):
    """Takes what a writer writes, to be fetched bit by bit."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._written += len(part)
        return len(part)

    def tell(self) -> int:
        return self._written

    def take(self) -> bytes:
        """What was written since the last time."""
        taken, self._parts = b"".join(self._parts), []
        return taken


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return money_text(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, int | float):
        return repr(value)
    return harmless(str(_value(value)))


def _value(value: object) -> object:
    if isinstance(value, Decimal):
        return money_text(value)
    if isinstance(value, list):
        return ";".join(map(str, value))
    return value


def _type(model: type[Answer], name: str) -> pa.DataType:
    """Of the field's first kind: the others are None."""
    annotation: Any = model.model_fields[name].annotation
    kind = next((k for k in getattr(annotation, "__args__", ()) if k is not type(None)), annotation)
    if isinstance(annotation, type) and annotation.__module__ == "builtins":
        kind = annotation
    kinds: dict[Any, pa.DataType] = {
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        datetime: pa.timestamp("us", "UTC"),
    }
    return kinds.get(kind, pa.string())
