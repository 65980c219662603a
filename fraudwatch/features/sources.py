"""When compiled code must be compiled anew."""

from __future__ import annotations

import hashlib
from pathlib import Path

_NAMES = (
    "spans",
    "layout",
    "bits",
    "ordered",
    "busy",
    "rooms",
    "walk",
    "kernel",
    "frozen",
)


def fingerprint() -> str:
    """Changes with every source of the compiled code of this package.

    Numba's cache on disk watches only the file of the function that is called, and would go on
    using old code of the others. What a function closes over is in the cache's key: so functions
    that are called from Python close over this.
    """
    here = Path(__file__).parent
    texts = [(here / f"{name}.py").read_bytes() for name in _NAMES]
    return hashlib.sha256(b"".join(texts)).hexdigest()
