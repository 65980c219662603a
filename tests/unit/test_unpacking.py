"""Compressed batches are unpacked as others pack them, and never beyond the limit."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.record.memory_records import MemoryRecords

from streams.kafka_records import RECORDS_LIMIT, PartitionRecords, Row, recover
from streams.source import RAW_LIMIT, Damaged
from streams.unpacking import TOO_LARGE, UNPACKED_LIMIT, Unreadable, unpack
from tests.fuzz.raw_batches import CODECS, GZIP, PACK, SNAPPY, ZSTD, raw_batch, record, varint

MB = 1024 * 1024
codecs = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)


def read(data: bytes) -> list[Row | Damaged]:
    unpacked = PartitionRecords(0, TopicPartition("t", 0), MemoryRecords(data))
    found: list[Row | Damaged] = []
    while unpacked:
        found += unpacked.take(1000)
    return found


@given(st.binary(max_size=5000), st.integers(1, 60), st.sampled_from(list(CODECS.values())))
def test_what_was_packed_comes_back(data: bytes, times: int, codec: int) -> None:
    assert unpack(codec, PACK[codec](data * times)) == data * times


@given(st.binary(max_size=500))
def test_snappy_without_blocks_and_gzip_in_parts_are_read(data: bytes) -> None:
    """As other clients than the Java one write them."""
    assert unpack(SNAPPY, pa.compress(data, codec="snappy", asbytes=True)) == data
    assert unpack(GZIP, gzip.compress(data) + gzip.compress(data)) == 2 * data


@codecs
def test_no_more_than_the_limit_is_unpacked(codec: int) -> None:
    """A hundred megabytes of zeros fit into some kilobytes."""
    bomb = PACK[codec](bytes(100 * MB))
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match=TOO_LARGE):
            unpack(codec, bomb, MB)
        assert tracemalloc.get_traced_memory()[1] < 4 * MB + len(bomb)
    finally:
        tracemalloc.stop()
    assert unpack(codec, PACK[codec](bytes(MB)), MB) == bytes(MB)


def test_a_false_length_claims_no_memory() -> None:
    """Snappy names the length first; five bytes must not make a gigabyte."""
    for length in (2**31 - 1, UNPACKED_LIMIT):
        number = bytearray()
        while length >= 0x80:
            number.append(length & 0x7F | 0x80)
            length >>= 7
        number.append(length)
        with pytest.raises(Unreadable):
            unpack(SNAPPY, bytes(number) + b"\x00")
    with pytest.raises(Unreadable, match="no length"):
        unpack(SNAPPY, b"\xff" * 9)
    with pytest.raises(Unreadable, match="codec"):
        unpack(5, b"")


@settings(deadline=None)
@given(st.sampled_from(list(CODECS.values())), st.binary(max_size=200))
def test_any_bytes_as_packed_records_are_one_lost_batch(codec: int, packed: bytes) -> None:
    """With a checksum that fits: a producer may mean it. What follows is read."""
    follower = bytearray(raw_batch(record(0, b"next"), 1))
    follower[:8] = (3).to_bytes(8, "big")
    *lost, last = read(raw_batch(b"", 3, codec, packed=packed) + bytes(follower))
    assert [type(item) for item in lost] == [Damaged]
    assert not isinstance(last, Damaged)
    assert (last[0], last[3]) == (3, b"next")


@codecs
def test_a_bomb_becomes_a_damaged_range(codec: int) -> None:
    records = record(0, bytes(UNPACKED_LIMIT)) + record(1, b"x")
    data = raw_batch(records, 2, codec)
    [lost] = read(data)
    assert isinstance(lost, Damaged)
    assert (lost.first_offset, lost.next_offset) == (0, 2)
    assert TOO_LARGE in lost.reason
    assert lost.raw == data[:RAW_LIMIT]
    if len(lost.raw) == len(data):
        assert "more than" in str(recover(lost.raw, 0, 2))
    else:
        assert recover(lost.raw, 0, 2) == "damaged: the batch was not kept as a whole"


def test_millions_of_empty_records_become_a_damaged_range() -> None:
    """Each takes eight bytes when packed in a batch and hundreds in memory."""
    count = RECORDS_LIMIT + 1
    [lost] = read(raw_batch(b"", count, ZSTD))
    assert isinstance(lost, Damaged)
    assert (lost.first_offset, lost.next_offset) == (0, count)
    assert "records" in lost.reason


@pytest.mark.parametrize(
    "headers",
    [
        varint(2**40),
        varint(-1),
        varint(2**62) + varint(-1) * 2,
        varint(1) + varint(-3) + varint(0),
        varint(1) + varint(2**40) + b"x",
        varint(1) + varint(1) + b"\xff" + varint(0),
    ],
)
def test_false_sizes_of_headers_are_damage_and_no_hang(headers: bytes) -> None:
    [lost] = read(raw_batch(record(0, b"v", headers=headers), 1))
    assert isinstance(lost, Damaged)


def test_old_formats_are_read_unpacked_and_refused_packed() -> None:
    """The client's own reader of these loops for ever on a false length, once unpacked."""
    body = b"\x01" + bytes([GZIP]) + (5).to_bytes(8, "big") + b"\xff\xff\xff\xff"
    packed = gzip.compress(bytes(26))
    body += len(packed).to_bytes(4, "big") + packed
    checksum = zlib.crc32(body).to_bytes(4, "big")
    data = bytes(8) + (4 + len(body)).to_bytes(4, "big") + checksum + body
    [lost] = read(data)
    assert isinstance(lost, Damaged)
    assert "before Kafka 0.11" in lost.reason
