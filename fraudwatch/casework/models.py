"""The database's tables. Relations load only when asked (`lazy="raise"`)."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

OPEN_STATUSES = "('new', 'claimed', 'reopened')"


class Base(DeclarativeBase):
    """Constraint names follow one pattern, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: DateTime(timezone=True),
        int: BigInteger,
        str: Text,
        float: Double,
        bytes: LargeBinary,
        dict[str, Any]: JSONB,
        list[dict[str, Any]]: JSONB,
        list[str]: ARRAY(Text),
        date: Date,
    }


class StreamOffset(Base):
    """How far each input partition has been taken in. Advanced by compare-and-set only."""

    __tablename__ = "stream_offsets"
    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    first_offset: Mapped[int]
    next_offset: Mapped[int]
    published_offset: Mapped[int]  # decisions below it are on the decisions topic
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
    __table_args__ = (
        CheckConstraint("first_offset < next_offset", name="order"),
        CheckConstraint("reason IN ('empty', 'expired')", name="reason"),
    )


class DeadLetter(Base):
    """A message that could not be used, with its reason and raw bytes."""

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
    __table_args__ = (CheckConstraint('"offset" < next_offset', name="order"),)


class LedgerRow(Base):
    """One transaction scored: what came in, what was computed, what was decided. Append-only.

    `features` are little-endian float64 in the order of the model's feature names. The machine's
    outcome is 0 auto_clear, 1 review, 2 high_risk: there is no value for an adverse one.
    """

    __tablename__ = "ledger"
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    offset: Mapped[int] = mapped_column(primary_key=True)
    transaction_id: Mapped[str] = mapped_column(unique=True)
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
    __table_args__ = (
        CheckConstraint("outcome IN (0, 1, 2)", name="outcome"),
        Index("ix_ledger_account_id_event_time", "account_id", "event_time"),
        Index("ix_ledger_event_time", "event_time", postgresql_using="brin"),
    )


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


class User(Base):
    """A person or a service. `kind` lets constraints ask for a person."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    display_name: Mapped[str]
    kind: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str | None]
    must_change_password: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    disabled: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    failed_logins: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    locked_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    __table_args__ = (
        UniqueConstraint("id", "kind"),
        CheckConstraint("kind IN ('person', 'service')", name="kind"),
        CheckConstraint(
            "role IN ('analyst', 'senior', 'risk_officer', 'auditor', 'service', 'admin')",
            name="role",
        ),
        CheckConstraint("(role = 'service') = (kind = 'service')", name="service"),
    )


class UserSession(Base):
    """A signed-in browser. The cookie's token is stored only as its SHA-256."""

    __tablename__ = "sessions"
    token_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    csrf: Mapped[str]
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class ApiToken(Base):
    """A token for programs. Only its SHA-256 is stored."""

    __tablename__ = "api_tokens"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    token_sha256: Mapped[bytes] = mapped_column(unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Case(Base):
    """Work for a person: one open case per account.

    Promise 3: the constraints refuse a resolution without a person.
    """

    __tablename__ = "cases"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    account_id: Mapped[str]
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
    alerts: Mapped[list[Alert]] = relationship(
        lazy="raise", back_populates="case", order_by="Alert.id"
    )
    events: Mapped[list[CaseEvent]] = relationship(lazy="raise", order_by="CaseEvent.id")
    __table_args__ = (
        ForeignKeyConstraint(["resolved_by", "resolver_kind"], ["users.id", "users.kind"]),
        CheckConstraint("status IN ('new', 'claimed', 'resolved', 'reopened')", name="status"),
        CheckConstraint(
            "(status = 'resolved') = (resolution IS NOT NULL)"
            " AND (resolution IS NOT NULL) = (resolved_by IS NOT NULL)"
            " AND (resolution IS NOT NULL) = (resolver_kind IS NOT NULL)"
            " AND (resolution IS NOT NULL) = (resolved_at IS NOT NULL)"
            " AND (resolution IS NOT NULL) = (coalesce(cardinality(reason_codes), 0) > 0)",
            name="resolved",
        ),
        CheckConstraint("resolver_kind IS NULL OR resolver_kind = 'person'", name="person"),
        CheckConstraint(
            "resolution IS NULL OR resolution IN ('fraud', 'legitimate', 'inconclusive')",
            name="resolution",
        ),
        CheckConstraint(
            "(status = 'claimed') = (claimed_by IS NOT NULL)"
            " AND (claimed_by IS NULL) = (lease_until IS NULL)",
            name="claim",
        ),
        Index(
            "uq_cases_open_account",
            "account_id",
            unique=True,
            postgresql_where=text(f"status IN {OPEN_STATUSES}"),
        ),
        Index(
            "ix_cases_queue",
            text("priority DESC"),
            "id",
            postgresql_where=text(f"status IN {OPEN_STATUSES}"),
        ),
        Index("ix_cases_account_id", "account_id"),
    )


class Alert(Base):
    """One transaction in a case. A blind-spot draw (`rule` 3) looks like any other to analysts."""

    __tablename__ = "alerts"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    partition: Mapped[int] = mapped_column(Integer)
    offset: Mapped[int]
    transaction_id: Mapped[str] = mapped_column(unique=True)
    outcome: Mapped[int] = mapped_column(SmallInteger)
    rule: Mapped[int] = mapped_column(SmallInteger)
    risk: Mapped[float | None]
    added_at: Mapped[datetime]
    case: Mapped[Case] = relationship(lazy="raise", back_populates="alerts")
    transaction: Mapped[LedgerRow] = relationship(lazy="raise", viewonly=True)
    __table_args__ = (
        ForeignKeyConstraint(["partition", "offset"], ["ledger.partition", "ledger.offset"]),
        Index("ix_alerts_case_id", "case_id"),
    )


class CaseEvent(Base):
    """What happened to a case. Append-only; `actor_id` is null for the machine."""

    __tablename__ = "case_events"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    kind: Mapped[str]  # opened, alert_added, claimed, released, expired, noted, resolved, reopened
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime]
    data: Mapped[dict[str, Any]]


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


class OutboxRow(Base):
    """A rare message to publish (outcomes, dead letters), written with what it tells of."""

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    topic: Mapped[str]
    key: Mapped[str | None]
    message_id: Mapped[str]  # header, for consumers to deduplicate
    payload: Mapped[bytes]
    created_at: Mapped[datetime]
    published_at: Mapped[datetime | None]
    __table_args__ = (
        Index("ix_outbox_waiting", "id", postgresql_where=text("published_at IS NULL")),
    )


class AuditRow(Base):
    """Who did what. Append-only and hash-chained: `hash` covers the row and `previous_hash`."""

    __tablename__ = "audit_log"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor_id: Mapped[int | None]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    data: Mapped[dict[str, Any]]
    previous_hash: Mapped[bytes]
    hash: Mapped[bytes]
