"""Record batches of ours are those of the client's own builder, byte for byte."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from streams.record_batches import record_batches
from streams.source import Message

AT_MS = 1_790_000_000_000

HEADERS = st.lists(st.tuples(st.text(max_size=80), st.binary(max_size=200)), max_size=3)
MESSAGES = st.lists(
    st.builds(
        Message,
        st.none() | st.binary(max_size=300),
        st.binary(max_size=300) | st.sampled_from([bytes(8191), bytes(70_000)]),
        HEADERS.map(tuple),
    ),
    min_size=1,
    max_size=150,
)


def by_the_client(messages: list[Message]) -> bytes:
    builder = MemoryRecordsBuilder(2, 3, 1 << 40)
    for message in messages:
        builder.append(AT_MS, message.key, message.value, list(message.headers))
    builder.close()
    return bytes(builder.buffer())


@settings(deadline=None)  # the first call compiles
@given(MESSAGES)
def test_a_batch_is_the_one_that_the_client_builds(messages: list[Message]) -> None:
    assert record_batches(messages, AT_MS, 1 << 40) == [by_the_client(messages)]


@given(MESSAGES, st.integers(1, 2000))
def test_batches_hold_all_messages_in_order_and_keep_to_their_size(
    messages: list[Message], most: int
) -> None:
    built = record_batches(messages, AT_MS, most)
    seen = []
    for octets in built:
        batch = MemoryRecords(octets).next_batch()
        found = [Message(r.key, r.value, tuple(r.headers)) for r in batch]
        size = sum(len(m.value) + len(m.key or b"") for m in found)
        assert size <= most or len(found) == 1
        seen += found
    assert seen == messages


def test_no_messages_make_no_batch() -> None:
    assert record_batches([], AT_MS, 1000) == []
