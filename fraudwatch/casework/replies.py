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
from datetime import datetime

import msgspec
from sqlalchemy import Text, any_, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from fraudwatch.casework import ledger
from fraudwatch.casework.ledger import DecisionMessage
from fraudwatch.casework.models import LedgerRow
from fraudwatch.domain.transaction import Transaction, content_equal
from streams.dead_letters import HARMLESS, Rejected
from streams.source import RecordBatch

CHANNEL = "fraudwatch_replies"
HEADER = "reply"
SOMETHING_DECIDED = ""

_IN_THE_LEDGER = HARMLESS | {"conflict"}
"""Reasons that the ledger explains: another message with this id was decided."""
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
    session.execute(select(func.pg_notify(CHANNEL, func.unnest(literal(payloads, ARRAY(Text))))))


# -- the side of those who wait -----------------------------------------------------------------


def rejection(payload: str) -> NotUsed | None:
    """What a notification says was rejected; None where it says that something was decided."""
    return None if payload == SOMETHING_DECIDED else msgspec.json.decode(payload, type=NotUsed)


def answers(session: Session, transactions: Sequence[Transaction]) -> list[Answer | None]:
    """For each transaction what the ledger knows of it; None: nothing yet."""
    if not transactions:
        return []
    ids = [transaction.transaction_id for transaction in transactions]
    rows = {
        row.transaction_id: row
        for row in session.execute(
            select(*ledger.DECISION_COLUMNS, LedgerRow.event_time, LedgerRow.payload).where(
                LedgerRow.transaction_id == any_(literal(ids, ARRAY(Text)))
            )
        )
    }
    found: list[Answer | None] = []
    for transaction in transactions:
        row = rows.get(transaction.transaction_id)
        if row is None:
            found.append(None)
        elif content_equal(ledger.stored(bytes(row.payload)), transaction):
            found.append(Decided(ledger.decision_of(row)))
        else:
            found.append(Taken(row.transaction_id, row.event_time))
    return found


def decision(
    session: Session, transaction_id: str, event_time: datetime | None
) -> DecisionMessage | None:
    """The decision of a transaction; None: there is none yet. `event_time` makes it fast."""
    query = select(*ledger.DECISION_COLUMNS).where(LedgerRow.transaction_id == transaction_id)
    if event_time is not None:
        query = query.where(LedgerRow.event_time == event_time)
    row = session.execute(query).first()
    return None if row is None else ledger.decision_of(row)
