"""The pools behind the kernel: made, grown, written as canonical bytes and read again."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudwatch.features import kernel as k
from fraudwatch.features.layout import ACCOUNT, HISTORY, MEMORY, Pools
from fraudwatch.features.packing import pack, unpack

MAGIC = b"FWSTATE1"
SIZES = 48  # size classes of a heap
KEPT = ("id", "first", "latest", "count", "located", "latitude", "longitude")


def empty_pools(accounts: int = 16, history: int = 64, memory: int = 256) -> Pools:
    """Pools without accounts, with room for so many accounts, history rows and remembered pairs."""
    heaps = [np.full(SIZES, -1, dtype=np.int64) for _ in range(2)]
    for heap in heaps:
        heap[0] = 0
    return Pools(
        totals=np.zeros(2, dtype=np.int64),
        places=np.full(_index_size(accounts), -1, dtype=np.int64),
        accounts=np.zeros(accounts, dtype=ACCOUNT),
        history=np.zeros(history, dtype=HISTORY),
        history_heap=heaps[0],
        memory=np.zeros(memory, dtype=MEMORY),
        memory_heap=heaps[1],
        scratch=np.zeros((3, k.SCRATCH), dtype=np.int64),
    )


def grown(pools: Pools, short: int) -> Pools:
    """Pools with half as much room again of what `kernel.advance` was short of."""
    if short == k.SHORT_OF_HISTORY:
        return pools._replace(history=_larger(pools.history))
    if short == k.SHORT_OF_MEMORY:
        return pools._replace(memory=_larger(pools.memory))
    accounts = _larger(pools.accounts)
    places = np.full(_index_size(len(accounts)), -1, dtype=np.int64)
    k.reindex(places, accounts, int(pools.totals[0]))
    return pools._replace(accounts=accounts, places=places)


class Histories(NamedTuple):
    """Histories of some accounts, one after the other: `rows` of `HISTORY`, oldest first, at most
    `KEEP + 1` each; how many each has; each one's `latest`, `kernel.NEVER` for an unknown account.

    A history may begin with rows that are too old to count.
    """

    rows: NDArray[np.void]
    lengths: NDArray[np.int64]
    latest: NDArray[np.int64]

    def of(self, place: int) -> tuple[NDArray[np.void], int]:
        """One account's rows and latest time."""
        begin = int(self.lengths[:place].sum())
        return self.rows[begin : begin + int(self.lengths[place])], int(self.latest[place])


def histories(pools: Pools, ids: NDArray[np.uint64]) -> Histories:
    """Copies of the accounts' histories, in the order of `ids`."""
    numbers = np.empty(len(ids), dtype=np.int64)
    k.numbers_of(pools.places, pools.accounts, ids, numbers)
    known = numbers >= 0
    records = pools.accounts[numbers[known]]
    lengths, latest = np.zeros(len(ids), dtype=np.int64), np.full(len(ids), k.NEVER)
    lengths[known] = np.minimum(records["length"], k.KEEP + 1)
    latest[known] = records["latest"]
    ends = np.zeros(len(ids), dtype=np.int64)
    ends[known] = records["history"] + records["length"]
    owner, rank = _members(lengths)
    return Histories(pools.history[(ends - lengths)[owner] + rank], lengths, latest)


def dump(pools: Pools, version: str) -> bytes:
    """Accounts by id, their live history in order, their live memory by key."""
    accounts = pools.accounts[: pools.totals[0]]
    accounts = accounts[np.argsort(accounts["id"])]
    owner, rank = _members(accounts["length"])
    history = pools.history[accounts["history"][owner] + rank]
    live = (history["time"] > accounts["latest"][owner] - k.RETAIN) & (
        rank >= accounts["length"][owner] - k.KEEP
    )
    history, history_owner = history[live], owner[live]
    owner, rank = _members(accounts["slots"])
    memory = pools.memory[accounts["memory"][owner] + rank]
    live = (memory["key"] != 0) & (memory["time"] > accounts["latest"][owner] - k.REMEMBER)
    memory, owner = memory[live], owner[live]
    order = np.argsort((owner << 32) | memory["key"])
    memory, memory_owner = memory[order], owner[order]
    arrays: dict[str, NDArray[Any]] = {name: accounts[name] for name in KEPT}
    arrays["length"] = np.bincount(history_owner, minlength=len(accounts)).astype(np.int32)
    arrays["known"] = np.bincount(memory_owner, minlength=len(accounts)).astype(np.int32)
    for name in HISTORY.names or ():
        arrays[f"history_{name}"] = history[name]
    for name in MEMORY.names or ():
        arrays[f"memory_{name}"] = memory[name]
    for name in ("history_time", "memory_time"):  # differences compress better
        arrays[name] = np.diff(arrays[name], prepend=0)
    return pack(MAGIC, version, arrays)


def load(data: bytes) -> tuple[str, Pools]:
    """Version and pools of a dump. Raises `BundleError` where the data is damaged."""
    version, arrays = unpack(MAGIC, data)
    number = len(arrays["id"])
    length, known = arrays["length"].astype(np.int64), arrays["known"].astype(np.int64)
    room, slots = _powers(length), _powers((known * 4 + 2) // 3)  # memory is at most 3/4 full
    room[length == 0] = slots[known == 0] = 0
    pools = empty_pools(number, int(room.sum()), int(slots.sum()))
    accounts = pools.accounts[:number]
    for name in KEPT:
        accounts[name] = arrays[name]
    accounts["length"], accounts["room"] = length, room
    accounts["known"], accounts["slots"] = known, slots
    accounts["history"], accounts["memory"] = _starts(room), _starts(slots)
    owner, rank = _members(length)
    history = np.empty(len(owner), dtype=HISTORY)
    for name in HISTORY.names or ():
        values = arrays[f"history_{name}"]
        history[name] = np.cumsum(values) if name == "time" else values
    pools.history[accounts["history"][owner] + rank] = history
    k.fill_memory(
        pools.memory,
        accounts["memory"].copy(),
        slots,
        known,
        arrays["memory_key"],
        np.cumsum(arrays["memory_time"]),
    )
    pools.history_heap[0], pools.memory_heap[0] = room.sum(), slots.sum()
    pools.totals[0] = number
    k.reindex(pools.places, pools.accounts, number)
    return version, pools


def _larger(pool: NDArray[np.void]) -> NDArray[np.void]:
    """A pool half as large again, with the same beginning."""
    larger = np.zeros(len(pool) + len(pool) // 2 + 16, dtype=pool.dtype)
    larger[: len(pool)] = pool
    return larger


def _members(lengths: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For segments of these lengths: owner and rank within it of each member, in order."""
    lengths = lengths.astype(np.int64)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    return owner, np.arange(len(owner)) - np.repeat(_starts(lengths), lengths)


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(lengths) - lengths


def _power(least: int) -> int:
    """The smallest size of a segment that holds so many."""
    return max(k.SMALLEST, 1 << (least - 1).bit_length()) if least > 0 else k.SMALLEST


def _powers(least: NDArray[np.int64]) -> NDArray[np.int64]:
    sizes = np.full(len(least), k.SMALLEST, dtype=np.int64)
    while (small := sizes < least).any():
        sizes[small] *= 2
    return sizes


def _index_size(accounts: int) -> int:
    return _power(2 * accounts)
