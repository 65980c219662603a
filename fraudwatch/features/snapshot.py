"""The pools behind the kernel: made, grown, written as canonical bytes and read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudwatch.errors import BundleError
from fraudwatch.features import frozen
from fraudwatch.features import kernel as k
from fraudwatch.features.layout import (
    ACCOUNT,
    ACCOUNTS,
    BUSY_FIELDS,
    DONE,
    FREE_SLAB,
    GRAIN,
    HISTORY,
    SHORT_OF_BUSY,
    SHORT_OF_SLABS,
    SHORT_OF_STORE,
    SIZES,
    SLAB,
    Pools,
)
from fraudwatch.features.packing import pack, unpack

MAGIC = b"FWSTATE2"
_HEAPS = 48  # size classes of the store
_SCRATCH = 1_024
_TAIL = 16  # the last words are read beyond the arena's last byte
_DERIVED = ("segment", "size", "entry_room", "row_room")
_STORED = tuple(name for name in ACCOUNT.names or () if name not in _DERIVED)


def empty_pools(accounts: int = 16, slabs: int = 1) -> Pools:
    """Pools without accounts, with room for so many of them."""
    arena = np.zeros(slabs * SLAB * GRAIN + _TAIL, dtype=np.uint8)
    words, floats, ints = _views(arena)
    heap = np.full(_HEAPS, -1, dtype=np.int64)
    heap[0] = 0
    classes = np.zeros((len(SIZES), 2), dtype=np.int64)
    classes[:, 0] = -1
    totals = np.zeros(8, dtype=np.int64)
    totals[FREE_SLAB] = -1
    store = np.zeros(16, dtype=np.int64)
    return Pools(
        totals=totals,
        places=np.full(_index_size(accounts), -1, dtype=np.int32),
        accounts=np.zeros(accounts, dtype=ACCOUNT),
        arena=arena,
        words=words,
        floats=floats,
        ints=ints,
        before=np.zeros(slabs, dtype=np.int32),
        classes=classes,
        scratch=np.zeros((8, _SCRATCH), dtype=np.int64),
        marks=np.zeros((3, _SCRATCH), dtype=np.int64),
        busy=np.zeros((0, BUSY_FIELDS), dtype=np.int64),
        spots=np.zeros((0, 2), dtype=np.float64),
        store=store,
        halves=store.view("<u2"),
        heap=heap,
    )


def memory_bytes(pools: Pools) -> int:
    """Bytes taken by all pools, used or not."""
    views = ("words", "floats", "ints", "halves")
    return sum(array.nbytes for name, array in pools._asdict().items() if name not in views)


def grown(pools: Pools, short: int) -> Pools:
    """The pools with more room of what the kernel was short of. The old ones are void."""
    if short == SHORT_OF_SLABS:
        slabs = _more(len(pools.before), 1, 16)
        # In place: a copy of the arena would take the memory of all accounts a second time.
        # Nothing else looks at it: its views are made anew.
        pools.arena.resize(slabs * SLAB * GRAIN + _TAIL, refcheck=False)
        words, floats, ints = _views(pools.arena)
        before = _longer(pools.before, slabs)
        return pools._replace(words=words, floats=floats, ints=ints, before=before)
    if short == SHORT_OF_STORE:
        store = _longer(pools.store, _more(len(pools.store), 16_384, 2))
        return pools._replace(store=store, halves=store.view("<u2"))
    if short == SHORT_OF_BUSY:
        rows = _more(len(pools.busy), 4, 2)
        return pools._replace(busy=_longer(pools.busy, rows), spots=_longer(pools.spots, rows))
    accounts = _longer(pools.accounts, _more(len(pools.accounts), 64, 8))
    places = pools.places
    if len(places) < _index_size(len(accounts)):
        places = np.full(_index_size(len(accounts)), -1, dtype=np.int32)
        k.reindex(places, accounts, int(pools.totals[ACCOUNTS]))
    return pools._replace(accounts=accounts, places=places)


@dataclass(frozen=True, eq=False)
class Histories:
    """Copies of some accounts' rows, one account after the other, and their latest times."""

    rows: NDArray[np.void]
    lengths: NDArray[np.int64]
    latest: NDArray[np.int64]

    def of(self, place: int) -> tuple[NDArray[np.void], int]:
        """One account's rows and latest time."""
        begin = int(self.lengths[:place].sum())
        return self.rows[begin : begin + int(self.lengths[place])], int(self.latest[place])


def histories(pools: Pools, ids: NDArray[np.uint64]) -> Histories:
    """Copies of the accounts' rows, in the order of `ids`."""
    numbers = np.empty(len(ids), dtype=np.int64)
    k.numbers_of(pools.places, pools.accounts, ids, numbers)
    lengths, latest = np.empty((2, len(ids)), dtype=np.int64)
    frozen.lengths_of(pools, numbers, lengths, latest)
    ends = np.cumsum(lengths)
    rows = np.empty(int(lengths.sum()), dtype=HISTORY)
    frozen.read(pools, numbers, ends, rows)
    return Histories(rows, lengths, latest)


def dump(pools: Pools, version: str, part: int = 0, parts: int = 1) -> bytes:
    """Accounts by id: of `parts` equal parts the one of that number."""
    ids = pools.accounts["id"][: pools.totals[ACCOUNTS]]
    numbers = np.flatnonzero(ids % np.uint64(parts) == part)
    numbers = numbers[np.argsort(ids[numbers])]
    records = np.zeros(len(numbers), dtype=ACCOUNT)
    arena = np.zeros(len(numbers) * 1_024 + _TAIL, dtype=np.uint8)
    words, floats, ints = _views(arena)
    done, grain = frozen.freeze(pools, numbers, records, words, ints, floats, 0, 0)
    while done < len(numbers):
        arena = _longer(arena, 2 * len(arena) + SLAB * GRAIN)
        words, floats, ints = _views(arena)
        done, grain = frozen.freeze(pools, numbers, records, words, ints, floats, done, grain)
    arrays: dict[str, NDArray[Any]] = {name: records[name] for name in _STORED}
    arrays["arena"] = arena[: grain * GRAIN]
    return pack(MAGIC, version, arrays)


def load(data: bytes, version: str, pools: Pools) -> Pools:
    """The pools with a dump's accounts added, which must not be in them yet.

    Raises `BundleError` where the data is damaged or of another version; nothing is added then.
    """
    found, arrays = unpack(MAGIC, data)
    if found != version:
        raise BundleError(f"account state was made with features {found}, not {version}")
    records = np.zeros(len(arrays["id"]), dtype=ACCOUNT)
    for name in _STORED:
        records[name] = arrays[name]
    records["entry_room"], records["row_room"] = records["entries"], records["rows"]
    words, floats, ints = _views(_longer(arrays["arena"], len(arrays["arena"]) + _TAIL))
    done, grain, short = frozen.thaw(pools, records, words, floats, ints, 0, 0)
    while short != DONE:
        pools = grown(pools, short)
        done, grain, short = frozen.thaw(pools, records, words, floats, ints, done, grain)
    return pools


def _views(
    arena: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint32]]:
    """An arena's bytes as numbers of 8 bytes from each byte on (whole, floating), and as fours."""
    size = len(arena) - 8
    words: NDArray[np.int64] = np.ndarray(size, "<i8", buffer=arena, strides=(1,))
    floats: NDArray[np.float64] = np.ndarray(size, "<f8", buffer=arena, strides=(1,))
    return words, floats, arena.view("<u4")


def _longer(pool: NDArray[Any], length: int) -> NDArray[Any]:
    longer = np.zeros((length, *pool.shape[1:]), dtype=pool.dtype)
    longer[: len(pool)] = pool
    return longer


def _more(length: int, least: int, part: int) -> int:
    """A length greater by a part of it."""
    return length + max(least, length // part)


def _index_size(accounts: int) -> int:
    """A power of two, so that the index is at most two thirds full."""
    return 1 << (accounts + accounts // 2).bit_length()
