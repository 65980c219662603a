"""Records of a fetched partition, unpacked. Private parts of kafka-python 3.0.12 are used here
and nowhere else on the reading side; the version is pinned, and a test compares with the client's
own reading.

An error while the client unpacks messages makes its next `poll()` spin for ever. Here a damaged
batch becomes a `Damaged` range and reading goes on. It also takes a third of the time: no object
and no eleven fields for each record.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords

from streams.record_fields import (
    HEADER_COUNT,
    HEADERS,
    KEY,
    KEY_SIZE,
    OFFSET,
    TIME,
    VALUE,
    VALUE_SIZE,
    find_fields,
)
from streams.source import RAW_LIMIT, Damaged, Headers
from streams.unpacking import Unreadable, unpack

logger = logging.getLogger(__name__)

RECORDS_LIMIT = 500_000
"""Most records of one batch: each takes some 400 bytes of memory, however small it is."""

Row = tuple[int, int, bytes | None, bytes, Headers]
"""Offset, milliseconds, key, value, headers."""


class PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one fetched partition, as rows, and as `Damaged` where they cannot be read.

    Takes the place of the client's own class of this name.
    """

    def _maybe_skip_record(self, record: Row | Damaged) -> bool:
        if isinstance(record, Damaged):
            return bool(record.next_offset <= self.fetch_offset)
        return bool(record[0] < self.fetch_offset)

    def _unpack_records(
        self, _tp: TopicPartition, records: Any, *_deserializers: object
    ) -> Iterator[Row | Damaged]:
        whole = True
        while whole:
            batch = None
            # Any error, whatever its class (each codec has its own), is damage of this one batch.
            try:
                batch = records.next_batch()
                if batch is None:
                    break
                rows = self._rows(batch)
            except Exception as error:  # noqa: BLE001
                damaged, whole = self._damage(batch, records, error)
                self.next_fetch_offset = damaged.next_offset
                yield damaged
                continue
            for row in rows:
                self.next_fetch_offset = row[0] + 1
                yield row
            self.next_fetch_offset = max(self.next_fetch_offset, batch.next_offset)
        self.drain()

    def _rows(self, batch: Any) -> list[Row]:
        """The rows of a batch that passed its checksum; none of an aborted or control batch."""
        if self.check_crcs and not batch.validate_crc():
            raise CorruptRecordError("the checksum does not fit")
        if batch.magic < 2:  # written before Kafka 0.11 and never rewritten
            if batch.compression_type:  # the client would unpack it without limit, or loop for ever
                raise Unreadable("a compressed batch in a format before Kafka 0.11")
            return [(r.offset, r.timestamp, r.key, r.value or b"", ()) for r in batch]
        if batch.magic > 2:  # no checksum covers this byte
            raise Unreadable("a format that is not known")
        self.leader_epoch = batch.leader_epoch
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return []
        if batch.is_control_batch:
            return []
        return decode_records(batch)

    def _damage(self, batch: Any, records: Any, error: Exception) -> tuple[Damaged, bool]:
        """The range that is lost, and whether what follows it can be trusted.

        Where the batch's own header cannot be trusted, one offset is given up; the broker is asked
        again from the next one on. A false range would swallow good messages behind it.
        """
        first, end = self.next_fetch_offset, None
        cause = str(error) if isinstance(error, Unreadable) else type(error).__name__
        reason, raw = f"damaged batch ({cause})", b""
        if batch is not None and batch.magic == 2:
            raw = bytes(batch._buffer[:RAW_LIMIT])  # noqa: SLF001 - it has no public face
            end = _end_of(batch, records, first)
        known, end = end is not None, end or first + 1
        logger.error(
            "damaged batch in the stream",
            extra={
                "data": {
                    "partition": self.topic_partition.partition,
                    "offset": first,
                    "next": end,
                    "cause": cause,
                }
            },
        )
        return Damaged(first, end, reason, raw), known


def _end_of(batch: Any, records: Any, first: int) -> int | None:
    """Where the offsets of a damaged batch end, if anything that can be trusted tells it.

    Its own header, where the checksum fits; else where the next sound batch begins; else the header
    where two fields of it agree: they differ in batches that lost records to compaction alone.
    """
    count, width = batch.records_count, batch.last_offset_delta + 1
    end: int | None = batch.next_offset
    if batch.validate_crc():
        told = 0 < count <= width
    elif (following := _next_sound(records)) is not None:
        end, told = following.base_offset, True
    else:
        told = 0 < count == width <= RECORDS_LIMIT
    return end if told and end is not None and first < end else None


def _next_sound(records: Any) -> Any:
    """The batch that comes next, if its checksum fits; it is not taken."""
    piece = records._next_slice  # noqa: SLF001 - it has no public face
    if piece is None or len(piece) < DefaultRecordBatch.HEADER_STRUCT.size:
        return None
    batch = DefaultRecordBatch(piece)
    return batch if batch.magic == 2 and batch.validate_crc() else None


def recover(raw: bytes, first: int, end: int) -> list[tuple[bytes | None, bytes]] | str:
    """Key and value of the messages at offsets `first <= o < end` of a batch that was damaged, if
    it can be read by now (another limit, another codec); else why not.
    """
    try:
        batch = MemoryRecords(raw).next_batch()
        if batch is None:
            return "damaged: the batch was not kept as a whole"
        if batch.magic < 2 or not batch.validate_crc():
            return "damaged: the checksum does not fit"
        return [(row[2], row[3]) for row in decode_records(batch) if first <= row[0] < end]
    # Any error, whatever its class (each codec has its own), is damage.
    except Exception as error:  # noqa: BLE001
        cause = str(error) if isinstance(error, Unreadable) else type(error).__name__
        return f"damaged: the batch still cannot be read ({cause})"


def decode_records(batch: Any) -> list[Row]:
    """The records of a `DefaultRecordBatch`, format 2 (KIP-98), without an object for each.

    Raises `Unreadable` where lengths or offsets do not add up or are too much.
    """
    if not 0 <= batch.records_count <= RECORDS_LIMIT:
        raise Unreadable(f"it has more than {RECORDS_LIMIT} records, or fewer than none")
    packed = bytes(batch._buffer)  # noqa: SLF001 - it has no public face
    buffer, at = packed, batch._pos  # noqa: SLF001
    if batch.compression_type:
        buffer, at = unpack(batch.compression_type, packed[at:]), 0
    fields = find_fields(buffer, at, batch.records_count, batch.last_offset_delta)
    if fields is None:
        raise Unreadable("the lengths or offsets of its records do not fit")
    columns = fields.T.tolist()
    first_offset, first_time = batch.base_offset, batch.first_timestamp
    times = [first_time + later for later in columns[TIME]]
    if batch.timestamp_type:
        times = [batch.max_timestamp] * len(times)
    headers: Iterable[Headers] = repeat(())
    if any(columns[HEADER_COUNT]):
        headers = [
            _headers(buffer, start, count)
            for start, count in zip(columns[HEADERS], columns[HEADER_COUNT], strict=True)
        ]
    keys = [
        buffer[start : start + size] if size >= 0 else None
        for start, size in zip(columns[KEY], columns[KEY_SIZE], strict=True)
    ]
    values = [
        buffer[start : start + size] if size > 0 else b""
        for start, size in zip(columns[VALUE], columns[VALUE_SIZE], strict=True)
    ]
    offsets = [first_offset + later for later in columns[OFFSET]]
    return list(zip(offsets, times, keys, values, headers, strict=False))


def _varint(buffer: bytes, at: int) -> tuple[int, int]:
    """A zig-zag variable-length integer and where it ends."""
    result = shift = 0
    while (octet := buffer[at]) >= 0x80:
        result |= (octet & 0x7F) << shift
        shift += 7
        at += 1
    result |= octet << shift
    return (result >> 1) ^ -(result & 1), at + 1


def _headers(buffer: bytes, at: int, count: int) -> Headers:
    """Headers whose sizes `find_fields` found to fit."""
    headers = []
    for _ in range(count):
        size, at = _varint(buffer, at)
        name = buffer[at : at + size].decode()
        at += size
        size, at = _varint(buffer, at)
        headers.append((name, buffer[at : at + max(size, 0)]))
        at += max(size, 0)
    return tuple(headers)
