"""Tables of the ledger: its rows, the tables of its days, what has gone into the archive."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Integer,
    Numeric,
    SmallInteger,
    String,
    UniqueConstraint,
    func,
)
from sqlalchemy.orm import Mapped, mapped_column

from fraudwatch.casework.models.base import Base


class ScoredTransaction:
    """The columns of a transaction that was scored: what came in, was computed and decided.

    `features` are little-endian float64 in the order of the model's feature names. The machine's
    outcome is 0 auto_clear, 1 review, 2 high_risk: there is no value for an adverse one.
    """

    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    offset: Mapped[int] = mapped_column(primary_key=True)
    transaction_id: Mapped[str]
    account_id: Mapped[str]
    event_time: Mapped[datetime]
    amount: Mapped[Decimal] = mapped_column(Numeric(20, 4))
    currency: Mapped[str] = mapped_column(String(3))
    merchant_id: Mapped[str | None]
    merchant_category: Mapped[str | None]
    channel: Mapped[str | None]
    country: Mapped[str | None]
    device_id: Mapped[str | None]
    payload: Mapped[bytes]
    features: Mapped[bytes]
    features_version: Mapped[str]
    anomaly_score: Mapped[float | None]
    risk: Mapped[float | None]
    challenger_risk: Mapped[float | None]
    outcome: Mapped[int] = mapped_column(SmallInteger)
    rule: Mapped[int] = mapped_column(SmallInteger)
    reasons: Mapped[list[dict[str, Any]] | None]
    model_id: Mapped[int | None]
    challenger_id: Mapped[int | None]
    policy_id: Mapped[int]
    profile_version: Mapped[str]
    scored_at: Mapped[datetime]


class LedgerRow(ScoredTransaction, Base):
    """A transaction that was scored, one row each. Append-only.

    Partitioned by the UTC day of `event_time` (`fraudwatch.casework.ledger_tables`): the same
    transaction, however late it comes again, belongs to the same day, where a unique index refuses
    it. Indexes are of the tables of the days: see migration 0004. Give queries a range of
    `event_time`, or they read every day there is.
    """

    __tablename__ = "ledger"
    __table_args__ = (
        CheckConstraint("outcome IN (0, 1, 2)", name="outcome"),
        {"postgresql_partition_by": "RANGE (event_time)"},
    )


class KeptRow(ScoredTransaction, Base):
    """A row that went to people, of a day that has gone into the archive. Append-only.

    What people decided must stay readable without the archive.
    """

    __tablename__ = "ledger_kept"
    __table_args__ = (
        CheckConstraint("outcome IN (0, 1, 2)", name="outcome"),
        UniqueConstraint("transaction_id", "event_time"),
    )


class LedgerTableRow(Base):
    """A table of the ledger: the rows with first_day <= UTC day of event_time < until_day."""

    __tablename__ = "ledger_tables"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    first_day: Mapped[date] = mapped_column(unique=True)
    until_day: Mapped[date]
    __table_args__ = (CheckConstraint("first_day < until_day", name="order"),)


class LedgerOffsets(Base):
    """Where a table's rows of an input partition lie: in no other offsets, perhaps in fewer."""

    __tablename__ = "ledger_offsets"
    table_id: Mapped[int] = mapped_column(
        ForeignKey("ledger_tables.id", ondelete="CASCADE"), primary_key=True
    )
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    first_offset: Mapped[int]
    next_offset: Mapped[int]
    __table_args__ = (CheckConstraint("first_offset < next_offset", name="order"),)


class LedgerArchive(Base):
    """A table of the ledger that has become a file. Its id is that of the table."""

    __tablename__ = "ledger_archives"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first_day: Mapped[date]
    until_day: Mapped[date]
    path: Mapped[str]
    size: Mapped[int]  # bytes
    sha256: Mapped[str]
    rows: Mapped[int]
    archived_at: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]  # the file is gone for its age; what follows stays
    __table_args__ = (CheckConstraint("first_day < until_day", name="order"),)


class ArchivedOffsets(Base):
    """Which offsets of an input partition an archived table holds.

    `spans` is the exact list, packed by `fraudwatch.casework.archive_files.pack_spans`.
    """

    __tablename__ = "ledger_archive_offsets"
    archive_id: Mapped[int] = mapped_column(ForeignKey("ledger_archives.id"), primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    first_offset: Mapped[int]
    next_offset: Mapped[int]
    rows: Mapped[int]
    spans: Mapped[bytes]
    __table_args__ = (CheckConstraint("first_offset < next_offset", name="order"),)
