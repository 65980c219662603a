"""Requests that wait: payment systems as a role of their own, and keys of repeated requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_PEOPLE = "'analyst', 'senior', 'risk_officer', 'auditor', 'admin'"


def upgrade() -> None:
    _allow_services("'service', 'payment_system'")
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("transaction_ids", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_idempotency_keys_user_id")
        ),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    _allow_services("'service'")


def _allow_services(roles: str) -> None:
    op.drop_constraint(op.f("ck_users_role"), "users", type_="check")
    op.drop_constraint(op.f("ck_users_service"), "users", type_="check")
    op.create_check_constraint(op.f("ck_users_role"), "users", f"role IN ({_PEOPLE}, {roles})")
    op.create_check_constraint(
        op.f("ck_users_service"), "users", f"(role IN ({roles})) = (kind = 'service')"
    )
