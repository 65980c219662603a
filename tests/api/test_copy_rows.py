"""Rows in binary COPY form arrive in PostgreSQL as what they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from fraudwatch.casework.copy_rows import EPOCH_US, Rows, microseconds, number

TEXTS = st.none() | st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=90)
ROWS = st.lists(
    st.tuples(
        st.integers(-(2**31), 2**31 - 1),
        st.integers(0, 10**16 - 1),
        TEXTS,
        st.binary(max_size=100),
        st.floats(allow_nan=False),
        st.integers(0, 2**52).map(
            lambda us: datetime(1990, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
        ),
    ),
    min_size=1,
    max_size=30,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ROWS)
def test_rows_arrive_as_they_were(
    engine: Engine, found: list[tuple[int, int, str | None, bytes, float, datetime]]
) -> None:
    moments = [moment for *_, moment in found]
    count = len(found)
    rows = Rows(count)
    rows.numbers([row[0] for row in found], "i4")
    rows.amounts(np.array([row[1] for row in found], dtype=np.int64))
    rows.texts([row[2] for row in found])
    rows.octets([row[3] for row in found])
    rows.numbers(np.array([row[4] for row in found]), "f8")
    rows.numbers(np.array([microseconds(moment) for moment in moments]), "i8")
    rows.some({0: b"\x01[1]"})
    rows.same(number(None, 8))
    rows.matrix(np.arange(count * 2, dtype=np.float64).reshape(count, 2))
    with psycopg.connect(
        engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    ) as connection:
        connection.execute(
            "CREATE TEMPORARY TABLE t (a integer, b numeric(20, 4), c text, d bytea,"
            " e double precision, f timestamptz, g jsonb, h bigint, i bytea)"
        )
        chosen = np.arange(count - 1, -1, -1)  # any order, any part
        for data in (rows.written(), rows.written(chosen)):
            with connection.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
                copy.write(data)
        stored = connection.execute("SELECT * FROM t").fetchall()
    expected = [
        (
            whole,
            Decimal(amount).scaleb(-4),
            text,
            octets,
            real,
            moment,
            [1] if row == 0 else None,
            None,
            np.array([row * 2.0, row * 2.0 + 1]).tobytes(),
        )
        for row, ((whole, amount, text, octets, real, _), moment) in enumerate(
            zip(found, moments, strict=True)
        )
    ]
    assert stored == expected + expected[::-1]


def test_what_was_not_computed_becomes_null(engine: Engine) -> None:
    rows = Rows(2)
    rows.numbers(np.array([np.nan, 0.5]), "f8")
    with psycopg.connect(
        engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    ) as connection:
        connection.execute("CREATE TEMPORARY TABLE t (a double precision)")
        with connection.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
            copy.write(rows.written())
        assert connection.execute("SELECT a FROM t").fetchall() == [(None,), (0.5,)]


def test_times_count_from_the_year_2000() -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=EPOCH_US) == datetime(
        2000, 1, 1, tzinfo=UTC
    )
