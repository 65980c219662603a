"""The model of docs/scaling.md: nothing is lost in it, and it agrees with sums done by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.queueing import BATCH_ROWS, STAGES, Cost, Site, fitted, simulate
from benchmarks.scaling import batch_rows

COSTS = {"worker": Cost(40, 3000), "database": Cost(20, 1500), "broker": Cost(10, 500)}
FULL = 70 + 5000 / BATCH_ROWS  # microseconds a row in full batches, all stages
PLENTY = Site(2, worker_cores=2, database_cores=2, broker_cores=2)

positive = st.floats(0.5, 100)
costs = st.builds(
    lambda rows, batches: {
        stage: Cost(row, batch) for stage, row, batch in zip(STAGES, rows, batches, strict=True)
    },
    st.tuples(positive, positive, positive),
    st.tuples(*[st.floats(0, 5000)] * 3),
)


def test_one_worker_does_its_stages_one_after_another() -> None:
    flow = simulate(Site(1, together=2), COSTS, waiting=10 * BATCH_ROWS)
    assert flow.per_second == pytest.approx(1e6 / FULL)


def test_two_workers_with_cores_enough_do_twice_as_much() -> None:
    flow = simulate(PLENTY, COSTS, waiting=20 * BATCH_ROWS)
    assert flow.per_second == pytest.approx(2e6 / FULL)


def test_more_workers_than_cores_share_them() -> None:
    """Four workers on two cores do what two cores can."""
    flow = simulate(Site(4, together=2), COSTS, waiting=40 * BATCH_ROWS)
    assert flow.per_second == pytest.approx(2e6 / FULL)


def test_a_small_database_is_the_limit() -> None:
    site = Site(32, worker_cores=32, database_cores=0.5, broker_cores=32)
    flow = simulate(site, COSTS, waiting=400 * BATCH_ROWS)
    assert flow.per_second == pytest.approx(0.5e6 / COSTS["database"].each(BATCH_ROWS), rel=0.1)


def test_a_worker_with_most_of_the_traffic_is_the_limit() -> None:
    """As with a hot account: three quarters of the rows come to one of two workers."""
    flow = simulate(PLENTY, COSTS, waiting=40 * BATCH_ROWS, shares=(0.75, 0.25))
    assert flow.per_second == pytest.approx(1e6 / FULL / 0.75, rel=0.02)


@pytest.mark.parametrize("per_second", [200, 2_000, 6_000, 10_000])
def test_batches_are_what_came_while_the_last_one_was_worked_off(per_second: float) -> None:
    flow = simulate(
        Site(1, worker_cores=1, database_cores=1, broker_cores=1), COSTS, [(20, per_second)]
    )
    found = flow.rows / (len(flow.lags) - 1)
    assert found == pytest.approx(batch_rows(per_second, COSTS), rel=0.1)


def test_a_burst_beyond_what_can_be_done_waits_and_is_made_up() -> None:
    """12,000 a second for 10 s at 1e6 / 72.5 = 13,793 would not wait; 20,000 do."""
    able = 1e6 / FULL
    flow = simulate(Site(1, together=1), COSTS, [(5, 1_000), (10, 20_000), (30, 1_000)])
    most = max(lag for _, lag in flow.lags)
    assert most == pytest.approx((20_000 - able) * 10, rel=0.05)
    usual = max(lag for at, lag in flow.lags if at < 5)
    assert flow.made_up(15, usual) == pytest.approx(most / (able - 1_000), rel=0.05)
    assert flow.wait(0.99, 0, 5) < 0.1 < flow.wait(0.5, 5, 15)


@settings(max_examples=30, deadline=None)
@given(costs, st.integers(1, 4), st.floats(0.3, 4), st.floats(1, 20_000), st.floats(0, 5_000))
def test_every_row_comes_out_once(
    given_costs: dict[str, Cost], workers: int, cores: float, waiting: float, rate: float
) -> None:
    """As many as went in, none before it was due, each paid for in full."""
    flow = simulate(
        Site(workers, together=cores), given_costs, [(0.5, rate), (0.5, 0)], waiting=waiting
    )
    assert flow.rows == pytest.approx(waiting + 0.5 * rate)
    assert sum(rows for _, _, rows in flow.waits) == pytest.approx(flow.rows)
    assert all(wait >= -1e-9 for _, wait, _ in flow.waits)
    assert all(lag >= -1e-6 for _, lag in flow.lags)
    batches = len(flow.lags) - 1
    for stage, cost in given_costs.items():
        paid = (cost.row_us * flow.rows + cost.batch_us * batches) / 1e6
        assert flow.busy[stage] == pytest.approx(paid, rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(st.floats(0, 1), positive, st.floats(0, 10_000))
def test_costs_are_found_again_from_three_measurements(
    idle: float, row: float, batch: float
) -> None:
    true = Cost(row, batch)
    seen = [
        (rate, rows, true.each(rows) + idle / rate * 1e6)
        for rate, rows in ((1_000, 10), (10_000, 150), (math.inf, 1_900))
    ]
    found, cost = fitted(seen)
    assert found == pytest.approx(idle, rel=1e-3, abs=1e-4)
    assert cost.row_us == pytest.approx(row, rel=1e-3, abs=1e-2)
    assert cost.batch_us == pytest.approx(batch, rel=1e-3, abs=1)


def test_no_part_of_a_cost_is_below_nothing() -> None:
    """Noise can make small batches the cheaper ones."""
    idle, cost = fitted([(1_000, 10, 50), (10_000, 150, 55), (math.inf, 1_900, 60)])
    assert min(idle, cost.row_us, cost.batch_us) >= 0
    assert cost.row_us == pytest.approx(55, rel=0.1)
