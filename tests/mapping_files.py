"""Small files in an institution's own columns, for tests of mappings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as papq
import pytest

from streams.mapping import FaultyRows, Mapping, read_frame

PLAIN = """
[fields]
transaction_id = "id"
account_id = "card"
event_time = "time"
amount = "amount"

[constants]
currency = "EUR"
"""
HEAD = "id,card,time,amount\n"


FULL = """
[fields]
transaction_id = "id"
account_id = "card"
event_time = "time"
amount = "amount"
currency = "cur"
country = "land"
ip = "address"
latitude = "lat"

[constants]
channel = "pos"
longitude = 13

[attributes]
score = "points"
zip = { column = "postcode", type = "text" }
note = "note"

[label]
column = "bad"
fraud = ["Y"]
legitimate = ["N"]

[reporting]
kind = "how"
"""
FULL_ROWS = [
    {
        "id": "t1",
        "card": 7,
        "time": "2025-06-01T12:00:00Z",
        "amount": 57.1,
        "cur": "EUR",
        "land": "DE",
        "address": "192.0.2.1",
        "lat": 52.5,
        "points": 1.5,
        "postcode": "01331",
        "note": "a",
        "bad": "N",
        "how": 0,
    },
    {
        "id": "t2",
        "card": 8,
        "time": "2025-06-02T12:00:00Z",
        "amount": 5,
        "cur": "JPY",
        "land": None,
        "address": None,
        "lat": None,
        "points": None,
        "postcode": None,
        "note": None,
        "bad": "Y",
        "how": 2,
    },
]


def mapping_of(folder: Path, text: str) -> Mapping:
    path = folder / "mapping.toml"
    path.write_text(text)
    return Mapping.load(path)


def read_csv(folder: Path, content: str, mapping: str = PLAIN) -> pd.DataFrame:
    path = folder / "data.csv"
    path.write_text(content, encoding="utf-8")
    return read_frame(path, mapping_of(folder, mapping))


def read_parquet(folder: Path, table: dict[str, Any], mapping: str = PLAIN) -> pd.DataFrame:
    path = folder / "data.parquet"
    papq.write_table(pa.table(table), path)
    return read_frame(path, mapping_of(folder, mapping))


def faults_of(folder: Path, content: str, mapping: str = PLAIN) -> list[tuple[int, str, str]]:
    with pytest.raises(FaultyRows) as caught:
        read_csv(folder, content, mapping)
    return [(fault.row, fault.column, fault.reason) for fault in caught.value.faults]
