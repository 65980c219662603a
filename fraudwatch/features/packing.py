"""Arrays as bytes: one compressed block with a hash, the same bytes for the same arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from fraudwatch.errors import BundleError

# Accounts are bits already: higher levels take up to three times as long for 1 % fewer bytes.
_LEVEL = -1
_PREFIX = 8 + 32 + 4  # magic, SHA-256 of the rest, length of the header


def pack(magic: bytes, version: str, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """`magic` (8 bytes), SHA-256 of what follows, header (JSON), the arrays compressed (zstd)."""
    header = {
        "version": version,
        "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    raw = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    body = len(text).to_bytes(4, "little") + text + zstandard.compress(raw, _LEVEL)
    return magic + hashlib.sha256(body).digest() + body


def unpack(magic: bytes, data: bytes) -> tuple[str, dict[str, NDArray[Any]]]:
    """Version and arrays (read-only). Raises `BundleError` for anything but packed bytes."""
    what = magic.decode().strip()
    if len(data) < _PREFIX or data[:8] != magic:
        raise BundleError(f"{what}: not such data")
    if hashlib.sha256(data[40:]).digest() != data[8:40]:
        raise BundleError(f"{what}: damaged (hash differs)")
    size = int.from_bytes(data[40:44], "little")
    header = json.loads(data[44 : 44 + size])
    raw = zstandard.decompress(data[44 + size :])
    arrays, at = {}, 0
    for name, code, shape in header["arrays"]:
        dtype, count = np.dtype(code), int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(raw, dtype, count, at).reshape(shape)
        at += count * dtype.itemsize
    return header["version"], arrays
