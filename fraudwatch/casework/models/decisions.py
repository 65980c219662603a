"""Tables of what people find in cases, under which rules, and of what customers object to."""

from __future__ import annotations

from datetime import datetime
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
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fraudwatch.casework.models.base import Base


class CaseDecision(Base):
    """One person's finding on a case. Append-only.

    `look` counts within a round: the first, a second person's, and a third's where the two differ.
    Nobody decides twice in one round: the database refuses it. What a first look found is shown to
    nobody who could give the second one.
    """

    __tablename__ = "case_decisions"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    round: Mapped[int] = mapped_column(Integer)
    look: Mapped[int] = mapped_column(SmallInteger)
    decided_by: Mapped[int]
    decider_kind: Mapped[str]
    decided_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(Integer)  # of the case, as seen
    resolution: Mapped[str]
    reason_codes: Mapped[list[str]]
    catalogue: Mapped[int] = mapped_column(Integer)  # version of the reason codes
    note: Mapped[str]
    # Transactions that differ from the case: transaction_id, resolution, reason_codes.
    differing: Mapped[list[dict[str, Any]]]
    rules_id: Mapped[int] = mapped_column(ForeignKey("casework_rules.id"))
    second_why: Mapped[str | None]  # why a second person must look; null: they need not
    __table_args__ = (
        ForeignKeyConstraint(["decided_by", "decider_kind"], ["users.id", "users.kind"]),
        UniqueConstraint("case_id", "round", "look"),
        UniqueConstraint("case_id", "round", "decided_by"),
        CheckConstraint("decider_kind = 'person'", name="person"),
        CheckConstraint("look IN (1, 2, 3)", name="look"),
        Index("ix_case_decisions_decided_at", "decided_at"),
        CheckConstraint(
            "resolution IN ('fraud', 'legitimate', 'inconclusive')"
            " AND coalesce(cardinality(reason_codes), 0) > 0",
            name="resolution",
        ),
        CheckConstraint(
            "second_why IS NULL OR second_why IN ('amount', 'reason', 'share')", name="second_why"
        ),
    )


class CaseworkRules(Base):
    """When a second person must look, and what is promised to customers. Append-only: the newest
    version holds, and each decision names the one it was made under."""

    __tablename__ = "casework_rules"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    second_amount: Mapped[Decimal | None] = mapped_column(Numeric(20, 4))  # from this on; null: no
    second_codes: Mapped[list[str]]
    second_share: Mapped[float]  # of all other decisions, drawn at random
    dispute_hours: Mapped[int] = mapped_column(Integer)
    comment: Mapped[str]
    set_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))  # null: shipped
    set_at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint(
            "(second_amount IS NULL OR second_amount >= 0) AND second_share BETWEEN 0 AND 1"
            " AND dispute_hours BETWEEN 1 AND 720",
            name="limits",
        ),
    )


class CaseLink(Base):
    """Two cases that belong together, `low` < `high`. Append-only."""

    __tablename__ = "case_links"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    low: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    high: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    reason: Mapped[str]
    linked_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    linked_at: Mapped[datetime]
    __table_args__ = (
        UniqueConstraint("low", "high"),
        CheckConstraint("low < high", name="order"),
    )


class Dispute(Base):
    """A customer's objection to a hold or to a decline: of one alert, one at a time."""

    __tablename__ = "disputes"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alerts.id"), index=True)
    statement: Mapped[str]  # the customer's words, or nothing
    opened_by: Mapped[int] = mapped_column(ForeignKey("users.id"))  # the service
    opened_at: Mapped[datetime]
    promised_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]  # by the resolution of its case
    action: Mapped[str | None]
    __table_args__ = (
        CheckConstraint(
            "(answered_at IS NULL) = (action IS NULL)"
            " AND (action IS NULL OR action IN ('release', 'decline'))",
            name="answer",
        ),
        Index(
            "uq_disputes_open",
            "alert_id",
            unique=True,
            postgresql_where=text("answered_at IS NULL"),
        ),
    )
