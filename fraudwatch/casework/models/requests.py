"""Tables of requests that wait for an answer."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from fraudwatch.casework.models.base import Base


class IdempotencyKey(Base):
    """What a program asked under a key of its own; kept for a day.

    The answer is not kept: it is found again by the transactions that the request named.
    """

    __tablename__ = "idempotency_keys"
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[bytes]
    transaction_ids: Mapped[list[str]]
    created_at: Mapped[datetime]
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)
