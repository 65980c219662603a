"""Topics and what decided."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

APPEND_ONLY = ("topic_layouts", "deciders")


def upgrade() -> None:
    op.add_column(
        "policies", sa.Column("late_days", sa.Integer(), server_default="30", nullable=False)
    )
    op.create_check_constraint(op.f("ck_policies_late"), "policies", "late_days >= 1")
    op.add_column(
        "stream_offsets",
        sa.Column("generation", sa.Integer(), server_default="0", nullable=False),
    )
    op.create_table(
        "topic_layouts",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("base_offset", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.PrimaryKeyConstraint("topic", "generation", "partition", name=op.f("pk_topic_layouts")),
    )
    op.create_table(
        "deciders",
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("from_offset", sa.BigInteger(), nullable=False),
        sa.Column("features_version", sa.Text(), nullable=False),
        sa.Column("policy_id", sa.BigInteger(), nullable=False),
        sa.Column("model_id", sa.BigInteger(), nullable=True),
        sa.Column("challenger_id", sa.BigInteger(), nullable=True),
        sa.Column("profile_version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "from_offset", name=op.f("pk_deciders")),
    )
    # Decisions made before: policies knew nothing of late transactions, and what decided from
    # which offset on shows in the ledger.
    op.execute(
        "UPDATE policies p SET late_days = 36500"
        " WHERE EXISTS (SELECT FROM ledger l WHERE l.policy_id = p.id)"
    )
    op.execute(
        """
        INSERT INTO deciders
        SELECT partition, "offset", features_version, policy_id, model_id, challenger_id,
               profile_version
          FROM (SELECT *, lag("offset") OVER stream IS NULL
                       OR lag(features_version) OVER stream <> features_version
                       OR lag(policy_id) OVER stream <> policy_id
                       OR lag(model_id) OVER stream IS DISTINCT FROM model_id
                       OR lag(challenger_id) OVER stream IS DISTINCT FROM challenger_id
                       OR lag(profile_version) OVER stream <> profile_version AS changed
                  FROM ledger
                WINDOW stream AS (PARTITION BY partition ORDER BY "offset")) AS rows
         WHERE changed
        """
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    op.drop_table("deciders")
    op.drop_table("topic_layouts")
    op.drop_column("stream_offsets", "generation")
    op.drop_column("policies", "late_days")
