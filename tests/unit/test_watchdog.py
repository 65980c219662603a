"""What counts as a sign of life, and what happens when there is none."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from fraudwatch.errors import Unavailable
from fraudwatch.telemetry import REGISTRY
from fraudwatch.worker_http import answer
from streams.source import RecordBatch
from streams.watchdog import CHECK_SECONDS, EXIT_CODE, LOADING_SECONDS, Pulse, Watchdog
from tests.unit.test_runner import TOPIC, Script, batch

LIMIT = 30.0


class Watched(Script):
    """A script whose source has `lag` messages to read; notes how long it was silent."""

    lag = 0

    def __init__(self) -> None:
        super().__init__()
        self.silence = 0.0
        self.left = 100

    def poll(self, timeout: float) -> list[RecordBatch]:
        self.look()
        self.now += 1
        self.left -= 1
        if self.left < 0:
            self.stop.set()
            return []
        return [] if self.paused or not self.polls else super().poll(0)

    def ends(self) -> dict[int, int]:
        return {0: self.offsets[0] + self.lag, 1: self.offsets[1]}

    def look(self) -> None:
        self.silence = max(self.silence, self.runner.pulse.age())

    def run(self) -> None:
        self.runner = self.make()
        self.runner.run()
        assert self.runner.pulse.age() == 0, "an ended runner is not watched"


def test_nothing_to_read_is_a_sign_of_life() -> None:
    script = Watched()
    script.run()
    assert script.silence < LIMIT / 2


def test_nothing_delivered_although_there_is_something_is_none() -> None:
    script = Watched()
    script.lag = 1
    script.run()
    assert script.silence > LIMIT


def test_waiting_for_a_part_that_is_known_to_be_away_is_a_sign_of_life() -> None:
    """A restart would not bring the database or the broker back."""
    for polls, failures in (
        ([[batch(0, 0)]], [Unavailable("database")] * 30),
        ([Unavailable("broker")] * 60, []),
    ):
        script = Watched()
        script.lag = 5
        script.polls = list(polls)
        script.failures["process"] = list(failures)
        script.while_waiting = script.look
        script.left = 60
        script.run()
        assert script.silence < LIMIT / 2


def test_loading_may_take_longer_but_not_for_ever() -> None:
    now = [0.0]
    pulse = Pulse("topic", lambda: now[0])
    with pulse.loading():
        now[0] += LOADING_SECONDS
        assert pulse.age() == 0
        now[0] += LIMIT + 1
        assert pulse.age() == LIMIT + 1
    assert pulse.age() == 0


def test_what_loads_may_load_more_within() -> None:
    """A worker that takes partitions over may find a new model as well."""
    now = [0.0]
    pulse = Pulse("topic", lambda: now[0])
    with pulse.loading():
        with pulse.loading():
            now[0] += LOADING_SECONDS
        now[0] += LOADING_SECONDS
        assert pulse.age() == 0
    now[0] += 1
    assert pulse.age() == 1


def watchdog_at(now: list[float]) -> tuple[Watchdog, Pulse]:
    pulse = Pulse(TOPIC, lambda: now[0])
    return Watchdog([pulse], LIMIT, monotonic=lambda: now[0]), pulse


def test_silence_beyond_the_limit_is_named_and_told_over_http() -> None:
    now = [0.0]
    watchdog, _ = watchdog_at(now)
    for _ in range(30):
        now[0] += CHECK_SECONDS
        assert watchdog.check() == ""
        assert answer("/healthz", watchdog)[0] == 200
    now[0] += CHECK_SECONDS
    assert watchdog.check() == f"no sign of life from {TOPIC} for 30 s"
    assert answer("/healthz", watchdog)[:1] == answer("/ready", watchdog)[:1] == (503,)
    age = REGISTRY.get_sample_value("fraudwatch_sign_of_life_age_seconds", {"topic": TOPIC})
    assert age == 31


def test_a_process_that_was_frozen_gets_another_chance() -> None:
    """Nobody could show life; what a zombie may do is for the database to say, not for us."""
    now = [0.0]
    watchdog, pulse = watchdog_at(now)
    now[0] += 10 * LIMIT
    assert watchdog.check() == ""
    assert pulse.age() == 0


def test_readiness_names_the_part_that_is_away() -> None:
    watchdog, pulse = watchdog_at([0.0])
    pulse.beat(away="handler")
    status, _, body = answer("/ready", watchdog)
    assert (status, body) == (503, b'{"status": "waiting", "for": ["handler"]}')
    assert answer("/healthz", watchdog)[0] == 200
    pulse.beat()
    assert answer("/ready?now", watchdog)[0] == 200
    assert answer("/metrics", watchdog)[0] == 200
    assert answer("/", watchdog)[0] == 404


def test_it_bites_once_and_zero_turns_it_off() -> None:
    bitten: list[str] = []
    done = threading.Event()

    def bite(reason: str) -> None:
        bitten.append(reason)
        done.set()

    off = Watchdog([Pulse("off", lambda: 1e9)], 0, bite=bite)
    off.start()
    assert off.healthy()
    off.stop()
    on = Watchdog([Pulse("on")], 0.01, bite=bite)
    on.start()
    assert done.wait(20)
    on.stop()
    assert bitten == ["no sign of life from on for 0.01 s"]


HANGING = """
import logging, re, threading
from streams.watchdog import Pulse, Watchdog

logging.basicConfig()
watchdog = Watchdog([Pulse("topic")], {limit})
watchdog.start()
def hangs_here():
    {hang}
hangs_here()
"""


@pytest.mark.parametrize(
    ("hang", "limit", "code"),
    [
        ("threading.Event().wait()", 0.1, EXIT_CODE),
        # a C call that keeps Python's lock: no other thread of Python runs any more
        ("re.match('(a+)+$', 'a' * 60 + 'b')", 0.5, 1),
    ],
)
def test_a_process_that_hangs_ends_and_tells_where(hang: str, limit: float, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING.format(hang=hang, limit=limit)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert "in hangs_here" in done.stderr
    assert ("ALARM: no sign of life from topic" in done.stderr) == (code == EXIT_CODE)
