"""Tables of people, programs, their sessions, and what they did."""

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
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from fraudwatch.casework.models.base import Base


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
    units: Mapped[list[str] | None]  # whose cases they see; null: all
    password_ends_at: Mapped[datetime | None]  # of a one-time password
    totp_secret: Mapped[bytes | None]  # sealed, as `totp_offered`
    totp_offered: Mapped[bytes | None]  # not confirmed yet
    totp_step: Mapped[int | None]  # the last one used: no code is good twice
    totp_since: Mapped[datetime | None]
    provider: Mapped[str | None]  # issuer of OpenID Connect
    provider_subject: Mapped[str | None]  # who they are there
    __table_args__ = (
        UniqueConstraint("id", "kind"),
        UniqueConstraint("provider", "provider_subject"),
        CheckConstraint(
            "(provider IS NULL) = (provider_subject IS NULL)"
            " AND (provider IS NULL OR password_hash IS NULL)",
            name="provider",
        ),
        CheckConstraint("kind IN ('person', 'service')", name="kind"),
        CheckConstraint(
            "role IN ('analyst', 'senior', 'risk_officer', 'auditor', 'service', 'payment_system',"
            " 'customer_portal', 'admin')",
            name="role",
        ),
        CheckConstraint(
            "(role IN ('service', 'payment_system', 'customer_portal')) = (kind = 'service')",
            name="service",
        ),
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
    id: Mapped[int] = mapped_column(Identity(), unique=True)  # how its owner names it
    awaits_code: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    method: Mapped[str] = mapped_column(server_default="password")  # or "provider"
    source: Mapped[str] = mapped_column(server_default="")  # address it was begun from
    agent: Mapped[str] = mapped_column(server_default="")  # what the browser calls itself
    wrong: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # guesses made in it
    provider_token: Mapped[str | None]  # id token, to sign out at the provider with
    provider_session: Mapped[str | None] = mapped_column(index=True)  # `sid` there
    __table_args__ = (CheckConstraint("method IN ('password', 'provider')", name="method"),)


class RecoveryCode(Base):
    """Stands in once for a code of the second factor. Only its SHA-256 is stored."""

    __tablename__ = "recovery_codes"
    code_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    used_at: Mapped[datetime | None]


class KnownDevice(Base):
    """A browser that a person has signed in with before: guesses elsewhere do not lock it out."""

    __tablename__ = "known_devices"
    token_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    failed_logins: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    locked_until: Mapped[datetime | None]
    expires_at: Mapped[datetime]


class SignInSource(Base):
    """An address that wrong passwords came from, as a keyed hash."""

    __tablename__ = "sign_in_sources"
    source: Mapped[bytes] = mapped_column(primary_key=True)
    failed_logins: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    locked_until: Mapped[datetime | None]
    failed_at: Mapped[datetime] = mapped_column(index=True)


class ProviderSignIn(Base):
    """A sign-in that was sent to the provider of OpenID Connect and has not come back."""

    __tablename__ = "provider_sign_ins"
    state_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    browser_sha256: Mapped[bytes]
    nonce: Mapped[str]
    verifier: Mapped[str]
    back: Mapped[str]
    expires_at: Mapped[datetime] = mapped_column(index=True)


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
    permissions: Mapped[list[str] | None]  # of its owner's; null: all of them


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
