"""Tables of the stream: offsets, gaps, dead letters, ledger, snapshots, profiles, outbox."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    String,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fraudwatch.casework.models.base import Base


class StreamOffset(Base):
    """How far each input partition has been taken in. Advanced by compare-and-set only."""

    __tablename__ = "stream_offsets"
    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    first_offset: Mapped[int]
    next_offset: Mapped[int]
    published_offset: Mapped[int]  # decisions below it are on the decisions topic
    generation: Mapped[int] = mapped_column(Integer, server_default="0")  # of the topic's layout
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (
        CheckConstraint(
            "first_offset <= published_offset AND published_offset <= next_offset", name="order"
        ),
    )


class StreamGap(Base):
    """Offsets without a message: control records, aborted, compacted away, or expired unread."""

    __tablename__ = "stream_gaps"
    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    first_offset: Mapped[int] = mapped_column(primary_key=True)
    next_offset: Mapped[int]
    reason: Mapped[str]  # empty: holds no message; expired: gone before it was read
    # A person has seen that messages expired unread; `verify` is content with it from then on.
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    why: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("first_offset < next_offset", name="order"),
        CheckConstraint("reason IN ('empty', 'expired')", name="reason"),
    )


class DeadLetter(Base):
    """A message that could not be used, with its reason and raw bytes. Append-only.

    `size` is how many bytes the value had: more than `raw` holds where that was cut. Unknown (null)
    for a damaged range. `replay_of` is the offset, in the same partition, of the dead letter that
    this message was a replay of.
    """

    __tablename__ = "dead_letters"
    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    offset: Mapped[int] = mapped_column(primary_key=True)
    # A damaged batch covers several offsets: this one up to, but not with, next_offset.
    next_offset: Mapped[int]
    reason: Mapped[str]
    field: Mapped[str] = mapped_column(default="", server_default="")
    detail: Mapped[str] = mapped_column(default="", server_default="")
    raw: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    key: Mapped[bytes | None]
    size: Mapped[int | None]
    replay_of: Mapped[int | None]
    __table_args__ = (
        CheckConstraint('"offset" < next_offset', name="order"),
        Index("ix_dead_letters_created_at", "created_at", "topic", "partition", "offset"),
        Index(
            "ix_dead_letters_replay_of",
            "topic",
            "partition",
            "replay_of",
            postgresql_where=text("replay_of IS NOT NULL"),
        ),
    )

    @property
    def place(self) -> tuple[str, int, int]:
        """Topic, partition and offset."""
        return self.topic, self.partition, self.offset


class DeadLetterReplay(Base):
    """A dead letter that was put on its topic again: once at most. Append-only."""

    __tablename__ = "dead_letter_replays"
    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    offset: Mapped[int] = mapped_column(primary_key=True)
    replayed_at: Mapped[datetime]
    replayed_by: Mapped[str]
    why: Mapped[str]
    __table_args__ = (
        ForeignKeyConstraint(
            ["topic", "partition", "offset"],
            ["dead_letters.topic", "dead_letters.partition", "dead_letters.offset"],
        ),
    )


class DeadLetterAccept(Base):
    """Bad messages below an offset that a person looked at: no limit counts them. Append-only."""

    __tablename__ = "dead_letter_accepts"
    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    until_offset: Mapped[int] = mapped_column(primary_key=True)
    accepted_at: Mapped[datetime]
    accepted_by: Mapped[str]
    why: Mapped[str]


class LedgerRow(Base):
    """One transaction scored: what came in, what was computed, what was decided. Append-only.

    `features` are little-endian float64 in the order of the model's feature names. The machine's
    outcome is 0 auto_clear, 1 review, 2 high_risk: there is no value for an adverse one.

    Partitioned by the UTC day of `event_time` (`fraudwatch.casework.ledger_tables`): the same
    transaction, however late it comes again, belongs to the same day, where the unique constraint
    refuses it. Give queries a range of `event_time`, or they read every day there is.
    """

    __tablename__ = "ledger"
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    offset: Mapped[int] = mapped_column(primary_key=True)
    transaction_id: Mapped[str]
    account_id: Mapped[str]
    event_time: Mapped[datetime] = mapped_column(primary_key=True)
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
    __table_args__ = (
        CheckConstraint("outcome IN (0, 1, 2)", name="outcome"),
        UniqueConstraint("transaction_id", "event_time"),
        Index("ix_ledger_account_id_event_time", "account_id", "event_time"),
        {"postgresql_partition_by": "RANGE (event_time)"},
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


class Snapshot(Base):
    """Account state of one partition, as it stands before `next_offset`."""

    __tablename__ = "snapshots"
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    next_offset: Mapped[int] = mapped_column(primary_key=True)
    features_version: Mapped[str]
    sha256: Mapped[str]
    data: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ProfileVersion(Base):
    """Merchant profiles as known at the start of a day."""

    __tablename__ = "merchant_profiles"
    version: Mapped[str] = mapped_column(primary_key=True)  # ISO date
    sha256: Mapped[str]
    data: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class OutboxRow(Base):
    """A rare message to publish (outcomes, dead letters), written with what it tells of."""

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    topic: Mapped[str]
    partition: Mapped[int | None] = mapped_column(Integer)  # null: that of the key
    key: Mapped[str | None]
    message_id: Mapped[str]  # header, for consumers to deduplicate
    payload: Mapped[bytes]
    created_at: Mapped[datetime]
    published_at: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_outbox_waiting", "id", postgresql_where=text("published_at IS NULL")),
    )
