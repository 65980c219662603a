"""n transactions scored, as parallel columns, and as rows of the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

import msgspec
import numpy as np
import numpy.typing as npt

from fraudwatch.casework.copy_rows import EPOCH_US, JSONB, Rows, microseconds, number
from fraudwatch.domain.decision import Reason, Versions
from fraudwatch.domain.transaction import Transaction
from fraudwatch.features.columns import amounts_e4
from fraudwatch.policy.rules import Outcomes

COLUMNS = (
    "partition",
    "offset",
    "transaction_id",
    "account_id",
    "event_time",
    "amount",
    "currency",
    "merchant_id",
    "merchant_category",
    "channel",
    "country",
    "device_id",
    "payload",
    "features",
    "features_version",
    "anomaly_score",
    "risk",
    "challenger_risk",
    "outcome",
    "rule",
    "reasons",
    "model_id",
    "challenger_id",
    "policy_id",
    "profile_version",
    "scored_at",
)
_TEXTS = ("merchant_id", "merchant_category", "channel", "country", "device_id")


@dataclass(frozen=True, slots=True)
class Scored:
    """n transactions of any partitions, as parallel columns: all that the ledger keeps of them.

    `time_us` are event times in microseconds since 1970 UTC. `reasons` holds entries for alerts
    only, by row. NaN in `anomaly_score`, `risk` or
    `challenger_risk` stands for "not computed" and becomes NULL.
    """

    partitions: Sequence[int]
    offsets: Sequence[int]
    transactions: Sequence[Transaction]
    time_us: npt.NDArray[np.int64]
    payloads: Sequence[bytes]
    features: npt.NDArray[np.float64]
    features_version: str
    anomaly_score: npt.NDArray[np.float64]
    risk: npt.NDArray[np.float64]
    challenger_risk: npt.NDArray[np.float64]
    outcome: npt.NDArray[np.int8]
    rule: npt.NDArray[np.int8]
    reasons: Mapping[int, tuple[Reason, ...]]
    versions: Versions
    challenger_id: int | None
    scored_at: datetime

    def __len__(self) -> int:
        return len(self.offsets)

    def alerts(self) -> list[int]:
        """Rows that go to people."""
        rows: list[int] = Outcomes(self.outcome, self.rule).to_people().tolist()
        return rows


def copy_rows(scored: Scored) -> Rows:
    """The ledger's rows, with the columns of `COLUMNS`."""
    transactions, count, versions = scored.transactions, len(scored), scored.versions
    rows = Rows(count)
    rows.numbers(scored.partitions, "i4")
    rows.numbers(scored.offsets, "i8")
    rows.texts([t.transaction_id for t in transactions])
    rows.texts([t.account_id for t in transactions])
    rows.numbers(scored.time_us - EPOCH_US, "i8")
    rows.amounts(amounts_e4(transactions))
    rows.texts([t.currency for t in transactions])
    for name in _TEXTS:
        rows.texts(list(map(attrgetter(name), transactions)))
    rows.octets(scored.payloads)
    rows.matrix(scored.features)
    rows.same(scored.features_version.encode())
    rows.numbers(scored.anomaly_score, "f8")
    rows.numbers(scored.risk, "f8")
    rows.numbers(scored.challenger_risk, "f8")
    rows.numbers(scored.outcome, "i2")
    rows.numbers(scored.rule, "i2")
    rows.some({row: JSONB + msgspec.json.encode(found) for row, found in scored.reasons.items()})
    rows.same(number(versions.model_id, 8))
    rows.same(number(scored.challenger_id, 8))
    rows.same(number(versions.policy_id, 8))
    rows.same(versions.profile_version.encode())
    rows.same(number(microseconds(scored.scored_at), 8))
    return rows
