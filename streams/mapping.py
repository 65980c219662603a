"""Files in an institution's own columns, read into the canonical frame through a mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from fraudwatch.domain.codes import CURRENCY_DECIMALS
from fraudwatch.domain.limits import AMOUNT_DECIMALS, ATTRIBUTE_TEXT_LENGTH, TEXT_LENGTHS
from fraudwatch.domain.strict import free_text_fault
from fraudwatch.domain.transaction import Transaction, amount_from_e4
from streams.conversion import (
    amount_column,
    holds_numbers,
    label_column,
    number_column,
    text_column,
    time_column,
)
from streams.faults import Fault, Faults, FaultyRows
from streams.mapping_file import COORDINATES, FIELDS, REQUIRED, Attribute, Mapping, field_check
from streams.table import column_names, read_table

__all__ = ["Fault", "FaultyRows", "Mapping", "frame_to_transactions", "read_frame"]

Progress = Callable[[int, int], None]

_SLICE = 20_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_frame(path: Path, mapping: Mapping, *, progress: Progress | None = None) -> pd.DataFrame:
    """The canonical frame of a CSV, Parquet or JSON-lines file, by (event_time, transaction_id).

    Columns: the fields that the mapping gives, `amount_e4` for the amount, `attributes.NAME`,
    `reporting.NAME`, and `label` (bool) where the mapping names one. `progress` is called with
    steps done and steps in all. Raises `ConfigurationError` if mapping and file do not fit, and
    `FaultyRows` if any row cannot be used: no row is ever left out.
    """
    attributes = mapping.resolve(column_names(path, mapping.delimiter))
    columns = mapping.columns(attributes)
    tell = progress or (lambda _done, _all: None)
    steps = len(columns) + 2
    table = read_table(path, columns, mapping.delimiter)
    tell(1, steps)
    faults = Faults(path)
    frame: dict[str, object] = {}
    for name, values in _canonical_columns(table, mapping, attributes, faults):
        frame[name] = values
        tell(min(1 + len(frame), steps - 1), steps)
    result = pd.DataFrame(frame)
    ids = result["transaction_id"]
    if ids.nunique() < ids.count():
        repeated = (ids.duplicated() & ids.notna()).to_numpy()
        faults.add_mask(repeated, mapping.fields.get("transaction_id", ""), "duplicate")
    faults.raise_any()
    result = result.take(_canonical_order(result)).reset_index(drop=True)
    tell(steps, steps)
    return result


def frame_to_transactions(frame: pd.DataFrame) -> Iterator[Transaction]:
    """The rows of a canonical frame as transactions, in order. Label and reporting stay behind."""
    for start in range(0, len(frame), _SLICE):
        yield from _slice_to_transactions(frame.iloc[start : start + _SLICE])


def _slice_to_transactions(frame: pd.DataFrame) -> Iterator[Transaction]:
    plain = [name for name in FIELDS if name in frame and name not in ("event_time", "amount")]
    own = [name for name in map(str, frame.columns) if name.startswith("attributes.")]
    own_names = [name.removeprefix("attributes.") for name in own]
    micros = _micros(frame).tolist()
    amounts = frame["amount_e4"].tolist()
    currencies = frame["currency"].tolist()
    cells = zip(*(_present(frame[name]) for name in plain), strict=True)
    own_cells = zip(*(_own(frame[name]) for name in own), strict=True) if own else None
    exact = {key: amount_from_e4(*key) for key in set(zip(amounts, currencies, strict=True))}
    for moment, amount_e4, currency, row in zip(micros, amounts, currencies, cells, strict=True):
        attributes = {}
        if own_cells is not None:
            named = zip(own_names, next(own_cells), strict=True)
            attributes = {name: cell for name, cell in named if cell is not None}
        yield Transaction(
            event_time=_EPOCH + timedelta(microseconds=moment),
            amount=exact[amount_e4, currency],
            attributes=attributes,
            **dict(zip(plain, row, strict=True)),
        )


def _canonical_columns(
    table: pa.Table, mapping: Mapping, attributes: dict[str, Attribute], faults: Faults
) -> Iterator[tuple[str, object]]:
    rows = table.num_rows
    if mapping.row_prefix is not None:
        numbers = pd.Series(np.arange(1, rows + 1)).astype("str")
        yield "transaction_id", mapping.row_prefix + numbers
    currency = _texts(table, "currency", mapping, faults)
    for name in FIELDS:
        column = mapping.fields.get(name)
        if name == "currency":
            yield name, currency
        elif column is None:
            if name in mapping.constants:
                constant = mapping.constants[name]
                kind = "float64" if name in COORDINATES else "str"
                yield name, pd.Series(constant, index=pd.RangeIndex(rows), dtype=kind)
        elif name == "event_time":
            yield (
                name,
                time_column(table[column], column, faults, form=mapping.time, zone=mapping.zone),
            )
        elif name == "amount":
            yield (
                "amount_e4",
                amount_column(
                    table[column],
                    column,
                    faults,
                    decimal_point=mapping.decimal_point,
                    minor_decimals=_decimals(currency) if mapping.minor_amounts else None,
                ),
            )
        elif name in COORDINATES:
            limit = COORDINATES[name]
            yield name, number_column(table[column], column, faults, -limit, limit)
        else:
            yield name, _texts(table, name, mapping, faults)
    for name, attribute in attributes.items():
        yield f"attributes.{name}", _attribute(table[attribute.column], attribute, faults)
    for name, column in mapping.reporting.items():
        yield f"reporting.{name}", table[column].to_pandas()
    if mapping.label:
        label = mapping.label
        yield (
            "label",
            label_column(table[label.column], label.column, faults, label.fraud, label.legitimate),
        )


def _canonical_order(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Row numbers by (event_time, transaction_id). Ids are compared only where times are equal."""
    times = _micros(frame)
    order = np.argsort(times, kind="stable")
    if not len(order):
        return order
    equal = np.diff(times[order]) == 0
    tied = np.append(equal, False) | np.insert(equal, 0, False)
    rows = order[tied]
    ids = frame["transaction_id"].iloc[rows].tolist()
    order[tied] = [
        row for *_, row in sorted(zip(times[rows].tolist(), ids, rows.tolist(), strict=True))
    ]
    return order


def _micros(frame: pd.DataFrame) -> NDArray[np.int64]:
    return frame["event_time"].to_numpy("datetime64[us]").view(np.int64)


def _texts(table: pa.Table, name: str, mapping: Mapping, faults: Faults) -> pd.Series[str]:
    if name in mapping.constants:
        constant = str(mapping.constants[name])
        return pd.Series(constant, index=pd.RangeIndex(table.num_rows), dtype="str")
    column = mapping.fields[name]
    return text_column(
        table[column],
        column,
        faults,
        field_check(name),
        required=name in REQUIRED,
        plain=TEXT_LENGTHS.get(name, 0),
    )


def _attribute(column: pa.ChunkedArray, attribute: Attribute, faults: Faults) -> object:
    name = attribute.column
    numeric = attribute.kind == "number" or (
        attribute.kind == "auto" and holds_numbers(column, name, faults)
    )
    if numeric:
        return number_column(column, name, faults)
    return text_column(
        column,
        name,
        faults,
        lambda text: free_text_fault(text, ATTRIBUTE_TEXT_LENGTH),
        required=False,
        plain=ATTRIBUTE_TEXT_LENGTH,
    )


def _decimals(currency: pd.Series[str]) -> NDArray[np.int64]:
    known = currency.map(CURRENCY_DECIMALS).fillna(AMOUNT_DECIMALS)
    return np.asarray(known, dtype=np.int64)


def _own(column: pd.Series[Any]) -> list[object]:
    """Values of an attribute as a message has them: numbers and booleans as floats."""
    return _present(column.astype("float64") if is_numeric_dtype(column.dtype) else column)


def _present(column: pd.Series[Any]) -> list[object]:
    """Values of a column with None where missing."""
    return column.astype(object).where(column.notna(), None).tolist()
