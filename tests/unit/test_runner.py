"""The worker's loop: what happens to batches when parts are away, owners change, limits pass."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence

import pytest

from fraudwatch.errors import DeadLetterLimit, Fenced, Unavailable
from fraudwatch.telemetry import REGISTRY
from streams.runner import LONGEST_WAIT, Runner
from streams.source import Assignment, RecordBatch

TOPIC = "runner-test"


def batch(partition: int, first: int, count: int = 2) -> RecordBatch:
    offsets = list(range(first, first + count))
    values = [b"%d" % offset for offset in offsets]
    nothing: list[bytes | None] = [None] * count
    return RecordBatch(
        TOPIC, partition, first, first + count, offsets, nothing, values, [0] * count
    )


class Script:
    """A source and a handler that play a script and note what is asked of them.

    Carriers change owners and handlers fail when they like; here it is said when. Both run for
    real in the contract suite and in the pipeline's tests.
    """

    topic = TOPIC

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.log: list[object] = []
        self.coming: list[Assignment] = [Assignment(assigned=frozenset({0, 1}))]
        self.polls: list[list[RecordBatch] | Exception] = []
        self.failures: dict[str, list[Exception]] = {}
        self.offsets: dict[int, int] = {0: 0, 1: 0}
        self.paused = False
        self.closed = False
        self.now = 0.0
        self.waits: list[float] = []
        self.while_waiting: Callable[[], None] = lambda: None

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        self.while_waiting()

    def make(self) -> Runner:
        return Runner(
            self,
            self,
            stop=self.stop,
            wait=self.wait,
            monotonic=lambda: self.now,
            randomness=random.Random(1),
        )

    def run(self) -> None:
        self.make().run()

    def _fail(self, what: str) -> None:
        if self.failures.get(what):
            raise self.failures[what].pop(0)

    # the source

    def changes(self) -> Assignment:
        return self.coming.pop(0) if self.coming else Assignment()

    def start(self, offsets: Mapping[int, int]) -> None:
        self.log.append(("start", dict(offsets)))

    def poll(self, timeout: float) -> list[RecordBatch]:
        self.now += timeout
        if self.paused:
            self.log.append("poll while paused")
            return []
        if not self.polls:
            self.stop.set()
            return []
        found = self.polls.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def ends(self) -> dict[int, int]:
        self._fail("ends")
        return {0: 10, 1: 10}

    def committed(self, offsets: Mapping[int, int]) -> None:
        self.log.append(("committed", dict(offsets)))

    def close(self) -> None:
        self.closed = True

    # the handler

    def assign(self, partitions: frozenset[int]) -> Mapping[int, int]:
        self._fail("assign")
        return {number: self.offsets[number] for number in partitions}

    def revoke(self, partitions: frozenset[int]) -> None:
        self.log.append(("revoke", set(partitions)))

    def process(self, batches: Sequence[RecordBatch]) -> None:
        self._fail("process")
        self.log.append(("process", [(b.partition, b.first_offset) for b in batches]))

    def idle(self) -> None:
        self._fail("idle")
        self.log.append("idle")

    def did(self, *kinds: str) -> list[object]:
        return [entry for entry in self.log if isinstance(entry, tuple) and entry[0] in kinds]


def test_batches_are_processed_and_the_source_closed_when_stopped() -> None:
    script = Script()
    script.polls = [[batch(0, 0), batch(1, 0)], [batch(0, 2)]]
    script.run()
    assert script.did("start", "process") == [
        ("start", {0: 0, 1: 0}),
        ("process", [(0, 0), (1, 0)]),
        ("process", [(0, 2)]),
    ]
    assert script.log[-2:] == ["idle", ("committed", {0: 4, 1: 2})]
    assert script.closed


def test_the_batch_in_hand_is_finished_before_stopping() -> None:
    script = Script()
    script.polls = [[batch(0, 0)], [batch(0, 2)]]
    script.idle = script.stop.set  # type: ignore[method-assign]
    script.run()
    assert script.did("process") == [("process", [(0, 0)])]
    assert script.did("committed")[-1] == ("committed", {0: 2, 1: 0})


def test_the_same_batches_are_tried_again_while_the_database_is_away() -> None:
    """With growing waits, as a member that polls: else the group would expel it."""
    script = Script()
    script.polls = [[batch(0, 0), batch(1, 0)], [batch(0, 2)]]
    script.failures["process"] = [Unavailable("database")] * 12
    script.run()
    assert script.did("process") == [("process", [(0, 0), (1, 0)]), ("process", [(0, 2)])]
    assert script.log.count("poll while paused") >= 12
    assert not script.paused
    assert max(script.waits) <= 0.5, "the member is never silent for longer"
    assert LONGEST_WAIT * 6 * 0.5 <= sum(script.waits) <= LONGEST_WAIT * 12


def test_an_assignment_waits_for_the_database_too() -> None:
    script = Script()
    script.failures["assign"] = [Unavailable("database")] * 3
    script.polls = [[batch(0, 0)]]
    script.run()
    assert script.did("start", "process") == [("start", {0: 0, 1: 0}), ("process", [(0, 0)])]


def test_batches_of_a_partition_that_leaves_during_a_wait_are_dropped() -> None:
    """Its new owner reads them; processing them here would only be fenced."""
    script = Script()
    script.polls = [[batch(0, 0), batch(1, 0)]]
    script.failures["process"] = [Unavailable("database")] * 2
    script.while_waiting = lambda: script.coming.append(Assignment(revoked=frozenset({1})))
    script.run()
    assert ("revoke", {1}) in script.log
    assert script.did("process") == [("process", [(0, 0)])]
    assert script.did("committed")[-1] == ("committed", {0: 2})


def test_a_fenced_partition_is_read_again_from_the_database() -> None:
    script = Script()
    script.polls = [[batch(0, 0), batch(1, 0)], [batch(1, 7)]]
    script.failures["process"] = [Fenced(frozenset({1}))]
    before = REGISTRY.get_sample_value("fraudwatch_fenced_total") or 0
    script.offsets[1] = 0
    fail = script._fail

    def another_owner_moved_on(what: str) -> None:
        if what == "process":
            script.offsets[1] = 7
        fail(what)

    script._fail = another_owner_moved_on  # type: ignore[method-assign]
    script.run()
    assert script.did("start", "revoke", "process") == [
        ("start", {0: 0, 1: 0}),
        ("revoke", {1}),
        ("process", [(0, 0)]),
        ("start", {1: 7}),
        ("process", [(1, 7)]),
    ]
    assert REGISTRY.get_sample_value("fraudwatch_fenced_total") == before + 1


def test_a_partition_that_was_lost_and_came_back_is_loaded_again() -> None:
    script = Script()
    script.polls = [[batch(0, 0)], []]
    script.coming.append(Assignment(assigned=frozenset({0}), revoked=frozenset({0, 1})))
    script.run()
    assert script.did("start", "revoke") == [
        ("start", {0: 0, 1: 0}),
        ("revoke", {0, 1}),
        ("start", {0: 0}),
    ]


def test_a_stream_that_is_away_is_polled_again() -> None:
    script = Script()
    script.polls = [Unavailable("broker"), [batch(0, 0)]]
    script.failures["ends"] = [Unavailable("broker")]
    script.run()
    assert script.did("process") == [("process", [(0, 0)])]


def test_stopping_does_not_wait_for_the_database() -> None:
    """Nothing is lost: the batches are not in the database and are read again."""
    script = Script()
    script.polls = [[batch(0, 0)]]
    script.failures["process"] = [Unavailable("database")] * 1000
    script.while_waiting = script.stop.set
    script.run()
    assert script.did("process") == []
    assert script.did("committed")[-1] == ("committed", {0: 0, 1: 0})
    assert script.closed


@pytest.mark.parametrize("error", [DeadLetterLimit("too many"), ValueError("a fault of ours")])
def test_other_errors_close_the_source_and_end_the_worker(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script()
    script.polls = [[batch(0, 0)]]
    script.failures["process"] = [error]
    with pytest.raises(type(error)):
        script.run()
    assert script.closed
    assert ("ALARM" in caplog.text) == isinstance(error, DeadLetterLimit)


def test_lag_is_measured_for_what_is_owned() -> None:
    script = Script()
    script.polls = [[batch(0, 0)], []]
    seen = []

    def committed(offsets: Mapping[int, int]) -> None:
        seen.append([lag(0), lag(1)])

    script.committed = committed  # type: ignore[method-assign]
    script.run()
    assert seen[0] == [8, 10]
    assert [lag(0), lag(1)] == [None, None], "a stopped worker reports nothing"


def lag(partition: int) -> float | None:
    labels = {"topic": TOPIC, "partition": str(partition)}
    return REGISTRY.get_sample_value("fraudwatch_lag_messages", labels)
