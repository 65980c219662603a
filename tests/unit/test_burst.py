"""What `benchmarks.burst` and `benchmarks.capacity` send: how much, when, and of whom."""

from __future__ import annotations

import json
from itertools import pairwise

from benchmarks.burst import BEFORE_SECONDS, BURST_SECONDS, PHASES, STEP_SECONDS, TIMES, Schedule
from benchmarks.capacity import HOT, half_hot
from streams.source import Message

NORMAL = 200


def test_the_burst_is_as_many_times_the_normal_rate_for_as_long_as_told() -> None:
    burst_rows = NORMAL * TIMES * BURST_SECONDS
    schedule = Schedule(NORMAL * BEFORE_SECONDS + burst_rows + NORMAL * 10, NORMAL)
    by_phase = [schedule.phase(due) for due in schedule.due]
    assert [by_phase.count(name) for name in PHASES] == [
        NORMAL * BEFORE_SECONDS,
        burst_rows,
        NORMAL * 10,
    ]
    for second in (0, BEFORE_SECONDS - 1, BEFORE_SECONDS + 5):
        rate = NORMAL if second < BEFORE_SECONDS else NORMAL * TIMES
        due = [at for at in schedule.due if second - 1e-9 <= at < second + 1 - 1e-9]
        assert len(due) == rate


def test_every_message_is_sent_once_in_order() -> None:
    schedule = Schedule(NORMAL * (BEFORE_SECONDS + 3), NORMAL)
    steps = list(schedule.steps())
    assert [first for _, first, _ in steps] == [0, *(end for _, _, end in steps[:-1])]
    assert steps[-1][2] == len(schedule.due)
    assert all(b[0] - a[0] > STEP_SECONDS / 2 for a, b in pairwise(steps))
    assert schedule.due_by(steps[3][0]) == steps[3][2]


def test_half_of_the_messages_are_of_the_hot_account() -> None:
    """Under its key, and otherwise as they were."""
    sent = [
        Message(b"acc-%d" % n, b'{"account_id":"acc-%d","amount":"%d.00"}' % (n, n))
        for n in range(10)
    ]
    found = half_hot(sent)
    assert [m.key == HOT.encode() for m in found] == [False, True] * 5
    for before, after in zip(sent, found, strict=True):
        was, now = json.loads(before.value), json.loads(after.value)
        assert now["account_id"].encode() == after.key
        assert now["amount"] == was["amount"]
