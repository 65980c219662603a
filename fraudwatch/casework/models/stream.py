"""Tables of the stream: offsets, gaps, dead letters, ledger, snapshots, profiles, outbox."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
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
    for a damaged range. `replay_of` is the offset, in the same partition unless partitions were
    added in between, of the dead letter that this message was a replay of.
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


class Snapshot(Base):
    """Account state of one of `parts` parts of a partition, as it stands before `next_offset`."""

    __tablename__ = "snapshots"
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    part: Mapped[int] = mapped_column(Integer, primary_key=True)
    next_offset: Mapped[int] = mapped_column(primary_key=True)
    parts: Mapped[int] = mapped_column(Integer)
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
