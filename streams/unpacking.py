"""Compressed record batches, unpacked up to a limit: a small batch may unpack to gigabytes.

The client's own unpacking has no limit, and knows Snappy only with a library that it does not
bring; here Snappy is read with Arrow's codec.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import pyarrow as pa
import zstandard
from lz4.frame import LZ4FrameDecompressor

UNPACKED_LIMIT = 64 * 1024 * 1024
"""Most bytes of one batch: sixty-four times what a broker takes by default, packed or not."""

TOO_LARGE = "it unpacks to more than is allowed"

_CHUNK = 256 * 1024
_GZIP_WRAPPER = 16 + zlib.MAX_WBITS
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER = 16


class Unreadable(ValueError):
    """A batch that cannot be read: why. Holds nothing of what is in it."""


def unpack(codec: int, data: bytes, limit: int = UNPACKED_LIMIT) -> bytes:
    """What a batch's records hold, by Kafka's number of the codec.

    Raises `Unreadable` when that is more than `limit` bytes or the codec is unknown; damaged data
    raise that or errors of their codec. Never holds more than `limit` and some buffers in memory.
    """
    unpacker = _UNPACKERS.get(codec)
    if unpacker is None:
        raise Unreadable("the codec is unknown")
    return unpacker(data, limit)


def _joined(read: Callable[[int], bytes], limit: int) -> bytes:
    """All that `read(size)` gives until it gives nothing."""
    chunks, total = [], 0
    while chunk := read(_CHUNK):
        total += len(chunk)
        if total > limit:
            raise Unreadable(TOO_LARGE)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _gzip(data: bytes, limit: int) -> bytes:
    parts, total = [], 0
    while data:
        unpacker = zlib.decompressobj(_GZIP_WRAPPER)
        part = unpacker.decompress(data, limit + 1 - total)
        total += len(part)
        if total > limit:
            raise Unreadable(TOO_LARGE)
        if not unpacker.eof:
            raise Unreadable("the packed data end too early")
        parts.append(part)
        data = unpacker.unused_data
    return b"".join(parts)


def _lz4(data: bytes, limit: int) -> bytes:
    unpacker = LZ4FrameDecompressor()

    def read(size: int) -> bytes:
        nonlocal data
        given, data = data, b""
        # An empty answer may mean that only a checksum was left, or that more input is wanted.
        return b"" if unpacker.eof else bytes(unpacker.decompress(given, size))

    found = _joined(read, limit)
    if not unpacker.eof:
        raise Unreadable("the packed data end too early")
    return found


def _zstd(data: bytes, limit: int) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(
        io.BytesIO(data), read_across_frames=True
    ) as reader:
        return _joined(reader.read, limit)


def _snappy(data: bytes, limit: int) -> bytes:
    """Plain, or in the blocks of the Java library's stream (xerial)."""
    if not data.startswith(_XERIAL):
        return _snappy_block(data, limit)
    parts, total, at = [], 0, _XERIAL_HEADER
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if size > len(data) - at:
            raise Unreadable("the packed data end too early")
        parts.append(_snappy_block(data[at : at + size], limit - total))
        total += len(parts[-1])
        at += size
    return b"".join(parts)


def _snappy_block(data: bytes, limit: int) -> bytes:
    """One block; it begins with its unpacked length as a variable-length number."""
    length, shift = 0, 0
    for octet in data[:5]:
        length |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            break
    else:
        raise Unreadable("the packed data have no length")
    if length > limit:
        raise Unreadable(TOO_LARGE)
    # Three bytes of Snappy give 64 at most, so a false length cannot claim much memory.
    if length > 32 * len(data):
        raise Unreadable("the length of the packed data does not fit")
    unpacked: bytes = pa.decompress(data, decompressed_size=length, codec="snappy", asbytes=True)
    return unpacked


_UNPACKERS: dict[int, Callable[[bytes, int], bytes]] = {1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}
