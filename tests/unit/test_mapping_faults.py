"""A row or mapping that is wrong is named by file, row and column, never by value."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from fraudwatch.domain.transaction import decode, encode
from fraudwatch.errors import ConfigurationError, InputError
from streams.mapping import FaultyRows, frame_to_transactions, read_frame
from tests.mapping_files import FULL, FULL_ROWS, HEAD, PLAIN, faults_of, mapping_of, read_csv

ROOT = Path(__file__).parents[2]
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_every_fault_names_row_and_column_and_no_value(tmp_path: Path) -> None:
    content = HEAD + (
        "t1,c,2025-01-01T00:00:00Z,1\n"
        "t2,,2025-01-01T00:00:00Z,1\n"
        "t3,c,SECRET,1\n"
        "t4,c,2025-01-01T00:00:00Z,SECRET\n"
        "t5,c,2025-01-01T00:00:00Z,-1\n"
        "t6,c,1985-01-01T00:00:00Z,1.00001\n"
        "t1,c,2025-01-01T00:00:00Z,1\n"
        "t8,c,,\n"
        f"t9,{'SECRET' * 30},2025-01-01T00:00:00Z,NaN\n"
        "t10,SECRET\u202e,2025-01-01T00:00:00Z,1e999999\n"
    )
    assert faults_of(tmp_path, content) == [
        (2, "card", "missing_field"),
        (3, "time", "bad_time"),
        (4, "amount", "not_a_number"),
        (5, "amount", "out_of_range"),
        (6, "time", "absurd_time"),
        (6, "amount", "too_precise"),
        (7, "id", "duplicate"),
        (8, "time", "missing_field"),
        (8, "amount", "missing_field"),
        (9, "card", "bad_length"),
        (9, "amount", "not_a_number"),
        (10, "card", "bad_text"),
        (10, "amount", "out_of_range"),
    ]
    with pytest.raises(InputError) as caught:
        read_csv(tmp_path, content)
    assert "SECRET" not in str(caught.value)
    assert "row 4, column amount: not_a_number" in str(caught.value)
    assert "13 faults" in str(caught.value)


def test_faults_of_codes_places_attributes_and_labels_are_named(tmp_path: Path) -> None:
    good = dict.fromkeys(FULL_ROWS[0], "") | {
        name: str(item) for name, item in FULL_ROWS[0].items()
    }
    changes = {
        "cur": ("eur", "unknown_currency"),
        "land": ("UK", "unknown_country"),
        "address": ("300.1.1.1", "bad_ip"),
        "lat": ("91", "out_of_range"),
        "points": ("inf", "out_of_range"),
        "postcode": ("x" * 1025, "bad_length"),
        "bad": ("maybe", "wrong_type"),
    }
    rows = [
        good | {"id": str(number), column: cell}
        for number, (column, (cell, _)) in enumerate(changes.items())
    ]
    content = pd.DataFrame(rows).to_csv(index=False)
    assert faults_of(tmp_path, content, FULL) == [
        (number + 1, column, reason) for number, (column, (_, reason)) in enumerate(changes.items())
    ]
    strict = FULL.replace('score = "points"', 'score = { column = "points", type = "number" }')
    broken = pd.DataFrame([good | {"points": "many"}]).to_csv(index=False)
    assert faults_of(tmp_path, broken, strict) == [(1, "points", "wrong_type")]


@pytest.mark.parametrize(
    "cell",
    ["2025-06-01T12:0-0:00", "2025", "2025-06", "20250601", "2025-06-01T12:00:00 +2", "1748779200"],
)
def test_what_only_resembles_a_time_is_a_fault(tmp_path: Path, cell: str) -> None:
    good = "a,c,2025-06-01 12:00:00,1\nb,c,2025-06-01T12:00:00Z,1\n"
    assert faults_of(tmp_path, f"{HEAD}{good}t,c,{cell},1\n") == [(3, "time", "bad_time")]


def test_an_hour_that_never_was_is_a_fault(tmp_path: Path) -> None:
    assert faults_of(
        tmp_path,
        HEAD + "t,c,2025-03-30 02:30:00,1\n",
        PLAIN + '[units]\nzone = "Europe/Brussels"\n',
    ) == [(1, "time", "bad_time")]


def test_rows_of_the_wrong_shape_are_named(tmp_path: Path) -> None:
    good = "t{},c,2025-01-01T00:00:00Z,1\n"
    content = HEAD + good.format(1) + "t2,c\n" + good.format(3) + "a,b,c,d,e\n"
    assert faults_of(tmp_path, content) == [(2, "", "wrong_type"), (4, "", "wrong_type")]


def test_broken_json_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    good = {"id": "t", "card": "c", "time": "2025-01-01T00:00:00Z", "amount": 1}
    path.write_text(
        json.dumps(good)
        + "\n\n{broken\n[1]\n"
        + json.dumps(good | {"id": "u", "card": {"SECRET": 1}})
        + "\n"
    )
    with pytest.raises(FaultyRows) as caught:
        read_frame(path, mapping_of(tmp_path, PLAIN))
    assert [(f.row, f.column, f.reason) for f in caught.value.faults] == [
        (2, "", "not_json"),
        (3, "", "not_json"),
        (4, "card", "too_deep"),
    ]
    assert "SECRET" not in str(caught.value)


def test_numbers_and_booleans_of_a_frame_become_floats_as_in_a_decoded_message() -> None:
    frame = pd.DataFrame(
        {
            "transaction_id": ["t"],
            "account_id": ["c"],
            "event_time": pd.to_datetime(["2025-01-01T00:00:00Z"]).astype("datetime64[us, UTC]"),
            "amount_e4": [10_000],
            "currency": ["EUR"],
            "attributes.count": [5],
            "attributes.flag": [True],
        }
    )
    (transaction,) = frame_to_transactions(frame)
    assert encode(decode(encode(transaction), now=NOW)) == encode(transaction)


def test_many_faults_are_counted_and_the_first_are_shown(tmp_path: Path) -> None:
    content = HEAD + "".join(f"t{n},c,never,1\n" for n in range(100))
    with pytest.raises(FaultyRows, match="100 faults") as caught:
        read_csv(tmp_path, content)
    assert [fault.row for fault in caught.value.faults] == list(range(1, 21))
    assert "and 80 more" in str(caught.value)


def test_an_empty_file_gives_an_empty_frame(tmp_path: Path) -> None:
    frame = read_csv(tmp_path, HEAD)
    assert len(frame) == 0
    assert list(frame_to_transactions(frame)) == []
    assert str(frame["event_time"].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[fields", "not TOML"),
        (PLAIN + "[colour]\n", "colour: unknown; sections are"),
        (PLAIN.replace("card", "").replace("account_id", "acount_id"), "acount_id: unknown"),
        (PLAIN.replace('account_id = "card"', ""), r"\[fields\] account_id: is required"),
        (PLAIN.replace('"card"', "5"), r"\[fields\] account_id: must be a text"),
        (PLAIN.replace('"EUR"', '"EUX"'), r"\[constants\] currency: unknown_currency"),
        (PLAIN.replace('"id"', "{ rows = 1 }"), r"\[fields\] transaction_id: must be a column or"),
        (PLAIN + "latitude = 91\n", r"\[constants\] latitude: must be a number from -90 to 90"),
        (PLAIN + 'account_id = "x"\n', r"\[constants\] account_id: unknown"),
        (PLAIN + '[units]\nzone = "Mars/Olympus"\n', r"\[units\] zone: must be a time zone"),
        (PLAIN + '[units]\ntime = "soon"\n', r"\[units\] time: must be"),
        (PLAIN + '[units]\ntime = "%Q"\n', r"\[units\] time: must be"),
        (PLAIN + '[units]\namount = "cents"\n', r"\[units\] amount: must be one of major, minor"),
        (PLAIN + '[csv]\ndelimiter = "ab"\n', r"\[csv\] delimiter: must be one sign"),
        (PLAIN + '[label]\nfraud = ["1"]\n', r"\[label\] column: must be a text"),
        (PLAIN + '[label]\ncolumn = "amount"\n', r"\[fields\] amount: 'amount' is the label"),
        (
            PLAIN + '[attributes]\na = "bad"\n[label]\ncolumn = "bad"\n',
            r"\[attributes\] a: 'bad' is the label",
        ),
        (PLAIN + '[label]\ncolumn = "b"\nfraud = ["0"]\n', r"\[label\]: fraud and legitimate"),
        (PLAIN + '[attributes]\na = { type = "date" }\n', r"\[attributes\] a: must be a column"),
        ("attributes = 5\n" + PLAIN, "attributes: must be a table or a list"),
    ],
)
def test_a_bad_mapping_is_refused_with_file_key_and_advice(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        mapping_of(tmp_path, text)
    assert "mapping.toml" in str(caught.value)


def test_a_mapping_that_does_not_fit_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"account_id: the file has no column 'card'"):
        read_csv(tmp_path, "id,time,amount\n")
    with pytest.raises(ConfigurationError, match=r"no column matches 'V\*'"):
        read_csv(tmp_path, HEAD, 'attributes = ["V*"]\n' + PLAIN)
    names = ",".join(f"V{n}" for n in range(65))
    with pytest.raises(ConfigurationError, match="65 columns, at most 64"):
        read_csv(tmp_path, f"{HEAD.strip()},{names}\n", 'attributes = ["V*"]\n' + PLAIN)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.xlsx", b"x", "cannot tell the format"),
        ("a.parquet", b"not parquet", "not a readable parquet"),
        ("a.csv", b"", "not a readable csv"),
        ("a.csv", HEAD.encode() + b"t,c\xff\n", "UTF-8"),
        ("a.csv.gz", b"not gzip", "not a readable csv"),
        ("a.csv.gz", gzip.compress(HEAD.encode() * 5000)[:-30], "damaged"),
        ("a.csv", HEAD.encode() + b"\xff,c,2025-01-01T00:00:00Z,1\n", "UTF-8"),
        ("a.csv", b"id,id,card,time,amount\n", "two columns have the name 'id'"),
    ],
)
def test_a_file_that_is_not_what_it_seems_is_refused(
    tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=complaint):
        read_frame(tmp_path / name, mapping_of(tmp_path, PLAIN))
    with pytest.raises(ConfigurationError, match="no such file"):
        read_frame(tmp_path / "none.csv", mapping_of(tmp_path, PLAIN))
