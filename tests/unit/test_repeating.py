"""A thread beside a program goes on while a part is away, and is seen to end otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fraudwatch.casework.repeating import Repeating
from fraudwatch.errors import Unavailable

Made = Callable[..., Repeating]


@pytest.fixture
def repeating() -> Iterator[Made]:
    """Makes threads that are stopped after the test."""
    made: list[Repeating] = []

    def make(work: Callable[[], object], seconds: float, **how: Any) -> Repeating:
        made.append(Repeating("thread", work, seconds, waits="waits", ends="has ended", **how))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_work_goes_on_while_a_part_is_away(
    repeating: Made, caplog: pytest.LogCaptureFixture
) -> None:
    calls = threading.Semaphore(0)

    def work() -> None:
        calls.release()
        raise Unavailable("away")

    repeating(work, 0.01).start()
    assert all(calls.acquire(timeout=20) for _ in range(3))
    assert "waits: the database is away" in caplog.messages


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_any_other_error_ends_the_work_and_is_told(
    repeating: Made, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def work() -> None:
        calls.append(threading.current_thread())
        raise KeyError("a fault of ours")

    repeating(work, 0.0, at_once=True).start()
    while not calls:
        threading.Event().wait(0.01)
    calls[0].join(20)
    assert (len(calls), calls[0].is_alive()) == (1, False)
    assert caplog.messages == ["has ended"]


@pytest.mark.parametrize(
    ("how", "count"),
    [
        ({}, 0),
        ({"at_once": True}, 1),
        ({"at_end": True}, 1),
        ({"at_once": True, "at_end": True}, 2),
    ],
)
def test_when_the_first_and_the_last_time_are(
    repeating: Made, how: dict[str, bool], count: int
) -> None:
    begun, calls = threading.Event(), []

    def work() -> None:
        calls.append(1)
        begun.set()

    thread = repeating(work, 1000.0, **how)
    thread.start()
    if "at_once" in how:
        assert begun.wait(20)
    thread.stop()
    assert len(calls) == count
