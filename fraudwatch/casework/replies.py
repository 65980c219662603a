"""How those who wait for a decision learn of it: a wake-up that comes with the commit.

Who puts a transaction on the stream and waits adds the header `reply`, a digest of the content.
The worker that takes in such a message notifies the channel `CHANNEL` inside of the batch's own
transaction: PostgreSQL delivers with the commit, or not at all. A batch without the header costs
nothing. The notification says that something was decided, and which digests were rejected; the
decision itself is read from the ledger, so a lost notification loses nothing but time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select, text
from sqlalchemy.orm import Session

from fraudwatch.casework import ledger
from fraudwatch.casework.ledger import DecisionMessage
from fraudwatch.casework.ledger_tables import by_id, eras, hours, midnight
from fraudwatch.casework.models import LedgerRow
from fraudwatch.casework.repeats import CONFLICT_HOURS
from fraudwatch.domain.transaction import Transaction, content_equal
from streams.dead_letters import HARMLESS, Rejected
from streams.source import RecordBatch

CHANNEL = "fraudwatch_replies"
HEADER = "reply"
SOMETHING_DECIDED = ""

_IN_THE_LEDGER = HARMLESS | {"conflict"}
"""Reasons that the ledger explains: another message with this id was decided."""
_NOTIFY = text(
    "SELECT pg_notify(:channel, payload) FROM unnest(CAST(:payloads AS text[])) AS payload"
)
# Written out, for it is on the way of every answer: composed, it costs a millisecond more.
_FIND = (
    "SELECT event_time, payload, "  # noqa: S608 - names of columns, and times that we wrote
    + ", ".join(column.key for column in ledger.DECISION_COLUMNS)
    + " FROM ledger WHERE ledger_hour(event_time) = ANY(:hours) AND ledger_hash(transaction_id) ="
    " ANY(ARRAY(SELECT ledger_hash(id) FROM unnest(CAST(:ids AS text[])) AS id)) AND ({days})"
)
_WINDOW = timedelta(hours=CONFLICT_HOURS)
_TICK = timedelta(microseconds=1)
_DIGEST = re.compile(rb"[0-9a-f]{32}")
_MOST_TEXT = 1000  # characters; PostgreSQL takes payloads below 8,000 bytes


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision of the transaction asked about."""

    decision: DecisionMessage


@dataclass(frozen=True, slots=True)
class Taken:
    """Another transaction was decided under this id."""

    transaction_id: str
    event_time: datetime


class NotUsed(msgspec.Struct, frozen=True):
    """The message with this digest became a dead letter."""

    digest: str
    reason: str
    field: str
    detail: str


Answer = Decided | Taken | NotUsed


def digest(content: bytes) -> str:
    """Names the canonical content of a transaction."""
    return hashlib.sha256(content).hexdigest()[:32]


# -- the worker's side --------------------------------------------------------------------------


def asked(batches: Iterable[RecordBatch]) -> dict[tuple[int, int], str]:
    """The digests that somebody waits for, by partition and offset."""
    return {
        (batch.partition, offset): value.decode()
        for batch in batches
        if batch.headers
        for offset, headers in zip(batch.offsets, batch.headers, strict=True)
        for name, value in headers
        # Anybody may write headers: what is no digest must not get into a notification.
        if name == HEADER and _DIGEST.fullmatch(value)
    }


def notify(
    session: Session, waiting: Mapping[tuple[int, int], str], rejected: Sequence[Rejected]
) -> None:
    """Wake those who wait when this transaction commits; tell them what was rejected."""
    if not waiting:
        return
    payloads = [SOMETHING_DECIDED]
    for message in rejected:
        found = waiting.get((message.partition, message.offset))
        if found is not None and message.reason not in _IN_THE_LEDGER:
            told = NotUsed(
                found, message.reason, message.field[:_MOST_TEXT], message.detail[:_MOST_TEXT]
            )
            payloads.append(msgspec.json.encode(told).decode())
    session.execute(_NOTIFY, {"channel": CHANNEL, "payloads": payloads})


# -- the side of those who wait -----------------------------------------------------------------


def rejection(payload: str) -> NotUsed | None:
    """What a notification says was rejected; None where it says that something was decided."""
    return None if payload == SOMETHING_DECIDED else msgspec.json.decode(payload, type=NotUsed)


def answers(connection: Connection, transactions: Sequence[Transaction]) -> list[Answer | None]:
    """For each transaction what the ledger knows of it; None: nothing yet.

    An id is the same where the worker holds it for the same (`fraudwatch.casework.repeats`).
    """
    if not transactions:
        return []
    moments = [transaction.event_time for transaction in transactions]
    rows = connection.execute(
        text(_FIND.format(days=_days(moments))),
        {
            "ids": [transaction.transaction_id for transaction in transactions],
            "hours": sorted({h for at in moments for h in hours(at - _WINDOW, at + _WINDOW)}),
        },
    ).all()
    by_id: dict[str, list[Row[Any]]] = {}
    for row in rows:
        by_id.setdefault(row.transaction_id, []).append(row)
    return [_answer(by_id.get(t.transaction_id, ()), t) for t in transactions]


def _answer(rows: Sequence[Row[Any]], transaction: Transaction) -> Answer | None:
    near = [row for row in rows if abs(row.event_time - transaction.event_time) <= _WINDOW]
    for row in near:
        if content_equal(ledger.stored(bytes(row.payload)), transaction):
            return Decided(ledger.decision_of(row))
    return Taken(near[0].transaction_id, near[0].event_time) if near else None


def _days(moments: Iterable[datetime]) -> str:
    """Rows that may be near these event times, as SQL with literals: each is a day's table.

    Whole days, so that the statement stays the same and PostgreSQL need not plan it each time.
    """
    days = sorted(
        {
            day
            for moment in moments
            for day in (
                (moment - _WINDOW).astimezone(UTC).date(),
                (moment + _WINDOW).astimezone(UTC).date(),
            )
        }
    )
    return " OR ".join(
        f"(event_time >= '{midnight(day).isoformat()}'"
        f" AND event_time < '{midnight(day + timedelta(days=1)).isoformat()}')"
        for day in days
    )


def decision(
    session: Session, transaction_id: str, event_time: datetime | None
) -> DecisionMessage | None:
    """The decision of a transaction; None: there is none yet.

    With its event time one day is looked into; without it all days, the newest first, and of
    several transactions with this id the newest is found.
    """
    query = select(*ledger.DECISION_COLUMNS).order_by(LedgerRow.event_time.desc())
    for since, until in eras(session) if event_time is None else [(event_time, event_time + _TICK)]:
        row = session.execute(query.where(by_id(since, until, [transaction_id]))).first()
        if row is not None:
            return ledger.decision_of(row)
    return None
