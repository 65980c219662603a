"""Queues: rules in versions, who works in them, the rank of a case, saved views."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_OPEN = "status IN ('new', 'claimed', 'waiting', 'escalated', 'second_look', 'reopened')"

# `fraudwatch.domain.queues.rank`, compared by a test.
_RANK = (
    "(CASE WHEN priority >= 20000 THEN 0.5 ELSE 0 END)::float8"
    " + 0.5 * least(1, (priority - 10000 * floor(priority / 10000)) / 600)"
    " - extract(epoch FROM opened_at AT TIME ZONE 'UTC')::float8 / 3600 / fair_hours"
)


def upgrade() -> None:
    moment, whole, words = sa.DateTime(timezone=True), sa.BigInteger(), postgresql.ARRAY(sa.Text())
    op.add_column(
        "cases", sa.Column("queue", sa.Text(), server_default=sa.text("'rest'"), nullable=False)
    )
    op.add_column(
        "cases", sa.Column("placed_by", whole, server_default=sa.text("0"), nullable=False)
    )
    for name in ("queued_at", "promised_at", "warn_at"):
        op.add_column("cases", sa.Column(name, moment, nullable=True))
    op.add_column(
        "cases", sa.Column("fair_hours", sa.Double(), server_default=sa.text("72"), nullable=False)
    )
    op.add_column(
        "cases", sa.Column("rank", sa.Double(), sa.Computed(_RANK, persisted=True), nullable=False)
    )
    op.create_check_constraint(op.f("ck_cases_fair_hours"), "cases", "fair_hours > 0")
    _indexes()
    op.create_table(
        "queue_rules",
        sa.Column("id", whole, sa.Identity(always=False), nullable=False),
        sa.Column("queues", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("most_open", sa.Integer(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("set_by", whole, nullable=True),
        sa.Column("set_at", moment, nullable=False),
        sa.ForeignKeyConstraint(["set_by"], ["users.id"], name=op.f("fk_queue_rules_set_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue_rules")),
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON queue_rules"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "INSERT INTO queue_rules (queues, comment, set_at) VALUES"
        """ ('[{"name": "rest", "title": "All cases"}]', 'Shipped with the program.', now())"""
    )
    op.create_table(
        "queue_members",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("user_id", whole, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.CheckConstraint("role IN ('worker', 'lead')", name=op.f("ck_queue_members_role")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_queue_members_user_id")),
        sa.PrimaryKeyConstraint("queue", "user_id", name=op.f("pk_queue_members")),
    )
    op.create_table(
        "queue_workers",
        sa.Column("user_id", whole, nullable=False),
        sa.Column("skills", words, server_default="{}", nullable=False),
        sa.Column("own_accounts", words, server_default="{}", nullable=False),
        sa.Column("most_open", sa.Integer(), nullable=True),
        sa.Column("away_from", moment, nullable=True),
        sa.Column("away_until", moment, nullable=True),
        sa.CheckConstraint(
            "(away_until IS NULL OR away_from < away_until)"
            " AND (most_open IS NULL OR most_open > 0)",
            name=op.f("ck_queue_workers_limits"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_queue_workers_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_queue_workers")),
    )
    op.create_table(
        "saved_views",
        sa.Column("id", whole, sa.Identity(always=False), nullable=False),
        sa.Column("owner_id", whole, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("filter", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("shared", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("changed_at", moment, nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_saved_views_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_views")),
        sa.UniqueConstraint("owner_id", "name", name=op.f("uq_saved_views_owner_id_name")),
    )
    _to_be_placed()


def _indexes() -> None:
    is_open = sa.text(_OPEN)
    op.create_index(
        "ix_cases_line",
        "cases",
        ["queue", sa.text("urgency DESC"), sa.text("rank DESC"), "id"],
        postgresql_where=is_open,
    )
    op.create_index("ix_cases_placed_by", "cases", ["placed_by"], postgresql_where=is_open)
    op.create_index(
        "ix_cases_warn", "cases", ["warn_at"], postgresql_where=sa.text("warn_at IS NOT NULL")
    )
    op.create_index(
        "ix_cases_claimed_by",
        "cases",
        ["claimed_by"],
        postgresql_where=sa.text("claimed_by IS NOT NULL"),
    )
    op.create_index("ix_cases_opened_at", "cases", ["opened_at"])
    op.create_index("ix_case_decisions_decided_at", "case_decisions", ["decided_at"])


def _to_be_placed() -> None:
    """What rules look at has changed: the case is placed anew, from where it waits until then."""
    op.execute(
        """
        CREATE FUNCTION case_to_be_placed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.placed_by := 0;
            IF NEW.status = 'reopened' AND OLD.status <> 'reopened' THEN
                NEW.queued_at := NULL;
                NEW.promised_at := NULL;
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER to_be_placed BEFORE UPDATE OF status, outcome, amount, alert_count ON cases"
        " FOR EACH ROW WHEN (NEW.alert_count <> OLD.alert_count OR NEW.amount <> OLD.amount"
        " OR NEW.outcome <> OLD.outcome"
        " OR (NEW.status = 'reopened' AND OLD.status <> 'reopened'))"
        " EXECUTE FUNCTION case_to_be_placed()"
    )


def downgrade() -> None:
    raise NotImplementedError("queues cannot be told in the schema before")
