"""docs/scaling.md: its tables are what the module reckons, from figures that the model explains."""

from __future__ import annotations

import pytest

from benchmarks.scaling import (
    BEGIN,
    END,
    MEASURED,
    PAGE,
    RATES,
    Assumed,
    Bytes,
    Load,
    Measured,
    account_bytes,
    checks,
    keep,
    load,
    need,
    page_with,
    tables,
)

RATES_TOLERANCE = 2.0
"""The model may be wrong by this factor about a rate: it has no locks, no reading ahead, and only
an average of what others took from the machine."""
RATIO_TOLERANCE = 1.35
"""... and by this about two workers against one, where most of that falls out."""

FULL = Load(2, 15_000, 2_000, worker_us=41, database_us=20.5, broker_us=10.25, others=0)
SMALL = Load(2, 1_000, 10, worker_us=240, database_us=120, broker_us=60, others=0)
MIDDLE = Load(2, 10_000, 100, worker_us=60, database_us=30, broker_us=15, others=0)
"""By row 40, 20 and 10 us, by batch 2,000, 1,000 and 500 us; nothing while idle."""
SIMPLE = Measured(
    measured_at="2026-01-01",
    cores=2,
    one=FULL,
    two=FULL,
    calm=SMALL,
    burst=MIDDLE,
    burst_most_waiting=0,
    burst_made_up_seconds=0,
    filling_us=3,
    bytes=Bytes(log=1_500, tables=1_500, transactions=200, decisions=100),
    resident_mb=400,
    ratios={"two / one": 1.9},
)


def test_the_page_shows_what_is_reckoned_from_what_was_kept() -> None:
    """Run `python -m benchmarks.scaling --write` after a change of assumptions or measurements."""
    shown = PAGE.read_text().split(BEGIN)[1].split(END)[0].strip()
    assert shown == tables(load())


def test_the_model_gives_the_rates_that_were_measured() -> None:
    found = {check.what: check.ratio for check in checks(load())}
    ratio = found.pop("two workers / one")
    assert 1 / RATIO_TOLERANCE < ratio < RATIO_TOLERANCE
    rates = [value for what, value in found.items() if "full topic" in what]
    assert len(rates) == 2
    assert all(1 / RATES_TOLERANCE < value < RATES_TOLERANCE for value in rates)


def test_needs_are_sums_that_can_be_done_by_hand() -> None:
    """10,000 a second: 288 million a day, 144 million accounts, 51.84 TB in 120 days."""
    found = need(10_000, SIMPLE, Assumed(primary_tb=20, primary_log_mb=50))
    assert found.a_day == pytest.approx(288e6)
    assert found.accounts == pytest.approx(144e6)
    assert found.ledger_tb == pytest.approx(51.84)
    assert (found.for_disk, found.for_log, found.installations) == (3, 1, 3)
    assert (found.for_cpu, found.for_accounts, found.workers) == (2, 29, 30)
    assert found.partitions == 120
    assert found.batch_rows == pytest.approx(10_000 / 30 * 0.05)
    database = 20 + 1_000 / found.batch_rows
    assert found.database_cores == pytest.approx(10_000 * database / 1e6 / 0.5, rel=1e-3)
    assert found.topics_tb == pytest.approx(288e6 * 300 * 3 * 14 / 1e12)


@pytest.mark.parametrize("rate", RATES)
def test_installations_are_alike(rate: int) -> None:
    """Each has as many workers and partitions as the others, and each worker as many partitions."""
    found = need(rate, SIMPLE)
    assert found.workers % found.installations == 0
    assert found.partitions % found.workers == 0


@pytest.mark.parametrize(
    "field",
    ["installations", "for_cpu", "for_accounts", "account_gb", "log_mb", "ledger_tb", "topics_tb"],
)
def test_a_higher_rate_never_needs_less(field: str) -> None:
    found = [getattr(need(rate, SIMPLE), field) for rate in range(500, 60_000, 1_700)]
    assert found == sorted(found)


def test_an_accounts_bytes_are_those_measured() -> None:
    assert (account_bytes(30), account_bytes(58)) == (870, 1197)


def test_what_is_kept_is_read_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("kept") / "measured.json"
    keep(SIMPLE, path)
    assert load(path) == SIMPLE
    assert load(MEASURED).cores > 0


def test_a_page_without_its_markers_is_left_alone() -> None:
    assert page_with(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb"
    with pytest.raises(ValueError, match="once each"):
        page_with(f"a {BEGIN} b", "new")
