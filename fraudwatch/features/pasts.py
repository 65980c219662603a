"""What a row's account had received before the row, told after the row's whole batch has joined.

A later row of a batch may tell of an earlier time, push what is old out of the history, or take
a place among the newest. None of that may show in the reasons of rows before it: they would depend
on where the stream was cut. So the histories of accounts that occur more than once in a batch are
copied before it, and the batch's own rows are added up to the row that is asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudwatch.features import kernel as k
from fraudwatch.features import snapshot
from fraudwatch.features.columns import Columns
from fraudwatch.features.layout import HISTORY, Pools
from fraudwatch.features.spans import KEEP, RETAIN


class Pasts:
    """The pasts of one batch's rows. Make it before the batch joins, ask it after."""

    def __init__(self, pools: Pools, columns: Columns) -> None:
        ranked = np.sort(columns.account)
        self._columns = columns
        self._repeated = np.unique(ranked[1:][ranked[1:] == ranked[:-1]])
        self._before = snapshot.histories(pools, self._repeated)

    def times(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """The times of rows of the batch."""
        return self._columns.time_us[rows]

    def of(self, pools: Pools, rows: NDArray[np.intp]) -> list[NDArray[np.void]]:
        """For rows of the batch the history, of times before theirs, that each was measured
        against; `pools` as they stand after the batch."""
        accounts = self._columns.account[rows]
        places = np.searchsorted(self._repeated, accounts)
        alone = ~np.isin(accounts, self._repeated)
        after = snapshot.histories(pools, accounts[alone])
        singles = iter(range(len(after.lengths)))
        return [
            self._single(int(row), *after.of(next(singles)))
            if single
            else self._among(int(row), *self._before.of(int(place)))
            for row, place, single in zip(rows, places, alone, strict=True)
        ]

    def _single(self, row: int, history: NDArray[np.void], latest: int) -> NDArray[np.void]:
        """From the history that only this row has joined since."""
        time = self._columns.time_us[row]
        if time > latest - RETAIN:
            history = np.delete(history, np.searchsorted(history["time"], time, side="right") - 1)
        return _measured(history, time, latest)

    def _among(self, row: int, history: NDArray[np.void], latest: int) -> NDArray[np.void]:
        """From the history before the batch and the batch's earlier rows of this account."""
        columns = self._columns
        earlier = np.flatnonzero(columns.account[:row] == columns.account[row])
        joined = np.zeros(len(earlier), dtype=HISTORY)
        joined["time"] = columns.time_us[earlier]
        joined["amount"] = columns.amount_e4[earlier]
        for name in ("merchant", "country", "device"):
            joined[name] = [k.narrow(value) for value in getattr(columns, name)[earlier]]
        together = np.concatenate([history, joined])
        together = together[np.argsort(together["time"], kind="stable")]
        time = columns.time_us[row]
        return _measured(together, time, max(latest, time, *joined["time"].tolist()))


def _measured(history: NDArray[np.void], time: np.int64, latest: int) -> NDArray[np.void]:
    """The part of a history that a row of this time is measured against."""
    kept = history[max(0, len(history) - KEEP) :]
    times = kept["time"]
    return np.asarray(kept[(times > latest - RETAIN) & (times < time)])
