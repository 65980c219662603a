"""Sign-in: second factor, known devices, sessions one can name, a provider, scope by unit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_USERS = (
    ("units", postgresql.ARRAY(sa.Text())),
    ("password_ends_at", sa.DateTime(timezone=True)),
    ("totp_secret", sa.LargeBinary()),
    ("totp_offered", sa.LargeBinary()),
    ("totp_step", sa.BigInteger()),
    ("totp_since", sa.DateTime(timezone=True)),
    ("provider", sa.Text()),
    ("provider_subject", sa.Text()),
)


def upgrade() -> None:
    for name, kind in _USERS:
        op.add_column("users", sa.Column(name, kind, nullable=True))
    op.create_unique_constraint(
        op.f("uq_users_provider_provider_subject"), "users", ["provider", "provider_subject"]
    )
    op.create_check_constraint(
        op.f("ck_users_provider"),
        "users",
        "(provider IS NULL) = (provider_subject IS NULL)"
        " AND (provider IS NULL OR password_hash IS NULL)",
    )
    _sessions()
    op.create_table(
        "recovery_codes",
        sa.Column("code_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_recovery_codes_user_id")),
        sa.PrimaryKeyConstraint("code_sha256", name=op.f("pk_recovery_codes")),
    )
    op.create_index(op.f("ix_recovery_codes_user_id"), "recovery_codes", ["user_id"])
    op.create_table(
        "known_devices",
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("failed_logins", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_known_devices_user_id")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_known_devices")),
    )
    op.create_index(op.f("ix_known_devices_user_id"), "known_devices", ["user_id"])
    op.create_table(
        "sign_in_sources",
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.Column("failed_logins", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_sign_in_sources")),
    )
    op.create_index(op.f("ix_sign_in_sources_failed_at"), "sign_in_sources", ["failed_at"])
    op.create_table(
        "provider_sign_ins",
        sa.Column("state_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("browser_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("verifier", sa.Text(), nullable=False),
        sa.Column("back", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state_sha256", name=op.f("pk_provider_sign_ins")),
    )
    op.create_index(op.f("ix_provider_sign_ins_expires_at"), "provider_sign_ins", ["expires_at"])
    op.add_column("api_tokens", sa.Column("permissions", postgresql.ARRAY(sa.Text())))
    op.add_column("cases", sa.Column("unit", sa.Text(), nullable=True))


def _sessions() -> None:
    op.add_column("sessions", sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False))
    op.create_unique_constraint(op.f("uq_sessions_id"), "sessions", ["id"])
    for name, kind, default in (
        ("awaits_code", sa.Boolean(), sa.text("false")),
        ("method", sa.Text(), "password"),
        ("source", sa.Text(), ""),
        ("agent", sa.Text(), ""),
        ("wrong", sa.Integer(), sa.text("0")),
    ):
        op.add_column("sessions", sa.Column(name, kind, server_default=default, nullable=False))
    op.add_column("sessions", sa.Column("provider_token", sa.Text(), nullable=True))
    op.add_column("sessions", sa.Column("provider_session", sa.Text(), nullable=True))
    op.create_index(op.f("ix_sessions_provider_session"), "sessions", ["provider_session"])
    op.create_check_constraint(
        op.f("ck_sessions_method"), "sessions", "method IN ('password', 'provider')"
    )


def downgrade() -> None:
    op.drop_column("cases", "unit")
    op.drop_column("api_tokens", "permissions")
    for table in ("provider_sign_ins", "sign_in_sources", "known_devices", "recovery_codes"):
        op.drop_table(table)
    op.drop_constraint(op.f("ck_sessions_method"), "sessions", type_="check")
    op.drop_index(op.f("ix_sessions_provider_session"), table_name="sessions")
    op.drop_constraint(op.f("uq_sessions_id"), "sessions", type_="unique")
    for name in (
        "provider_session",
        "provider_token",
        "wrong",
        "agent",
        "source",
        "method",
        "awaits_code",
        "id",
    ):
        op.drop_column("sessions", name)
    op.drop_constraint(op.f("ck_users_provider"), "users", type_="check")
    op.drop_constraint(op.f("uq_users_provider_provider_subject"), "users", type_="unique")
    for name, _ in reversed(_USERS):
        op.drop_column("users", name)
