"""Tables of who did what and who saw what: see `fraudwatch.casework.audit` and `.looks`.

What happened waits in a `…_pending` table until the database links it to its chain: a change when
its transaction commits, looks a moment later, many at a time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from fraudwatch.casework.models.base import Base


class _Told:
    """Who did what to what, when."""

    at: Mapped[datetime]
    actor_id: Mapped[int | None]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    data: Mapped[dict[str, Any]]


class PendingChange(_Told, Base):
    """A change whose transaction is still open: at its commit it becomes an `AuditRow`."""

    __tablename__ = "audit_pending"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    digest: Mapped[bytes]


class PendingLook(_Told, Base):
    """A look that is not linked to the chain yet: within about a second it becomes a `LookRow`."""

    __tablename__ = "looks_pending"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    digest: Mapped[bytes]


class LookRow(_Told, Base):
    """A look at personal data. Append-only and hash-chained like `AuditRow`."""

    __tablename__ = "looks"
    id: Mapped[int] = mapped_column(primary_key=True)
    previous_hash: Mapped[bytes]
    hash: Mapped[bytes]
    __table_args__ = (
        Index("ix_looks_subject", "subject", "id"),
        Index("ix_looks_actor_id", "actor_id", "id"),
        Index(
            "ix_looks_shown",
            text("(data -> 'shown')"),
            postgresql_using="gin",
        ),
    )
