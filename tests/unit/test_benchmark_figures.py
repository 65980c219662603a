"""What benchmarks make of their rounds: figures of one round are compared with each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import asking, detectors, streams, worker
from benchmarks.asking import Taken, taken
from benchmarks.table import Noise
from benchmarks.worker import Cost

SECONDS = st.lists(st.floats(1e-4, 60), min_size=1, max_size=300)


def test_worker_is_compared_with_the_poll_of_its_own_round() -> None:
    """A round in which the machine was slow must not be divided by another one's poll."""
    bare = [5.0, 10.0, 5.0]
    whole = [Cost(15.0, 900, {"decode": 5.0}), Cost(30.0, 800, {"decode": 10.0})]
    whole.append(Cost(20.0, 850, {"decode": 10.0}))
    everything, decode = worker.figures(bare, whole)
    assert everything.values == (3.0, 3.0, 4.0)
    assert everything.met
    assert everything.beside == "20.00 us / 5.00 us; 850 a second"
    assert decode.values == (1.0, 1.0, 2.0)
    assert decode.goal is None


def test_streams_are_compared_within_a_round() -> None:
    costs = [{streams.PLAIN: 30.0, streams.BULK: 3.0}, {streams.PLAIN: 80.0, streams.BULK: 4.0}]
    figure = streams.ratio(costs, streams.PLAIN, streams.BULK)
    assert figure.values == (10.0, 20.0)
    assert figure.beside == "55.00 us / 3.50 us"


@given(SECONDS, st.sampled_from([0.5, 0.99, 1.0]))
def test_a_share_of_the_answers_came_within_the_time_that_is_told(
    seconds: list[float], share: float
) -> None:
    (within,) = taken(seconds).at(share)
    came = [1000 * each <= within for each in seconds]
    assert sum(came) >= share * len(seconds)
    assert within in [1000 * each for each in seconds]


def test_each_round_of_asking_gives_one_value_and_keeps_its_note() -> None:
    bare = taken([0.001]) + taken([0.003])
    times = taken([0.010, 0.012]) + taken([0.030], "statuses: [200, 202]")
    figure = asking.figure(asking.ONE, times, bare, 20.0)
    assert figure.values == (12.0, 30.0)
    assert figure.met is False
    assert figure.beside == (
        "median 20.0 ms of 3 answers; GET /health 2.00 ms; statuses: [200, 202]"
    )


def test_rounds_without_a_note_leave_none() -> None:
    assert (Taken(()) + taken([0.1])).notes == ()


@pytest.mark.parametrize(("statuses", "told"), [([200, 200], ""), ([200, 503], "[200, 503]")])
def test_answers_other_than_a_decision_are_told(statuses: list[int], told: str) -> None:
    assert asking.decided(statuses).removeprefix("statuses: ") == told


def test_calls_are_timed_in_turn_once_a_round() -> None:
    """What is compared runs under the same load: one round of all, then the next."""
    made: list[str] = []
    noise = Noise()

    def work(name: str) -> None:
        made.append(name)
        sum(range(50_000))

    times = detectors.in_turn({"a": lambda: work("a"), "b": lambda: work("b")}, noise, rounds=3)
    turns = [name for place, name in enumerate(made) if place == 0 or made[place - 1] != name]
    assert turns == ["a", "b"] * 4
    assert [len(times["a"]), len(times["b"]), len(noise.samples)] == [3, 3, 3]
