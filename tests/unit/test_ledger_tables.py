"""Which days share a table of the ledger: few tables, none overlapping, however odd the days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.casework.ledger_tables import OWN_TABLE_DAYS, LedgerTable, hours, span

TODAY = date(2026, 6, 1)
DAYS = st.dates(date(1990, 1, 1), TODAY + timedelta(days=1))


@given(st.lists(DAYS, max_size=60))
def test_each_day_has_one_table_whatever_the_order_they_come_in(days: list[date]) -> None:
    """Overlapping tables cannot be attached: the worker would stop."""
    tables: list[LedgerTable] = []
    for day in days:
        if not any(day in table for table in tables):
            first, until = span(day, TODAY, tables)
            assert first <= day < until
            tables.append(LedgerTable(first, until, len(tables)))
            tables.sort()
    assert all(a.until <= b.first for a, b in pairwise(tables))


def test_recent_days_have_a_table_of_their_own_and_old_ones_a_month() -> None:
    recent = TODAY - timedelta(days=OWN_TABLE_DAYS)
    assert span(recent, TODAY, []) == (recent, recent + timedelta(days=1))
    assert span(date(1999, 12, 31), TODAY, []) == (date(1999, 12, 1), date(2000, 1, 1))


def test_a_month_leaves_out_days_that_have_a_table() -> None:
    """They were recent once."""
    taken = [LedgerTable(date(2020, 2, 3), date(2020, 2, 4), 1)]
    taken.append(LedgerTable(date(2020, 2, 20), date(2020, 2, 21), 2))
    assert span(date(2020, 2, 10), TODAY, taken) == (date(2020, 2, 4), date(2020, 2, 20))


def test_hours_are_those_that_a_time_touches() -> None:
    at = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    assert hours(at, at + timedelta(hours=1)) == [
        datetime(2026, 3, 1, 23, tzinfo=UTC),
        datetime(2026, 3, 2, 0, tzinfo=UTC),
    ]
