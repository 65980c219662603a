"""Features of recorded transactions, as the live stream would have computed them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fraudwatch.errors import Invalid
from fraudwatch.features import profiles as p
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import Columns, from_frame
from fraudwatch.features.spans import DAY
from fraudwatch.features.state import AccountState, FeatureBatch


def compute_features(
    frame: pd.DataFrame,
    spec: FeatureSpec,
    *,
    known_frauds: pd.DataFrame | None = None,
    label_delay_days: int = p.LABEL_DELAY_DAYS,
    progress: Callable[[int], None] | None = None,
) -> FeatureBatch:
    """Features of a canonical frame (sorted by event_time, transaction_id), row by row.

    Goes through it day by day (UTC). The merchant profiles of a day know the transactions of
    earlier days and the labels whose `known_at` is before its 00:00 UTC. `known_frauds` has
    `transaction_id`, `fraud` (bool), `known_at` (datetime64[us, UTC]); of several labels of one
    transaction the one known last counts, from the moment it is known. `progress` is called with
    the number of rows done after each day. Raises `Invalid` for a frame out of order.
    """
    columns = from_frame(frame, spec)
    days = columns.time_us // DAY
    if (np.diff(columns.time_us) < 0).any():
        raise Invalid("features of a frame: it must be sorted by event_time")
    state = AccountState(spec)
    values = np.empty((len(frame), len(spec.names)))
    history_count, late_us = np.empty((2, len(frame)), dtype=np.int64)
    labels = _label_events(frame, columns, known_frauds)
    past: list[tuple[int, p.DayTable]] = []
    for begin, end in pairwise([*np.unique(days, return_index=True)[1], len(frame)]):
        day = int(days[begin])
        past = [(d, t) for d, t in past if d >= day - p.LONGEST_DAYS - label_delay_days]
        profiles = p.build_profiles(
            p.EPOCH_DAY + timedelta(days=day),
            [*(table for _, table in past), labels.known_before(day)],
            label_delay_days=label_delay_days,
        )
        rows = columns.take(slice(begin, end))
        batch = state.extend(rows, profiles)
        values[begin:end], history_count[begin:end] = batch.values, batch.history_count
        late_us[begin:end] = batch.late_us
        past.append((day, p.day_table(rows)))
        if progress is not None:
            progress(int(end))
    return FeatureBatch(values, history_count, late_us)


class _LabelEvents:
    """Changes of what is known: +1 when a transaction turns out to be fraud, -1 to be none."""

    def __init__(
        self,
        merchant: NDArray[np.uint64],
        day: NDArray[np.int64],
        known_us: NDArray[np.int64],
        change: NDArray[np.int64],
    ) -> None:
        order = np.argsort(known_us, kind="stable")
        self.known_us = known_us[order]
        none = np.zeros(len(order), dtype=np.int64)
        self.table = p.DayTable(merchant[order], day[order], none, none, change[order])

    def known_before(self, day: int) -> p.DayTable:
        until = int(np.searchsorted(self.known_us, day * DAY, side="left"))
        return self.table.first(until)


def _label_events(
    frame: pd.DataFrame, columns: Columns, known_frauds: pd.DataFrame | None
) -> _LabelEvents:
    if known_frauds is None or known_frauds.empty:
        none = np.zeros(0, dtype=np.int64)
        return _LabelEvents(columns.merchant[:0], none, none, none)
    labels = pd.DataFrame(
        {
            "row": pd.Index(frame["transaction_id"]).get_indexer(known_frauds["transaction_id"]),
            "fraud": known_frauds["fraud"].to_numpy(dtype=bool),
            "known_us": known_frauds["known_at"]
            .dt.tz_convert("UTC")
            .dt.tz_localize(None)
            .to_numpy(dtype="datetime64[us]")
            .astype(np.int64),
        }
    ).sort_values(["row", "known_us"], kind="stable")
    before = labels.groupby("row")["fraud"].shift(1, fill_value=False).astype(bool)
    labels["change"] = labels["fraud"].astype(np.int64) - before.astype(np.int64)
    labels = labels[
        (labels["row"] >= 0)
        & (labels["change"] != 0)
        & (columns.merchant[labels["row"].to_numpy()] != 0)
    ]
    row = labels["row"].to_numpy()
    return _LabelEvents(
        columns.merchant[row],
        columns.time_us[row] // DAY,
        labels["known_us"].to_numpy(),
        labels["change"].to_numpy(),
    )
