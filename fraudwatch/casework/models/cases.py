"""Tables of cases: work for people, and what they decided."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from fraudwatch.casework.models.base import Base

OPEN_STATUSES = "('new', 'claimed', 'waiting', 'escalated', 'second_look', 'reopened')"
TAKES_ALERTS = f"status IN {OPEN_STATUSES} OR forwards"
"""A merged case stays its account's case for as long as the one it went into is open."""

RANK = (
    "(CASE WHEN priority >= 20000 THEN 0.5 ELSE 0 END)::float8"
    " + 0.5 * least(1, (priority - 10000 * floor(priority / 10000)) / 600)"
    " - extract(epoch FROM opened_at AT TIME ZONE 'UTC')::float8 / 3600 / fair_hours"
)
"""`fraudwatch.domain.queues.rank`; a test compares the two."""


class Case(Base):
    """Work for a person: one open case per account.

    Promise 3: the constraints refuse a resolution, or a merge, without a person. Which status may
    follow which, and that a second look is given where it was asked for, is checked by triggers
    (migration 0009).
    """

    __tablename__ = "cases"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    account_id: Mapped[str]
    unit: Mapped[str | None]  # of the institution; only its own people see the case
    status: Mapped[str] = mapped_column(server_default="new")
    outcome: Mapped[int] = mapped_column(SmallInteger)  # highest of its alerts
    risk: Mapped[float | None]  # highest of its alerts
    amount: Mapped[Decimal] = mapped_column(Numeric(20, 4))  # sum of its alerts
    alert_count: Mapped[int] = mapped_column(Integer)
    priority: Mapped[float]  # higher first
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    opened_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    due_at: Mapped[datetime]
    claimed_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    lease_until: Mapped[datetime | None]
    resolution: Mapped[str | None]
    reason_codes: Mapped[list[str] | None]
    resolved_by: Mapped[int | None]
    resolver_kind: Mapped[str | None]
    resolved_at: Mapped[datetime | None]
    catalogue: Mapped[int | None] = mapped_column(Integer)  # version of the reason codes
    round: Mapped[int] = mapped_column(Integer, server_default=text("1"))  # a reopening begins one
    urgency: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    escalation: Mapped[str | None]  # why, until it is resolved
    wake_at: Mapped[datetime | None]
    barred: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")  # users
    first_look_at: Mapped[datetime | None]  # when a person first took it in this round
    seen_alert_id: Mapped[int | None]  # the newest alert that its holder has seen
    new_alerts: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # since then
    status_when_joined: Mapped[str | None]  # as it was when the newest alert came
    opened_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))  # null: the stream
    merged_into: Mapped[int | None] = mapped_column(ForeignKey("cases.id"))
    merged_by: Mapped[int | None]
    merger_kind: Mapped[str | None]
    forwards: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    raised_at: Mapped[datetime | None]  # when later truth contradicted the resolution
    raised_why: Mapped[str | None]
    # Of queues, see docs/queues.md.
    queue: Mapped[str] = mapped_column(server_default="rest")
    placed_by: Mapped[int] = mapped_column(server_default=text("0"))  # rules; 0: to be placed
    queued_at: Mapped[datetime | None]
    promised_at: Mapped[datetime | None]  # by when its queue promises a look
    warn_at: Mapped[datetime | None]
    fair_hours: Mapped[float] = mapped_column(server_default=text("72"))
    rank: Mapped[float] = mapped_column(Computed(RANK, persisted=True), deferred=True)
    alerts: Mapped[list[Alert]] = relationship(
        lazy="raise", back_populates="case", order_by="Alert.id"
    )
    events: Mapped[list[CaseEvent]] = relationship(lazy="raise", order_by="CaseEvent.id")
    __table_args__ = (
        ForeignKeyConstraint(["resolved_by", "resolver_kind"], ["users.id", "users.kind"]),
        ForeignKeyConstraint(["merged_by", "merger_kind"], ["users.id", "users.kind"]),
        CheckConstraint(
            f"status IN {OPEN_STATUSES} OR status IN ('resolved', 'merged')", name="status"
        ),
        CheckConstraint("outcome IN (0, 1, 2)", name="outcome"),
        CheckConstraint(
            "(status = 'resolved') = (resolution IS NOT NULL)"
            " AND (resolution IS NOT NULL) = (resolved_by IS NOT NULL)"
            " AND (resolution IS NOT NULL) = (resolver_kind IS NOT NULL)"
            " AND (resolution IS NOT NULL) = (resolved_at IS NOT NULL)"
            " AND (resolution IS NOT NULL) = (coalesce(cardinality(reason_codes), 0) > 0)"
            " AND (resolution IS NOT NULL) = (catalogue IS NOT NULL)",
            name="resolved",
        ),
        CheckConstraint(
            "(resolver_kind IS NULL OR resolver_kind = 'person')"
            " AND (merger_kind IS NULL OR merger_kind = 'person')",
            name="person",
        ),
        CheckConstraint(
            "resolution IS NULL OR resolution IN ('fraud', 'legitimate', 'inconclusive')",
            name="resolution",
        ),
        CheckConstraint(
            "(status <> 'claimed' OR claimed_by IS NOT NULL)"
            " AND (status IN ('claimed', 'second_look') OR claimed_by IS NULL)"
            " AND (claimed_by IS NULL) = (lease_until IS NULL)"
            " AND (claimed_by IS NULL OR claimed_by <> ALL (barred))",
            name="claim",
        ),
        CheckConstraint("(status = 'waiting') = (wake_at IS NOT NULL)", name="waiting"),
        CheckConstraint(
            "(status <> 'escalated' OR escalation IS NOT NULL) AND (escalation IS NULL"
            " OR escalation IN ('person', 'disagreement', 'late'))",
            name="escalation",
        ),
        CheckConstraint(
            "(status = 'merged') = (merged_into IS NOT NULL)"
            " AND (merged_into IS NULL) = (merged_by IS NULL)"
            " AND (merged_into IS NULL) = (merger_kind IS NULL)"
            " AND (status = 'merged' OR NOT forwards)",
            name="merged",
        ),
        CheckConstraint("(raised_at IS NULL) = (raised_why IS NULL)", name="raised"),
        CheckConstraint("fair_hours > 0", name="fair_hours"),
        Index(
            "uq_cases_open_account",
            "account_id",
            unique=True,
            postgresql_where=text(TAKES_ALERTS),
        ),
        Index(
            "ix_cases_queue",
            text("urgency DESC"),
            text("priority DESC"),
            "id",
            postgresql_where=text(f"status IN {OPEN_STATUSES}"),
        ),
        Index(
            "ix_cases_unseen",
            "due_at",
            postgresql_where=text("first_look_at IS NULL AND status IN ('new', 'reopened')"),
        ),
        Index("ix_cases_raised", "raised_at", postgresql_where=text("raised_at IS NOT NULL")),
        Index("ix_cases_forwards", "merged_into", postgresql_where=text("forwards")),
        Index("ix_cases_account_id", "account_id"),
        Index(
            "ix_cases_account_id_begins",
            "account_id",
            postgresql_ops={"account_id": "text_pattern_ops"},
        ),
        Index(
            "ix_cases_line",
            "queue",
            text("urgency DESC"),
            text("rank DESC"),
            "id",
            postgresql_where=text(f"status IN {OPEN_STATUSES}"),
        ),
        Index(
            "ix_cases_placed_by",
            "placed_by",
            postgresql_where=text(f"status IN {OPEN_STATUSES}"),
        ),
        Index("ix_cases_warn", "warn_at", postgresql_where=text("warn_at IS NOT NULL")),
        Index("ix_cases_claimed_by", "claimed_by", postgresql_where=text("claimed_by IS NOT NULL")),
        Index("ix_cases_opened_at", "opened_at"),
    )


class Alert(Base):
    """One transaction in a case. A blind-spot draw (`rule` 3) looks like any other to analysts."""

    __tablename__ = "alerts"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    partition: Mapped[int] = mapped_column(Integer)
    offset: Mapped[int]
    transaction_id: Mapped[str]
    event_time: Mapped[datetime]  # names the day of the ledger that holds the transaction
    outcome: Mapped[int] = mapped_column(SmallInteger)
    rule: Mapped[int] = mapped_column(SmallInteger)
    risk: Mapped[float | None]
    added_at: Mapped[datetime]
    resolution: Mapped[str | None]  # while its case is resolved; may differ from the case's
    case: Mapped[Case] = relationship(lazy="raise", back_populates="alerts")
    __table_args__ = (
        UniqueConstraint("transaction_id", "event_time"),
        CheckConstraint("outcome IN (0, 1, 2)", name="outcome"),
        CheckConstraint(
            "resolution IS NULL OR resolution IN ('fraud', 'legitimate', 'inconclusive')",
            name="resolution",
        ),
        Index("ix_alerts_case_id", "case_id"),
    )


class CaseEvent(Base):
    """What happened to a case. Append-only; `actor_id` is null for the machine.

    `data` may hold `text` (why, in a person's words) and `screen` (what they had before them).
    """

    __tablename__ = "case_events"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    kind: Mapped[str]  # see docs/casework.md
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime]
    data: Mapped[dict[str, Any]]
    __table_args__ = (
        Index(
            "ix_case_events_words",
            text("to_tsvector('simple'::regconfig, data ->> 'text')"),
            postgresql_using="gin",
            postgresql_where=text("data ? 'text'"),
        ),
    )


class LabelRow(Base):
    """Truth about a transaction by one source. Append-only; see `fraudwatch.domain.label`."""

    __tablename__ = "labels"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    transaction_id: Mapped[str] = mapped_column(index=True)
    fraud: Mapped[bool] = mapped_column(Boolean)
    source: Mapped[str]
    precedence: Mapped[int] = mapped_column(SmallInteger)
    known_at: Mapped[datetime]
    case_id: Mapped[int | None] = mapped_column(ForeignKey("cases.id"))
    created_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    # Where a label came from a stream: each offset gives exactly one row or dead letter.
    topic: Mapped[str | None]
    partition: Mapped[int | None] = mapped_column(Integer)
    offset: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (
        UniqueConstraint("topic", "partition", "offset"),
        CheckConstraint(
            "source IN ('analyst', 'blind_spot', 'chargeback', 'appeal')", name="source"
        ),
    )


class OutcomeRow(Base):
    """What the payment system is told about a transaction. Only a person's act makes one."""

    __tablename__ = "outcomes"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    transaction_id: Mapped[str] = mapped_column(index=True)
    action: Mapped[str]
    reason_codes: Mapped[list[str]]
    decided_by: Mapped[int]
    decider_kind: Mapped[str]
    decided_at: Mapped[datetime]
    __table_args__ = (
        ForeignKeyConstraint(["decided_by", "decider_kind"], ["users.id", "users.kind"]),
        CheckConstraint("decider_kind = 'person'", name="person"),
        CheckConstraint("action IN ('release', 'decline')", name="action"),
    )
