"""Tables of what stands beside a case: traces of its alerts, looks, people, files, briefs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

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

TRACED = ("device_id", "ip", "counterparty_id", "merchant_id")


def _of_kind(kind: str) -> Index:
    return Index(
        f"ix_alert_traces_{kind}", kind, "at", postgresql_where=text(f"{kind} IS NOT NULL")
    )


class AlertTrace(Base):
    """What an alert can be found again by: whom it links with, and what it is like.

    A row is made by the database with its alert and filled in soon after
    (`fraudwatch.casework.traces`), so that the stream does not wait for it.
    """

    __tablename__ = "alert_traces"
    alert_id: Mapped[int] = mapped_column(ForeignKey("alerts.id"), primary_key=True)
    account_id: Mapped[str | None]
    at: Mapped[datetime | None]  # event time
    device_id: Mapped[str | None]
    ip: Mapped[str | None]
    counterparty_id: Mapped[str | None]
    merchant_id: Mapped[str | None]
    themes: Mapped[list[str]] = mapped_column(server_default="{}")  # features, heaviest first
    theme: Mapped[str | None]  # the first of them
    features: Mapped[bytes | None]
    features_version: Mapped[str | None]
    read_at: Mapped[datetime | None]
    __table_args__ = (
        *map(_of_kind, TRACED),
        Index(
            "ix_alert_traces_theme",
            "theme",
            "alert_id",
            postgresql_where=text("theme IS NOT NULL"),
        ),
        Index("ix_alert_traces_unread", "alert_id", postgresql_where=text("read_at IS NULL")),
    )


class FirstJudgement(Base):
    """What a person thought before the machine's opinion was shown to them. Append-only."""

    __tablename__ = "first_judgements"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    round: Mapped[int] = mapped_column(Integer)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime]
    version: Mapped[int] = mapped_column(Integer)  # of the case, as seen
    judgement: Mapped[str]
    screen: Mapped[dict[str, Any]]
    __table_args__ = (
        UniqueConstraint("case_id", "round", "user_id"),
        CheckConstraint("judgement IN ('fraud', 'legitimate', 'unsure')", name="judgement"),
    )


class CaseSight(Base):
    """A person was shown a case: when, which version, with or without the machine's opinion.
    Append-only."""

    __tablename__ = "case_sights"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime]
    version: Mapped[int] = mapped_column(Integer)
    view: Mapped[str]
    outcome_shown: Mapped[bool] = mapped_column(Boolean)
    risk_shown: Mapped[bool] = mapped_column(Boolean)


class Mention(Base):
    """Somebody was named in a note (`@name`)."""

    __tablename__ = "mentions"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("case_events.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    at: Mapped[datetime]
    __table_args__ = (
        UniqueConstraint("event_id", "user_id"),
        Index("ix_mentions_user_id_id", "user_id", "id"),
    )


class CaseWatcher(Base):
    """Somebody wants to hear of what happens to a case."""

    __tablename__ = "case_watchers"
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True, index=True)
    since: Mapped[datetime]


class Attachment(Base):
    """A file that belongs to a case. Its content lies in the data folder, under its hash."""

    __tablename__ = "attachments"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    name: Mapped[str]
    media_type: Mapped[str]  # found from the content
    size: Mapped[int]
    sha256: Mapped[str]
    added_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    added_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("case_id", "sha256"),)


class CallBrief(Base):
    """A brief for the call to a customer, as a person corrected it. Append-only."""

    __tablename__ = "call_briefs"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    language: Mapped[str]
    text: Mapped[str]
    called: Mapped[bool] = mapped_column(Boolean)  # whether the call was made with it
    kept_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    kept_at: Mapped[datetime]
    __table_args__ = (CheckConstraint("language IN ('en', 'fr')", name="language"),)
