"""Every offset between two reads is a message, damaged, or accounted for as a gap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.casework.offsets import Gap, gaps_of
from streams.source import Damaged, RecordBatch


def batch(
    first: int, end: int, offsets: list[int], damaged: tuple[Damaged, ...] = ()
) -> RecordBatch:
    n = len(offsets)
    return RecordBatch("t", 0, first, end, offsets, [None] * n, [b""] * n, [0] * n, damaged)


def test_no_gaps_in_a_plain_batch() -> None:
    assert gaps_of(batch(5, 8, [5, 6, 7]), 5) == []


def test_control_records_are_empty_gaps() -> None:
    """An aborted Kafka transaction leaves offsets that no reader ever sees."""
    assert gaps_of(batch(5, 10, [6, 8]), 5) == [
        Gap(0, 5, 6, "empty"),
        Gap(0, 7, 8, "empty"),
        Gap(0, 9, 10, "empty"),
    ]


def test_messages_that_expired_are_told_apart() -> None:
    assert gaps_of(batch(20, 21, [20]), 5) == [Gap(0, 5, 20, "expired")]


def test_offsets_read_before_give_no_gap() -> None:
    assert gaps_of(batch(0, 6, [0, 1, 2, 3, 4, 5]), 4) == []


@given(st.data())
def test_pieces_cover_the_read_exactly_once(data: st.DataObject) -> None:
    first = data.draw(st.integers(0, 50))
    kinds = data.draw(st.lists(st.sampled_from("mde"), max_size=40))
    end = first + len(kinds)
    offsets = [first + i for i, kind in enumerate(kinds) if kind == "m"]
    damaged = tuple(
        Damaged(first + i, first + i + 1, "x") for i, kind in enumerate(kinds) if kind == "d"
    )
    expected = data.draw(st.integers(0, end))
    covered = sorted(
        o
        for piece in (
            [o for o in offsets if o >= expected],
            [d.first_offset for d in damaged if d.first_offset >= expected],
            *(
                range(gap.first_offset, gap.next_offset)
                for gap in gaps_of(batch(first, end, offsets, damaged), expected)
            ),
        )
        for o in piece
    )
    assert covered == list(range(expected, end))
