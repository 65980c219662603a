"""Tables of webhooks: who is told of what, and what is still to be told."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fraudwatch.casework.models.base import Base


class WebhookEndpoint(Base):
    """An address of somebody else's that is told of events.

    Its secret is made of the salt and our key (`fraudwatch.casework.webhooks`). One sender at a
    time holds the lease, so deliveries leave in order; `next_at` is when to try again.
    """

    __tablename__ = "webhook_endpoints"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    url: Mapped[str]
    events: Mapped[list[str]]
    description: Mapped[str]
    enabled: Mapped[bool] = mapped_column(Boolean)
    salt: Mapped[bytes]
    salt_before: Mapped[bytes | None]
    before_until: Mapped[datetime | None]
    give_up_hours: Mapped[int] = mapped_column(Integer)
    created_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # in a row
    next_at: Mapped[datetime | None]
    lease: Mapped[UUID | None]
    lease_until: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint(
            "cardinality(events) > 0 AND give_up_hours BETWEEN 1 AND 720", name="limits"
        ),
    )


class WebhookDelivery(Base):
    """One event for one endpoint; made by the triggers of migration 0013."""

    __tablename__ = "webhook_deliveries"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("webhook_endpoints.id"))
    message_id: Mapped[str]
    kind: Mapped[str]
    data: Mapped[dict[str, Any]]
    made_at: Mapped[datetime]
    give_up_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(server_default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    status: Mapped[int | None] = mapped_column(Integer)  # of the last answer
    fault: Mapped[str | None]  # why there was none
    ended_at: Mapped[datetime | None] = mapped_column(index=True)
    __table_args__ = (
        UniqueConstraint("endpoint_id", "message_id"),
        CheckConstraint("state IN ('waiting', 'delivered', 'dead')", name="state"),
        Index(
            "ix_webhook_deliveries_waiting",
            "endpoint_id",
            "id",
            postgresql_where=text("state = 'waiting'"),
        ),
    )
