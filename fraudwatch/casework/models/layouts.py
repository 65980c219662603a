"""Tables of how the stream was laid out and what decided it, from which offset on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Integer, func
from sqlalchemy.orm import Mapped, mapped_column

from fraudwatch.casework.models.base import Base


class TopicLayout(Base):
    """The partitions of a topic, one row each. With every growth comes a next generation.

    From `base_offset` on an account's messages lie where the generation's number of partitions
    sends them; what lies below belongs to earlier generations. Append-only.
    """

    __tablename__ = "topic_layouts"
    topic: Mapped[str] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(Integer, primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    base_offset: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Decider(Base):
    """What decides in a partition of the transactions from an offset on. Append-only.

    Written with the first batch that it decides, so that a replay switches where the worker did.
    """

    __tablename__ = "deciders"
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    from_offset: Mapped[int] = mapped_column(primary_key=True)
    features_version: Mapped[str]
    policy_id: Mapped[int]
    model_id: Mapped[int | None]
    challenger_id: Mapped[int | None]
    profile_version: Mapped[str]
