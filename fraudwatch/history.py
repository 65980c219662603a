"""What is remembered for learning: scored transactions, as columns, with what is known of each.

Where the rows come from (the ledger, a recorded file, a simulated past) makes no difference to
what is learnt from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from fraudwatch.casework import archive_rows
from fraudwatch.casework.ledger_tables import between, by_id, hold, midnight, newest_table
from fraudwatch.casework.models import Alert, Case, LabelRow, LedgerRow
from fraudwatch.domain.case import OPEN
from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.domain.label import LabelSource
from fraudwatch.features.catalogue import ATTRIBUTE_PREFIX, FeatureSpec
from fraudwatch.features.columns import from_frame, hash_ids, to_us
from fraudwatch.features.offline import compute_features

UNKNOWN, LEGITIMATE, FRAUD = -1, 0, 1
DAY = 86_400 * 10**6  # microseconds

Progress = Callable[[str, float], None]  # what is being done, share done so far

_CHUNK = 20_000
# How long truth takes is read off the chargebacks that have come: after the time in which 95 % of
# them came, a transaction without one counts as ordinary. Fewer than 50 do not tell.
LEAST_CHARGEBACKS, COME = 50, 0.95
_CHARGEBACKS = 500  # that are looked at, the newest, if they took no longer than this:
_LONGEST_DELAY = timedelta(days=120)
_CLOCKS_DIFFER = timedelta(days=1)  # nothing is known earlier before it happens


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """n scored transactions and what is known of them at the moment of learning.

    `features` float64[n, d] as they were when the transaction was scored; `time_us` int64, UTC;
    `account`, `transaction` uint64: hashes of the ids; `fraud` int8: `FRAUD`, `LEGITIMATE` or
    `UNKNOWN`, by the label that counts; `flagged`: sent to people for its risk; `sampled`: sent
    to people by the blind-spot draw; `open`: in a case that is not resolved; `matured`: so old that
    a fraud would have come to be known, if it ever will.
    """

    spec: FeatureSpec
    features: NDArray[np.float64]
    time_us: NDArray[np.int64]
    account: NDArray[np.uint64]
    transaction: NDArray[np.uint64]
    fraud: NDArray[np.int8]
    flagged: NDArray[np.bool_]
    sampled: NDArray[np.bool_]
    open: NDArray[np.bool_]
    matured: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.time_us)

    def take(self, rows: NDArray[Any]) -> History:
        """The rows named by an index array or a mask."""
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "spec"}
        return History(spec=self.spec, **columns)

    @property
    def window(self) -> tuple[str, str]:
        """First and last moment, ISO; empty texts without rows."""
        if not len(self):
            return "", ""
        moments = (int(self.time_us.min()), int(self.time_us.max()))
        first, last = (datetime.fromtimestamp(us / 1e6, UTC).isoformat() for us in moments)
        return first, last


def from_ledger(
    session: Session, spec: FeatureSpec, *, since: datetime, until: datetime
) -> History:
    """Ledger rows with since <= event_time < until whose features are of this spec, archived ones
    as well.

    Labels count as they are known now: of several the one of the highest precedence, then the
    latest. Takes about 0.6 kB of memory a row.
    """
    hold(session)
    session.execute(text("SET LOCAL statement_timeout = 0"))
    inside = (
        between(since, until),
        LedgerRow.features_version == spec.version,
    )
    rows = session.execute(
        select(
            LedgerRow.transaction_id,
            LedgerRow.account_id,
            LedgerRow.event_time,
            LedgerRow.features,
            LedgerRow.outcome,
            LedgerRow.rule,
        )
        .where(*inside)
        .order_by(LedgerRow.event_time, LedgerRow.transaction_id)
        .execution_options(yield_per=_CHUNK)
    )
    features, columns = [np.zeros((0, len(spec.names)))], []
    names = ("event_time", "transaction_id", "account_id", "features", "outcome", "rule")
    archived = sorted(
        row[:-1]
        for piece in archive_rows.between(session, since, until, (*names, "features_version"))
        for row in piece
        if row[-1] == spec.version
    )
    features.append(_matrix([row[3] for row in archived], len(spec.names)))
    columns += [(name, account, at, out, rule) for at, name, account, _, out, rule in archived]
    for chunk in rows.partitions(_CHUNK):
        features.append(_matrix([row.features for row in chunk], len(spec.names)))
        columns += [
            (row.transaction_id, row.account_id, row.event_time, row.outcome, row.rule)
            for row in chunk
        ]
    ids, accounts, times, outcome, rule = (
        zip(*columns, strict=True) if columns else ((), (), (), (), ())
    )
    place = {name: row for row, name in enumerate(ids)}
    fraud = np.full(len(ids), UNKNOWN, dtype=np.int8)
    for name, truth in session.execute(_current_labels(since)):
        if name in place:
            fraud[place[name]] = FRAUD if truth else LEGITIMATE
    still_open = np.zeros(len(ids), dtype=np.bool_)
    for name in session.scalars(
        select(Alert.transaction_id)
        .join(Case, Case.id == Alert.case_id)
        .where(Case.status.in_([status.value for status in OPEN]))
    ):
        if name in place:
            still_open[place[name]] = True
    time_us = np.array([to_us(moment) for moment in times], dtype=np.int64)
    found = History(
        spec=spec,
        features=np.concatenate(features),
        time_us=time_us,
        account=hash_ids(np.array(accounts, dtype=object)),
        transaction=hash_ids(np.array(ids, dtype=object)),
        fraud=fraud,
        flagged=np.array(outcome, dtype=np.int64) > Outcome.AUTO_CLEAR,
        sampled=np.array(rule, dtype=np.int64) == Rule.BLIND_SPOT,
        open=still_open,
        matured=time_us < _matured_before(session, until),
    )
    # A day before some in the archive may have had to stay in the database.
    return found.take(np.argsort(time_us, kind="stable")) if archived else found


def from_canonical(
    frame: pd.DataFrame,
    known_frauds: pd.DataFrame | None,
    days: int,
    progress: Progress | None = None,
) -> History:
    """The last `days` days of a canonical frame as history. Numeric attributes become features."""
    spec = FeatureSpec(attributes=numeric_attributes(frame))
    tell = progress or (lambda _stage, _share: None)
    features = compute_features(
        frame,
        spec,
        known_frauds=known_frauds,
        progress=lambda done: tell("computing features", done / len(frame)),
    ).values
    columns = from_frame(frame, spec)
    time_us = columns.time_us
    fraud = np.full(len(frame), UNKNOWN, dtype=np.int8)
    matured = np.zeros(len(frame), dtype=np.bool_)
    if known_frauds is not None and len(frame):
        known_us = known_frauds["known_at"].dt.as_unit("us").astype(np.int64).to_numpy()
        row = pd.Index(frame["transaction_id"]).get_indexer(known_frauds["transaction_id"])
        told = (known_us <= time_us[-1]) & (row >= 0)
        order = np.argsort(known_us[told], kind="stable")  # of several, the one known last counts
        truth = known_frauds["fraud"].to_numpy(dtype=np.bool_)[told]
        fraud[row[told][order]] = np.where(truth, FRAUD, LEGITIMATE)[order]
        delays = known_us[told] - time_us[row[told]]
        if len(delays) >= LEAST_CHARGEBACKS:
            matured = time_us < time_us[-1] - np.quantile(delays, COME)
    recent = np.flatnonzero(time_us > time_us.max(initial=0) - days * DAY)
    nothing = np.zeros(len(frame), dtype=np.bool_)
    return History(
        spec=spec,
        features=features,
        time_us=time_us,
        account=columns.account,
        transaction=hash_ids(frame["transaction_id"]),
        fraud=fraud,
        flagged=nothing,
        sampled=nothing,
        open=nothing,
        matured=matured,
    ).take(recent)


def delayed_truth(frame: pd.DataFrame, delay_days: float) -> pd.DataFrame:
    """Every fraud of a frame with `label`, known `delay_days` after it happened."""
    frauds = frame.loc[frame["label"], ["transaction_id", "event_time"]]
    known_at = frauds["event_time"] + pd.Timedelta(days=delay_days)
    return pd.DataFrame(
        {"transaction_id": frauds["transaction_id"], "fraud": True, "known_at": known_at}
    )


def numeric_attributes(frame: pd.DataFrame) -> tuple[str, ...]:
    """Names of the institution's own columns of a canonical frame that are numbers."""
    own = [str(name) for name in frame.columns if str(name).startswith(ATTRIBUTE_PREFIX)]
    return tuple(
        name.removeprefix(ATTRIBUTE_PREFIX)
        for name in own
        if pd.api.types.is_numeric_dtype(frame[name].dtype)
    )


def newest_moment(session: Session) -> datetime | None:
    """Event time of the newest transaction in the ledger; None when it is empty."""
    table = newest_table(session)
    if table is None:
        return None
    days = between(midnight(table.first), midnight(table.until))
    return session.scalar(select(func.max(LedgerRow.event_time)).where(days))


def _matrix(stored: Sequence[bytes], width: int) -> NDArray[np.float64]:
    return np.frombuffer(b"".join(stored), dtype="<f8").reshape(-1, width).astype(np.float64)


def _current_labels(since: datetime) -> Any:
    """The label that counts of each transaction since then; see `fraudwatch.domain.label`."""
    return (
        select(LabelRow.transaction_id, LabelRow.fraud)
        .where(LabelRow.known_at >= since - _CLOCKS_DIFFER)
        .ext(distinct_on(LabelRow.transaction_id))
        .order_by(
            LabelRow.transaction_id,
            LabelRow.precedence.desc(),
            LabelRow.known_at.desc(),
            LabelRow.id.desc(),
        )
    )


def _matured_before(session: Session, until: datetime) -> int:
    """Before when nearly all chargebacks have come, by how long the newest of them took.

    Without enough of them to tell, nothing is mature.
    """
    chargebacks = session.execute(
        select(LabelRow.transaction_id, LabelRow.known_at)
        .where(LabelRow.source == LabelSource.CHARGEBACK.value, LabelRow.fraud)
        .order_by(LabelRow.known_at.desc(), LabelRow.id.desc())
        .limit(_CHARGEBACKS)
    )
    known = {row.transaction_id: row.known_at for row in chargebacks}
    delays = []
    if known:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        times = session.execute(
            select(LedgerRow.transaction_id, LedgerRow.event_time).where(
                by_id(until - _LONGEST_DELAY, until, list(known))
            )
        )
        delays = [to_us(known[name]) - to_us(moment) for name, moment in times]
        session.execute(text("SET LOCAL enable_seqscan = on"))
    if len(delays) < LEAST_CHARGEBACKS:
        return np.iinfo(np.int64).min
    return to_us(until) - int(np.quantile(delays, COME))
