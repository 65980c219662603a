"""The ledger: one row per transaction scored, written by COPY, read for replay and publishing.

Rows go straight into the table of their day (`fraudwatch.casework.ledger_tables`), by COPY in
binary form (`fraudwatch.casework.copy_rows`): one round trip a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import chain, islice
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from psycopg.errors import UndefinedTable, UniqueViolation
from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from fraudwatch.casework.archive_files import Archived
from fraudwatch.casework.archive_rows import archives_with, in_order
from fraudwatch.casework.copy_rows import copy_in
from fraudwatch.casework.ledger_tables import LedgerTable, LedgerTables, hold, within_offsets
from fraudwatch.casework.models import LedgerRow
from fraudwatch.casework.scored import COLUMNS, Scored, copy_rows
from fraudwatch.domain.decision import Outcome
from fraudwatch.domain.transaction import Transaction, decode
from fraudwatch.errors import FraudwatchError
from fraudwatch.features.spans import DAY
from streams.source import Message


class AlreadyDecided(FraudwatchError):
    """A transaction is in the ledger already, or its day has gone into the archive meanwhile."""

    code = "already-decided"


EPOCH_DAY = date(1970, 1, 1).toordinal()
_FAR_FUTURE = datetime(9000, 1, 1, tzinfo=UTC)


def days_of(time_us: npt.NDArray[np.int64]) -> set[date]:
    """The UTC days of moments in microseconds since 1970."""
    return {date.fromordinal(EPOCH_DAY + day) for day in np.unique(time_us // DAY).tolist()}


def write(session: Session, scored: Scored, tables: LedgerTables) -> None:
    """COPY the rows within the session's transaction, each into the table of its day.

    `tables` has been prepared for them. Raises `AlreadyDecided` when another partition's worker
    has written one of the transactions, or a table has gone into the archive.
    """
    if not len(scored):
        return
    rows = copy_rows(scored)
    try:
        for table, chosen in sorted(_rows_by_table(scored, tables).items()):
            copy_in(session, table.name, COLUMNS, rows, chosen)
    except UniqueViolation as error:
        raise AlreadyDecided("a transaction of this batch was decided meanwhile") from error
    except UndefinedTable as error:
        raise AlreadyDecided("a day of this batch was archived meanwhile") from error


def _rows_by_table(
    scored: Scored, tables: LedgerTables
) -> dict[LedgerTable, npt.NDArray[np.int64] | None]:
    """The rows that each table takes; None stands for all."""
    days, of_row = np.unique(scored.time_us // DAY, return_inverse=True)
    if len(days) == 1:
        return {_table(tables, int(days[0])): None}
    found: dict[LedgerTable, list[npt.NDArray[np.int64]]] = {}
    for number, day in enumerate(days.tolist()):
        found.setdefault(_table(tables, day), []).append(np.flatnonzero(of_row == number))
    return {table: np.sort(np.concatenate(rows)) for table, rows in found.items()}


_LOOK_UP = """
SELECT payload
FROM unnest(string_to_array(:ids, chr(10)), string_to_array(:hours, chr(10))) AS wanted(id, hour),
     "{table}"
WHERE ledger_hash(transaction_id) = ledger_hash(id)
  AND ledger_hour(event_time) = ANY(ARRAY[
      to_timestamp(3600.0 * (CAST(hour AS bigint) - 1)),
      to_timestamp(3600.0 * CAST(hour AS bigint)),
      to_timestamp(3600.0 * (CAST(hour AS bigint) + 1))])
"""


def _table(tables: LedgerTables, day: int) -> LedgerTable:
    found = tables.of(date.fromordinal(EPOCH_DAY + day))
    if found is None:  # `prepare` makes one for every day that is not in the archive
        raise AlreadyDecided("a day of this batch was archived meanwhile")
    return found


def stored_payloads(
    session: Session, table: LedgerTable, transaction_ids: Sequence[str], hours: Sequence[int]
) -> list[bytes]:
    """The messages that a table already holds with those ids, each within the hour given (counted
    from 1970) or the one before or after it.

    Perhaps also one of another id with the same hash.
    """
    # Texts instead of arrays, which take the driver much longer: ids hold no line ends.
    found = session.scalars(
        text(_LOOK_UP.format(table=table.name)),
        {"ids": "\n".join(transaction_ids), "hours": "\n".join(map(str, hours))},
    )
    return [bytes(payload) for payload in found]


def stored(payload: bytes) -> Transaction:
    """A transaction from the ledger: it was valid when it came, whatever limits hold today."""
    return decode(payload, now=_FAR_FUTURE, max_bytes=len(payload), max_future_seconds=0)


def recorded(
    session: Session, partition: int, start: int, end: int, chunk: int = 5_000
) -> Iterator[Sequence[Any]]:
    """All of the rows of a partition with start <= offset < end, by the names of `COLUMNS`, in
    offset order, in chunks. Raises `ArchiveError` where an archive is damaged, missing or was
    deleted."""
    hold(session)
    archives = archives_with(session, partition, start, end)
    yield from _in_order(session, archives, partition, start, end, COLUMNS, chunk)


def _in_order(
    session: Session,
    archives: Sequence[tuple[int, Archived]],
    partition: int,
    start: int,
    end: int,
    names: Sequence[str],
    chunk: int,
) -> Iterator[Sequence[Any]]:
    """Rows of the database and of these archives."""
    online = _online(session, partition, start, end, names, chunk)
    if not archives:
        yield from online
        return
    rows = in_order(archives, chain.from_iterable(online), partition, start, end, names)
    while piece := list(islice(rows, chunk)):
        yield piece


def _online(
    session: Session, partition: int, start: int, end: int, names: Sequence[str], chunk: int
) -> Iterator[Sequence[Any]]:
    at = start
    columns = [getattr(LedgerRow, name) for name in names]
    while at < end:
        rows = session.execute(
            select(*columns)
            .where(within_offsets(session, partition, at, end))
            .order_by(LedgerRow.offset)
            .limit(chunk)
        ).all()
        if not rows:
            return
        yield rows
        at = rows[-1].offset + 1


class DecisionReason(msgspec.Struct, frozen=True):
    """A reason as told to payment systems."""

    feature: str
    sentence: str


class DecisionMessage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What the decisions topic says of a transaction. `decision` is `auto_clear` or `refer`."""

    transaction_id: str
    account_id: str
    decision: str
    outcome: str
    risk: float | None
    model_id: int | None
    policy_id: int
    profile_version: str
    decided_at: datetime
    reasons: tuple[DecisionReason, ...] = ()


_encode = msgspec.json.Encoder().encode


def _message(decision: DecisionMessage) -> Message:
    return Message(
        decision.account_id.encode(),
        _encode(decision),
        (("transaction_id", decision.transaction_id.encode()),),
    )


def _decision(outcome: int) -> tuple[str, str]:
    word = Outcome(outcome).word
    return ("auto_clear" if outcome == Outcome.AUTO_CLEAR else "refer"), word


def _brief(reasons: Sequence[Mapping[str, object]]) -> tuple[DecisionReason, ...]:
    return tuple(DecisionReason(str(r["feature"]), str(r["sentence"])) for r in reasons)


def decisions(scored: Scored) -> dict[int, list[Message]]:
    """For each partition, the decision messages in offset order."""
    messages: dict[int, list[Message]] = {p: [] for p in dict.fromkeys(scored.partitions)}
    outcomes, versions, at = scored.outcome.tolist(), scored.versions, scored.scored_at
    risks = [None if risk != risk else risk for risk in scored.risk.tolist()]
    words = {value: _decision(value) for value in set(outcomes)}
    told = {
        row: tuple(DecisionReason(r.feature, r.sentence) for r in reasons)
        for row, reasons in scored.reasons.items()
        if outcomes[row] > Outcome.AUTO_CLEAR
    }
    for row, (partition, t, outcome, risk) in enumerate(
        zip(scored.partitions, scored.transactions, outcomes, risks, strict=True)
    ):
        decision = DecisionMessage(
            t.transaction_id,
            t.account_id,
            *words[outcome],
            risk,
            versions.model_id,
            versions.policy_id,
            versions.profile_version,
            at,
            told.get(row, ()),
        )
        messages[partition].append(_message(decision))
    return messages


DECISION_COLUMNS = (
    LedgerRow.transaction_id,
    LedgerRow.account_id,
    LedgerRow.outcome,
    LedgerRow.risk,
    LedgerRow.model_id,
    LedgerRow.policy_id,
    LedgerRow.profile_version,
    LedgerRow.scored_at,
    LedgerRow.reasons,
)


def decision_of(row: Row[Any]) -> DecisionMessage:
    """What was told of a ledger row, from its `DECISION_COLUMNS`."""
    decision, word = _decision(row.outcome)
    reasons = row.reasons if row.reasons and row.outcome > Outcome.AUTO_CLEAR else []
    return DecisionMessage(
        row.transaction_id,
        row.account_id,
        decision,
        word,
        row.risk,
        row.model_id,
        row.policy_id,
        row.profile_version,
        row.scored_at,
        _brief(reasons),
    )


def unpublished(
    session: Session, partition: int, start: int, end: int, chunk: int = 5000
) -> Iterator[tuple[int, list[Message]]]:
    """Decisions of a partition from the ledger, in chunks: (offset after the chunk, messages).

    The messages equal those of `decisions` byte for byte.
    """
    at = start
    while at < end:
        rows = session.execute(
            select(LedgerRow.offset, *DECISION_COLUMNS)
            .where(within_offsets(session, partition, at, end))
            .order_by(LedgerRow.offset)
            .limit(chunk)
        ).all()
        messages = [_message(decision_of(row)) for row in rows]
        at = rows[-1].offset + 1 if len(rows) == chunk else end
        yield at, messages
