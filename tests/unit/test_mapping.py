"""An institution's own columns become the canonical frame, exactly, or an error names the place."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.domain.transaction import Transaction, amount_to_e4, decode, encode
from streams.mapping import FaultyRows, Mapping, frame_to_transactions, read_frame
from tests.mapping_files import (
    FULL,
    FULL_ROWS,
    HEAD,
    PLAIN,
    faults_of,
    mapping_of,
    read_csv,
    read_parquet,
)

ROOT = Path(__file__).parents[2]
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_a_csv_becomes_a_canonical_frame(tmp_path: Path) -> None:
    frame = read_csv(
        tmp_path,
        HEAD + "b,007,2025-06-01T12:00:00Z,57.1\na,8,2025-06-01 12:00:00,0.3001\n"
        'c,"x,y",2025-06-01T12:00:00.5+02:00,12345678901.99\n',
    )
    assert frame["transaction_id"].tolist() == ["c", "a", "b"]  # by time, then id
    assert frame["account_id"].tolist() == ["x,y", "8", "007"]
    assert frame["amount_e4"].tolist() == [123456789019900, 3001, 571000]
    assert frame["amount_e4"].dtype == np.int64
    assert frame["currency"].tolist() == ["EUR"] * 3
    assert str(frame["event_time"].dtype) == "datetime64[us, UTC]"
    assert frame["event_time"].iloc[0] == pd.Timestamp("2025-06-01T10:00:00.5Z")


def test_all_file_formats_give_the_same_frame(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, FULL)
    rows = pd.DataFrame(FULL_ROWS)
    rows.to_csv(tmp_path / "a.csv", index=False)
    rows.to_csv(tmp_path / "a.csv.gz", index=False)
    rows.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    rows.to_parquet(tmp_path / "a.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in FULL_ROWS).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    expected = [
        Transaction(
            transaction_id="t1",
            account_id="7",
            event_time=datetime(2025, 6, 1, 12, tzinfo=UTC),
            amount=Decimal("57.10"),
            currency="EUR",
            channel="pos",
            country="DE",
            ip="192.0.2.1",
            latitude=52.5,
            longitude=13.0,
            attributes={"score": 1.5, "zip": "01331", "note": "a"},
        ),
        Transaction(
            transaction_id="t2",
            account_id="8",
            event_time=datetime(2025, 6, 2, 12, tzinfo=UTC),
            amount=Decimal(5),
            currency="JPY",
            channel="pos",
            longitude=13.0,
        ),
    ]
    for path in sorted(tmp_path.glob("a.*")):
        frame = read_frame(path, mapping)
        assert list(frame_to_transactions(frame)) == expected, path
        assert frame["label"].tolist() == [False, True]
        assert frame["label"].dtype == bool
        assert frame["reporting.kind"].astype(int).tolist() == [0, 2]
        assert frame["attributes.score"].dtype == np.float64


def test_label_and_reporting_never_reach_a_message(tmp_path: Path) -> None:
    pd.DataFrame(FULL_ROWS).to_csv(tmp_path / "a.csv", index=False)
    frame = read_frame(tmp_path / "a.csv", mapping_of(tmp_path, FULL))
    for transaction in frame_to_transactions(frame):
        assert not {"bad", "how", "kind", "label"} & set(transaction.attributes)
        assert decode(encode(transaction), now=NOW) == transaction


def test_a_wildcard_takes_what_matches_but_neither_label_nor_reporting(tmp_path: Path) -> None:
    frame = read_csv(
        tmp_path,
        "id,card,time,amount,V1,V2,Class,Vkind\nt,c,2025-01-01T00:00:00Z,1,-1.5,,1,3\n",
        'attributes = ["V*"]\n'
        + PLAIN
        + '[label]\ncolumn = "Class"\n[reporting]\nkind = "Vkind"\n',
    )
    own = [name for name in frame.columns if name.startswith("attributes.")]
    assert own == ["attributes.V1", "attributes.V2"]
    assert frame["attributes.V1"].tolist() == [-1.5]
    assert frame["attributes.V2"].isna().all()
    everything = read_csv(
        tmp_path,
        HEAD.strip() + ",extra\nt,c,2025-01-01T00:00:00Z,1,x\n",
        'attributes = ["*"]\n' + PLAIN,
    )
    assert [n for n in everything.columns if "attributes" in n] == ["attributes.extra"]


def test_rows_get_numbers_as_ids_where_the_source_has_none(tmp_path: Path) -> None:
    mapping = PLAIN.replace('"id"', '{ row = "bank-2025-" }')
    frame = read_csv(
        tmp_path,
        "card,time,amount\nc,2025-01-02T00:00:00Z,2\nc,2025-01-01T00:00:00Z,1\n",
        mapping,
    )
    assert frame["transaction_id"].tolist() == ["bank-2025-2", "bank-2025-1"]


@pytest.mark.parametrize(
    ("units", "cell", "moment"),
    [
        ('zone = "Europe/Brussels"', "2025-06-01 12:00:00", "2025-06-01T10:00:00Z"),
        ('zone = "Europe/Brussels"', "2025-06-01 12:00:00+00:00", "2025-06-01T12:00:00Z"),
        ('zone = "Europe/Brussels"', "2025-10-26 02:30:00", "2025-10-26T00:30:00Z"),
        ('time = "%d.%m.%Y %H:%M"', "01.06.2025 12:00", "2025-06-01T12:00:00Z"),
        ('time = "%d.%m.%Y %H:%M %z"', "01.06.2025 12:00 +0200", "2025-06-01T10:00:00Z"),
        ('time = "seconds"', "1748779200", "2025-06-01T12:00:00Z"),
        ('time = "seconds"', "1748779200.25", "2025-06-01T12:00:00.25Z"),
        ('time = "milliseconds"', "1748779200250", "2025-06-01T12:00:00.25Z"),
        ('time = "microseconds"', "1748779200250001", "2025-06-01T12:00:00.250001Z"),
    ],
)
def test_times_are_read_in_the_form_and_zone_of_the_mapping(
    tmp_path: Path, units: str, cell: str, moment: str
) -> None:
    frame = read_csv(tmp_path, f"{HEAD}t,c,{cell},1\n", f"{PLAIN}[units]\n{units}\n")
    assert frame["event_time"].tolist() == [pd.Timestamp(moment)]


def test_typed_times_of_parquet_keep_their_meaning(tmp_path: Path) -> None:
    moment = datetime(2025, 6, 1, 12)  # noqa: DTZ001
    base = {"id": ["t"], "card": [1], "amount": [1.0]}
    brussels = PLAIN + '[units]\nzone = "Europe/Brussels"\n'
    for kind, mapping, hour in [
        (pa.timestamp("ms"), PLAIN, 12),
        (pa.timestamp("ns"), brussels, 10),
        (pa.timestamp("us", "UTC"), brussels, 12),
    ]:
        frame = read_parquet(tmp_path, {**base, "time": pa.array([moment], kind)}, mapping)
        assert frame["event_time"].tolist() == [pd.Timestamp(2025, 6, 1, hour, tz="UTC")]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (pa.array([0.1 + 0.2, 57.16, 1e11 + 0.1234]), [3000, 571600, 1000000000001234]),
        (pa.array([57.16, 0.1, 5.0], pa.float32()), [571600, 1000, 50000]),
        (pa.array([1, 2, 999_999_999_999]), [10_000, 20_000, 9_999_999_999_990_000]),
        (pa.array(["57.16", "0", "1e2"]), [571600, 0, 1_000_000]),
        (pa.array([Decimal("57.1600"), Decimal(0), Decimal("0.0001")]), [571600, 0, 1]),
    ],
)
def test_amounts_of_every_type_are_exact(
    tmp_path: Path, cells: pa.Array, expected: list[int]
) -> None:
    frame = read_parquet(
        tmp_path,
        {
            "id": ["a", "b", "c"],
            "card": [1, 1, 1],
            "time": [f"2025-01-0{day}T00:00:00Z" for day in (1, 2, 3)],
            "amount": cells,
        },
    )
    assert frame["amount_e4"].tolist() == expected


@given(amount=st.decimals(0, 10**9, places=4))
def test_a_float_gives_back_the_decimal_it_was_written_for(amount: Decimal) -> None:
    rounded = np.rint(float(amount) * 10_000).astype(np.int64)
    assert rounded == amount_to_e4(amount)


def test_minor_units_follow_the_currency_of_the_row(tmp_path: Path) -> None:
    mapping = (
        PLAIN.replace('[constants]\ncurrency = "EUR"', 'currency = "cur"')
        + '[units]\namount = "minor"\n'
    )
    head = "id,card,time,amount,cur\n"
    frame = read_csv(
        tmp_path,
        head
        + "".join(f"{cur},c,2025-01-01T00:00:00Z,5716,{cur}\n" for cur in ("EUR", "JPY", "KWD")),
        mapping,
    )
    assert frame["amount_e4"].tolist() == [571600, 57160000, 57160]
    assert faults_of(tmp_path, head + "a,c,2025-01-01T00:00:00Z,5716.001,EUR\n", mapping) == [
        (1, "amount", "too_precise")
    ]


def test_european_csv_with_commas_in_amounts(tmp_path: Path) -> None:
    frame = read_csv(
        tmp_path,
        "id;card;time;amount\nt;c;2025-01-01T00:00:00Z;57,16\n",
        PLAIN + '[units]\ndecimal_point = ","\n[csv]\ndelimiter = ";"\n',
    )
    assert frame["amount_e4"].tolist() == [571600]


def test_whole_numbers_stored_as_floats_make_good_ids(tmp_path: Path) -> None:
    table = {"id": [1.0, 2.0], "card": [596.0, 4961.0], "amount": [1, 2]}
    times = ["2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"]
    frame = read_parquet(tmp_path, table | {"time": times})
    assert frame["account_id"].tolist() == ["596", "4961"]
    with pytest.raises(FaultyRows, match="row 2, column card: wrong_type"):
        read_parquet(tmp_path, table | {"time": times, "card": [1.0, 1.5]})


def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEAD + "t,c,2025-01-01T00:00:00Z,1\n")
    told: list[tuple[int, int]] = []
    read_frame(
        tmp_path / "a.csv",
        mapping_of(tmp_path, PLAIN),
        progress=lambda done, steps: told.append((done, steps)),
    )
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


rows = st.lists(
    st.tuples(st.integers(0, 5), st.text("ab0é😀", min_size=1, max_size=3)),
    max_size=30,
    unique=True,
)


@given(drawn=rows)
def test_the_order_of_a_frame_does_not_depend_on_the_order_of_the_file(
    drawn: list[tuple[int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    by_id = {name: second for second, name in drawn}
    folder = tmp_path_factory.mktemp("order")
    start = datetime(2025, 1, 1, tzinfo=UTC)
    lines = [
        f"{name},c,{(start + timedelta(seconds=second)).isoformat()},1\n"
        for name, second in by_id.items()
    ]
    frame = read_csv(folder, HEAD + "".join(lines))
    expected = sorted(by_id.items(), key=lambda item: (item[1], item[0]))
    assert frame["transaction_id"].tolist() == [name for name, _ in expected]


HANDBOOK = {
    "TRANSACTION_ID": [0, 1],
    "TX_DATETIME": ["2018-04-01 00:00:31", "2018-04-01 00:02:10"],
    "CUSTOMER_ID": [596, 4961],
    "TERMINAL_ID": [3156, 3412],
    "TX_AMOUNT": [57.16, 81.51],
    "TX_FRAUD": [0, 1],
    "TX_FRAUD_SCENARIO": [0, 1],
}
SPARKOV = {
    "tx_id": [0, 1],
    "ts": ["2012-01-01 00:00:41", "2012-01-01 00:01:38"],
    "card_id": [966, 102],
    "merchant": ["Wolf Inc", "Bogisich-Homenick"],
    "category": ["grocery_pos", "misc_net"],
    "amt": [126.07, 43.36],
    "merch_lat": [27.689634, 46.831261],
    "merch_long": [-99.373108, -85.297882],
    "is_fraud": [0, 1],
}


@pytest.mark.parametrize(("name", "columns"), [("handbook", HANDBOOK), ("sparkov", SPARKOV)])
def test_the_mappings_that_we_ship_read_their_layouts(
    tmp_path: Path, name: str, columns: dict[str, list[Any]]
) -> None:
    mapping = Mapping.load(ROOT / "examples" / "mappings" / f"{name}.toml")
    pd.DataFrame(columns).to_csv(tmp_path / "a.csv", index=False)
    frame = read_frame(tmp_path / "a.csv", mapping)
    assert frame["label"].tolist() == [False, True]
    for transaction in frame_to_transactions(frame):
        assert decode(encode(transaction), now=NOW) == transaction
        assert transaction.merchant_id


def test_the_example_on_the_page_for_operators_is_a_mapping(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "mappings.md").read_text()
    example = page.split("```toml\n")[1].split("```")[0]
    mapping = mapping_of(tmp_path, example)
    assert mapping.zone == "Europe/Brussels"
    assert mapping.attributes["postcode"].kind == "text"
    assert mapping.label is not None
    assert mapping.label.fraud == {"1", "y"}
