"""A ledger with two old days and a new one, and what its readers see."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import ledger
from fraudwatch.casework.archive import archive
from fraudwatch.casework.ledger_tables import make_tables
from fraudwatch.casework.models import LedgerOffsets, LedgerRow, StreamOffset
from fraudwatch.casework.scored import COLUMNS
from fraudwatch.casework.verify import verify
from fraudwatch.domain.transaction import Transaction, encode
from fraudwatch.features.catalogue import FeatureSpec

TOPIC = "transactions"
FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEWEST = FIRST + timedelta(days=200)
BEFORE = date(2026, 3, 3)
SPEC = FeatureSpec()
REASONS = [{"feature": "f", "sentence": "much", "weight": 1.5}]
Sessions = sessionmaker[Session]


def transaction(offset: int, moment: datetime) -> Transaction:
    return Transaction(
        transaction_id=f"t-{offset}",
        account_id=f"a-{offset % 3}",
        event_time=moment,
        amount=Decimal("1.2500"),
        currency="EUR",
    )


def row(partition: int, offset: int, moment: datetime) -> dict[str, Any]:
    name = partition * 1000 + offset
    return {
        "partition": partition,
        "offset": offset,
        "transaction_id": f"t-{name}",
        "account_id": f"a-{name % 3}",
        "event_time": moment,
        "amount": Decimal("1.2500"),
        "currency": "EUR",
        "country": "AT" if offset % 2 else None,
        "payload": encode(transaction(name, moment)),
        "features": np.full(len(SPEC.names), name, dtype="<f8").tobytes(),
        "features_version": SPEC.version,
        "risk": 0.25 if offset % 2 else None,
        "outcome": 1 if offset == 4 else 0,
        "rule": 0,
        "reasons": REASONS if offset == 4 else None,
        "policy_id": 1,
        "profile_version": "",
        "scored_at": moment,
    }


# Days alternate within each partition, so that reading in order has to go back and forth.
ROWS = [
    row(partition, offset, FIRST + timedelta(days=offset % 2, minutes=offset))
    for partition in (0, 1)
    for offset in range(12)
] + [row(0, 12, NEWEST), row(1, 12, NEWEST)]


def fill(sessions: Sessions) -> None:
    """Two partitions with two old days and a new one; row 4 of partition 0 is in a case."""
    with sessions.begin() as session:
        tables = make_tables(session, {found["event_time"].date() for found in ROWS}, NEWEST.date())
        for table in tables:
            session.execute(
                insert(LedgerOffsets),
                [
                    {"table_id": table.id, "partition": p, "first_offset": 0, "next_offset": 65_536}
                    for p in (0, 1)
                ],
            )
        session.execute(insert(LedgerRow), ROWS)
        session.execute(
            insert(StreamOffset),
            [
                {
                    "topic": TOPIC,
                    "partition": p,
                    "first_offset": 0,
                    "next_offset": 13,
                    "published_offset": 13,
                }
                for p in (0, 1)
            ],
        )


def seen(sessions: Sessions) -> list[list[tuple[Any, ...]]]:
    """All columns of all rows as a replay reads them, in pieces of 5."""
    with sessions() as session:
        return [
            [
                tuple(getattr(found, name) for name in COLUMNS)
                for piece in ledger.recorded(session, p, 1, 13, chunk=5)
                for found in piece
            ]
            for p in (0, 1)
        ]


def run(sessions: Sessions, folder: Path, progress: Callable[[str], None] = lambda _: None) -> int:
    outcomes = archive(sessions, folder, TOPIC, BEFORE, progress=progress)
    return sum(outcome.archived is not None for outcome in outcomes)


def ok(sessions: Sessions) -> bool:
    with sessions() as session:
        return verify(session, TOPIC).ok
