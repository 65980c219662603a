"""Keys must land where Kafka's own clients put them: an account lives in one partition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from streams.partitioner import partitions_of, spread
from streams.source import Message

HASHES_OF_THE_JAVA_CLIENT = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
"""As stated in the tests of Apache Kafka (UtilsTest.testMurmur2)."""


def test_the_hash_is_the_java_clients() -> None:
    many = 1 << 31
    keys = list(HASHES_OF_THE_JAVA_CLIENT)
    expected = [value & 0x7FFFFFFF for value in HASHES_OF_THE_JAVA_CLIENT.values()]
    assert partitions_of(keys, many).tolist() == expected


@given(st.lists(st.binary(max_size=40)), st.integers(1, 64))
def test_many_keys_at_once_are_each_hashed_alone(keys: list[bytes], partitions: int) -> None:
    expected = [(murmur2(key) & 0x7FFFFFFF) % partitions for key in keys]
    assert partitions_of(keys, partitions).tolist() == expected


def test_messages_keep_their_order_in_each_partition() -> None:
    messages = [Message(b"%d" % (number % 5), b"%d" % number) for number in range(40)]
    parts = spread(messages, 3, iter(range(40)))
    assert (
        sorted((m for part in parts.values() for m in part), key=lambda m: int(m.value)) == messages
    )
    for part in parts.values():
        assert part == sorted(part, key=lambda m: int(m.value))
