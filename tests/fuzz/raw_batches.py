"""Record batches (format 2, KIP-98) written by hand: to claim what no producer would."""

from __future__ import annotations

import gzip
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence

import lz4.frame
import pyarrow as pa
import zstandard
from kafka.record.util import calc_crc32c

from streams.kafka_publisher import _BulkWriter
from streams.kafka_security import NO_SECURITY

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
CODECS = {"gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}
HEADER = struct.Struct(">qiibIhiqqqhii")
AFTER_CRC = 21
XERIAL = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"


def varint(number: int) -> bytes:
    """Zig-zag, as records have it."""
    number = (number << 1) ^ (number >> 63)
    octets = bytearray()
    while number >= 0x80:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def record(offset: int, value: bytes, key: bytes = b"k", headers: bytes = varint(0)) -> bytes:
    """One record; `headers` is what stands from their number on."""
    body = b"\x00" + varint(0) + varint(offset) + varint(len(key)) + key
    body += varint(len(value)) + value + headers
    return varint(len(body)) + body


def xerial(data: bytes) -> bytes:
    """As the Java client writes Snappy: in blocks of 32 KB."""
    blocks = [data[at : at + 32_768] for at in range(0, len(data), 32_768)]
    packed = [pa.compress(block, codec="snappy", asbytes=True) for block in blocks]
    return XERIAL + b"".join(len(block).to_bytes(4, "big") + block for block in packed)


PACK: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    GZIP: lambda data: gzip.compress(data, compresslevel=1),
    SNAPPY: xerial,
    LZ4: lambda data: lz4.frame.compress(data, block_linked=False),
    ZSTD: lambda data: zstandard.ZstdCompressor().compress(data),
}


def raw_batch(
    records: bytes, count: int, codec: int = 0, *, magic: int = 2, packed: bytes | None = None
) -> bytes:
    """A batch of `count` records with a checksum that fits; `packed` stands in for the records."""
    body = PACK[codec](records) if packed is None else packed
    now = int(time.time() * 1000)
    fields = (codec, count - 1, now, now, -1, -1, -1, count)
    length = HEADER.size - 12 + len(body)
    checked = HEADER.pack(0, length, -1, magic, 0, *fields)[AFTER_CRC:] + body
    return HEADER.pack(0, length, -1, magic, calc_crc32c(checked), *fields) + body


def send_raw(bootstrap: str, topic: str, batches: Sequence[bytes]) -> None:
    """Have a broker take them, one request each. Raises what the broker says of one it refuses."""
    writer = _BulkWriter(bootstrap, NO_SECURITY)
    try:
        deadline = time.monotonic() + 60
        writer.partitions(topic, 20)
        waiting = deque(batches)
        while waiting:
            failure = writer._round(topic, {0: waiting}, deadline)
            if failure is not None and time.monotonic() > deadline:
                raise failure
    finally:
        writer.close()
