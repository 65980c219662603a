"""Tables of what steers decisions: policies and models."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fraudwatch.casework.models.base import Base


class PolicyRow(Base):
    """A version of the policy. One is active; the proposer and the activator are on the row."""

    __tablename__ = "policies"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    status: Mapped[str]
    review_from: Mapped[float]
    high_risk_from: Mapped[float]
    no_history_amount: Mapped[Decimal] = mapped_column(Numeric(20, 4))
    no_history_count: Mapped[int] = mapped_column(Integer)
    blind_spot_rate: Mapped[float]
    late_days: Mapped[int] = mapped_column(Integer, server_default="30")
    comment: Mapped[str]
    proposed_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))  # null: shipped
    proposed_at: Mapped[datetime]
    activated_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    activated_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("status IN ('proposed', 'active', 'retired')", name="status"),
        CheckConstraint(
            "0 < review_from AND review_from <= high_risk_from AND high_risk_from <= 1"
            " AND no_history_amount > 0 AND no_history_count >= 0"
            " AND blind_spot_rate BETWEEN 0 AND 1",
            name="limits",
        ),
        CheckConstraint("late_days >= 1", name="late"),
        Index(
            "uq_policies_active", "status", unique=True, postgresql_where=text("status = 'active'")
        ),
    )


class ModelRow(Base):
    """A model bundle that is known: its folder, its manifest's hash and its part in the service."""

    __tablename__ = "models"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)  # folder under models_dir
    sha256: Mapped[str]
    status: Mapped[str]
    manifest: Mapped[dict[str, Any]]
    evaluation: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    promoted_at: Mapped[datetime | None]
    promoted_by: Mapped[str | None]
    __table_args__ = (
        CheckConstraint(
            "status IN ('candidate', 'challenger', 'champion', 'retired')", name="status"
        ),
        Index(
            "uq_models_champion",
            "status",
            unique=True,
            postgresql_where=text("status = 'champion'"),
        ),
        Index(
            "uq_models_challenger",
            "status",
            unique=True,
            postgresql_where=text("status = 'challenger'"),
        ),
    )
