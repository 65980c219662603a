"""Our unpacking of Kafka's record batches must read what the client's own reads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.protocol.consumer import IsolationLevel
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from streams.kafka_records import PartitionRecords, Row, decode_records
from streams.record_fields import KEY, KEY_SIZE, OFFSET, VALUE, VALUE_SIZE, find_fields
from streams.source import Damaged

PLAIN, GZIP, LZ4, ZSTD = 0, 1, 3, 4

records = st.lists(
    st.tuples(
        st.integers(0, 2**42),
        st.none() | st.binary(max_size=80),
        st.none() | st.binary(max_size=300),
        st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=8)), max_size=3),
    ),
    min_size=1,
    max_size=30,
)


def batch_bytes(
    rows: list[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]],
    codec: int = PLAIN,
    offset: int = 0,
) -> bytes:
    builder = MemoryRecordsBuilder(2, codec, 1 << 20, offset=0)
    for at, key, value, headers in rows:
        builder.append(at, key, value, headers)
    builder.close()
    # the first eight bytes are the offset, which a broker fills in; no checksum covers it
    return offset.to_bytes(8, "big") + bytes(builder.buffer())[8:]


def numbered(count: int, offset: int, codec: int = PLAIN) -> bytes:
    return batch_bytes([(5, b"k", b"%d" % n, []) for n in range(count)], codec, offset)


def unpack(data: bytes, fetch_offset: int = 0) -> tuple[list[Row | Damaged], PartitionRecords]:
    unpacked = PartitionRecords(
        fetch_offset,
        TopicPartition("t", 0),
        MemoryRecords(data),
        isolation_level=IsolationLevel.READ_COMMITTED,
    )
    found: list[Row | Damaged] = []
    while unpacked:  # as the client does: false once it is used up
        found += unpacked.take(7)
    return found, unpacked


@settings(deadline=None)  # the first call compiles
@given(records, st.sampled_from([PLAIN, GZIP, LZ4, ZSTD]))
def test_records_are_read_as_the_client_reads_them(
    rows: list[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]], codec: int
) -> None:
    data = batch_bytes(rows, codec)
    expected = [
        (
            record.offset,
            record.timestamp,
            record.key,
            record.value or b"",
            tuple((name, value or b"") for name, value in record.headers),
        )
        for record in MemoryRecords(data).next_batch()
    ]
    assert decode_records(MemoryRecords(data).next_batch()) == expected
    assert unpack(data)[0] == expected


@given(records, st.data())
def test_fields_never_lie_outside_of_the_bytes(
    rows: list[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]],
    data: st.DataObject,
) -> None:
    """Compiled code checks no bounds by itself: whatever the bytes, it must not follow them out."""
    buffer = bytearray(batch_bytes(rows)[61:])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(buffer) - 1))
        buffer[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(buffer)))
    for octets in (bytes(buffer), bytes(buffer[:cut])):
        fields = find_fields(octets, 0, len(rows), len(rows) - 1)
        if fields is not None:
            for start, size in ((KEY, KEY_SIZE), (VALUE, VALUE_SIZE)):
                ends = fields[:, start] + fields[:, size].clip(0)
                assert ((fields[:, start] >= 0) & (ends <= len(octets))).all()
            assert fields[:, OFFSET].tolist() == sorted(set(fields[:, OFFSET].tolist()))


@given(st.integers(61, 200), st.integers(0, 7), st.sampled_from([PLAIN, LZ4]))
def test_one_changed_bit_loses_one_batch_and_no_other(place: int, bit: int, codec: int) -> None:
    """Whatever the damage, each offset is read or reported, in order, and nothing is raised."""
    first, second, third = numbered(20, 0, codec), numbered(20, 20, codec), numbered(20, 40, codec)
    damaged = bytearray(second)
    damaged[place % (len(second) - 61) + 61] ^= 1 << bit
    found, unpacked = unpack(first + bytes(damaged) + third)
    [loss] = [item for item in found if isinstance(item, Damaged)]
    assert (loss.first_offset, loss.next_offset, loss.raw) == (20, 40, bytes(damaged))
    offsets = [item[0] for item in found if not isinstance(item, Damaged)]
    assert offsets == [*range(20), *range(40, 60)]
    assert unpacked.next_fetch_offset == 60
    assert not unpacked, "it is used up, so that the client fetches more"


def test_a_header_that_makes_no_sense_gives_up_one_offset_only() -> None:
    """What follows is asked for again: a wrong length must not skip good messages."""
    damaged = bytearray(numbered(5, 0))
    damaged[23:27] = (1_000_000).to_bytes(4, "big", signed=True)  # the last offset's delta
    damaged[57:61] = (-3).to_bytes(4, "big", signed=True)  # the number of records
    found, unpacked = unpack(bytes(damaged) + bytes(damaged))
    [loss] = found
    assert isinstance(loss, Damaged)
    assert (loss.first_offset, loss.next_offset) == (0, 1)
    assert unpacked.next_fetch_offset == 1
    assert not unpacked


def test_a_false_range_in_a_damaged_header_swallows_nothing() -> None:
    """The checksum does not fit, so the last offset may be false too: two billion good messages
    behind it were given up with it, or its own ones passed over as if there were none."""
    for false in (2**31 - 1, 1, -1):
        damaged = bytearray(numbered(5, 0))
        damaged[23:27] = false.to_bytes(4, "big", signed=True)  # the last offset's delta
        loss, *rows = unpack(bytes(damaged) + numbered(5, 5))[0]
        assert isinstance(loss, Damaged)
        assert (loss.first_offset, loss.next_offset) == (0, 5)
        assert [row[0] for row in rows if not isinstance(row, Damaged)] == [5, 6, 7, 8, 9]
        [alone], unpacked = unpack(bytes(damaged))
        assert isinstance(alone, Damaged)
        assert (alone.first_offset, alone.next_offset) == (0, 1)
        assert unpacked.next_fetch_offset == 1


@pytest.mark.parametrize("fetch_offset", [0, 1, 19, 20, 33])
def test_reading_begins_in_the_middle_of_a_batch(fetch_offset: int) -> None:
    found, _ = unpack(numbered(20, 0) + numbered(20, 20), fetch_offset)
    assert [row[0] for row in found if not isinstance(row, Damaged)] == list(
        range(fetch_offset, 40)
    )
