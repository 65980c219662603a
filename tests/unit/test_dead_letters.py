"""Floods of bad messages stop the worker; repeats and rare faults do not."""

from __future__ import annotations

import base64
import json

import pytest

from fraudwatch.errors import DeadLetterLimit, InputError
from streams.arrivals import read
from streams.dead_letters import DeadLetterGuard, Rejected, envelope
from streams.source import Damaged, RecordBatch


def bad(offset: int, reason: str = "not_json") -> Rejected:
    return Rejected(0, offset, offset + 1, reason, "", "", b"")


def guard(share: float = 0.2, consecutive: int = 50) -> DeadLetterGuard:
    return DeadLetterGuard("transactions", 0, share=share, consecutive=consecutive)


def test_a_run_of_bad_messages_stops_even_across_batches() -> None:
    watch = guard()
    watch.observe([], [bad(i) for i in range(50)])
    with pytest.raises(DeadLetterLimit, match="51 bad messages in a row up to offset 50"):
        watch.observe([], [bad(50)])


def test_a_good_message_ends_the_run() -> None:
    watch = guard()
    watch.observe([50], [bad(i) for i in range(50)])
    watch.observe([], [bad(i) for i in range(51, 101)])


def test_a_share_above_the_limit_stops() -> None:
    watch = guard(consecutive=10_000)
    good = [i for i in range(1000) if i % 4]
    with pytest.raises(DeadLetterLimit, match="25% of the last 1000"):
        watch.observe(good, [bad(i) for i in range(0, 1000, 4)])


def test_repeats_are_no_sign_of_bad_input() -> None:
    """A producer that sends everything twice after a crash must not stop the worker."""
    watch = guard()
    watch.observe([], [bad(i, "duplicate") for i in range(2000)])
    watch.observe([2000], [])
    with pytest.raises(DeadLetterLimit):
        watch.observe([], [bad(i) for i in range(2001, 2060)])


def test_a_restart_does_not_begin_a_new_count() -> None:
    """Restarted for ever by a supervisor, a worker would else drain the topic bit by bit."""
    watch = DeadLetterGuard("transactions", 0, share=0.2, consecutive=50, recent=[True] * 50)
    with pytest.raises(DeadLetterLimit):
        watch.observe([], [bad(0)])


def test_envelope_carries_the_raw_bytes() -> None:
    message = json.loads(envelope("transactions", Rejected(1, 5, 6, "not_json", "", "", b"\xff{")))
    assert base64.b64decode(message["raw"]) == b"\xff{"
    assert (message["topic"], message["partition"], message["offset"]) == ("transactions", 1, 5)


def number(value: bytes) -> int:
    try:
        return int(value)
    except ValueError:
        raise InputError("not_json") from None


def test_a_batch_is_split_into_items_and_rejected_messages() -> None:
    batch = RecordBatch(
        "t", 2, 10, 18, [10, 11, 12, 15], [None] * 4, [b"1", b"x", b"3", b"4"], [0] * 4,
        (Damaged(13, 15, "checksum", b"raw"),),
    )  # fmt: skip
    arrivals = read(batch, 11, number)
    assert (arrivals.offsets, arrivals.items) == ([12, 15], [3, 4])
    assert [(r.offset, r.next_offset, r.reason) for r in arrivals.rejected] == [
        (11, 12, "not_json"),
        (13, 15, "damaged"),
    ]


def test_repeats_are_removed_after_they_were_rejected() -> None:
    batch = RecordBatch("t", 0, 0, 3, [0, 1, 2], [None] * 3, [b"7", b"7", b"8"], [0] * 3)
    arrivals = read(batch, 0, number)
    arrivals.reject(1, "duplicate", "transaction_id")
    arrivals.drop({1})
    assert (arrivals.offsets, arrivals.items, arrivals.payloads) == ([0, 2], [7, 8], [b"7", b"8"])
    assert arrivals.rejected[0].raw == b"7"
