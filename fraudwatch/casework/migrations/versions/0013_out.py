"""Webhooks: endpoints, what is to be delivered to them, and the triggers that make it.

A trigger and no service makes deliveries: they come with the change or not at all, whichever
program wrote it. The same trigger wakes live views (NOTIFY).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"

_TEXTS = postgresql.ARRAY(sa.Text())
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", _TEXTS, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("salt_before", sa.LargeBinary(), nullable=True),
        sa.Column("before_until", _MOMENT, nullable=True),
        sa.Column("give_up_hours", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", _MOMENT, nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("lease_until", _MOMENT, nullable=True),
        sa.CheckConstraint(
            "cardinality(events) > 0 AND give_up_hours BETWEEN 1 AND 720",
            name=op.f("ck_webhook_endpoints_limits"),
        ),
        sa.ForeignKeyConstraint(
            ["created_by"], ["users.id"], name=op.f("fk_webhook_endpoints_created_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("endpoint_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.Column("give_up_at", _MOMENT, nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("ended_at", _MOMENT, nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'delivered', 'dead')", name=op.f("ck_webhook_deliveries_state")
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name=op.f("fk_webhook_deliveries_endpoint_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint(
            "endpoint_id", "message_id", name=op.f("uq_webhook_deliveries_endpoint_id_message_id")
        ),
    )
    op.create_index(
        "ix_webhook_deliveries_waiting",
        "webhook_deliveries",
        ["endpoint_id", "id"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(op.f("ix_webhook_deliveries_ended_at"), "webhook_deliveries", ["ended_at"])
    _trigger(
        "case_events",
        kind="'case.' || n.kind",
        family="case",
        data="jsonb_build_object('case_id', n.case_id)",
        at="n.at",
        tell="PERFORM pg_notify('fraudwatch_events', '');",
    )
    _trigger(
        "outcomes",
        kind="'outcome.' || n.action",
        family="outcome",
        data="jsonb_build_object('case_id', n.case_id, 'transaction_id', n.transaction_id,"
        " 'action', n.action, 'reason_codes', n.reason_codes, 'decided_at', n.decided_at)",
        at="n.decided_at",
        tell="",
    )


def _trigger(table: str, *, kind: str, family: str, data: str, at: str, tell: str) -> None:
    op.execute(
        f"""
        CREATE FUNCTION tell_of_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO webhook_deliveries
                (endpoint_id, message_id, kind, data, made_at, give_up_at)
            SELECT e.id, '{family}:' || n.id, {kind}, {data}, {at},
                   {at} + make_interval(hours => e.give_up_hours)
              FROM added n
              JOIN webhook_endpoints e
                ON e.enabled AND e.events && ARRAY[{kind}, '{family}.*']
             ORDER BY n.id, e.id;
            {tell}
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        f"CREATE TRIGGER tell_of_{table} AFTER INSERT ON {table}"
        f" REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tell_of_{table}()"
    )


def downgrade() -> None:
    for table in ("case_events", "outcomes"):
        op.execute(f"DROP TRIGGER tell_of_{table} ON {table}")
        op.execute(f"DROP FUNCTION tell_of_{table}()")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhook_endpoints")
