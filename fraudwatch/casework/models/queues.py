"""Tables of queues: versions of their rules, who works in them, views that people keep."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    ForeignKey,
    Identity,
    Integer,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fraudwatch.casework.models.base import Base


class QueueRulesRow(Base):
    """One version of the rules; the newest holds. Append-only.

    `queues` in the order of matching, each as `fraudwatch.casework.bodies_queues.QueueIn`.
    """

    __tablename__ = "queue_rules"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    queues: Mapped[list[dict[str, Any]]]
    most_open: Mapped[int | None] = mapped_column(Integer)
    comment: Mapped[str]
    set_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    set_at: Mapped[datetime]


class QueueMember(Base):
    """A person who belongs to a queue. A queue without any row is for everybody."""

    __tablename__ = "queue_members"
    queue: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    role: Mapped[str]
    __table_args__ = (CheckConstraint("role IN ('worker', 'lead')", name="role"),)


class QueueWorker(Base):
    """What a person can do, how much they hold, when they are away, and what is not for them."""

    __tablename__ = "queue_workers"
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    skills: Mapped[list[str]] = mapped_column(server_default="{}")
    own_accounts: Mapped[list[str]] = mapped_column(server_default="{}")  # never given to them
    most_open: Mapped[int | None] = mapped_column(Integer)
    away_from: Mapped[datetime | None]
    away_until: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint(
            "(away_until IS NULL OR away_from < away_until)"
            " AND (most_open IS NULL OR most_open > 0)",
            name="limits",
        ),
    )


class SavedView(Base):
    """A filter of the list of cases that a person keeps, or shares with everybody."""

    __tablename__ = "saved_views"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str]
    filter: Mapped[dict[str, Any]]
    shared: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    changed_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("owner_id", "name"),)
