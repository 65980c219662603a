"""Replay of dead letters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

APPEND_ONLY = ("dead_letter_replays", "dead_letter_accepts")


def upgrade() -> None:
    op.add_column("dead_letters", sa.Column("key", sa.LargeBinary(), nullable=True))
    op.add_column("dead_letters", sa.Column("size", sa.BigInteger(), nullable=True))
    op.add_column("dead_letters", sa.Column("replay_of", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_dead_letters_created_at",
        "dead_letters",
        ["created_at", "topic", "partition", "offset"],
    )
    op.create_index(
        "ix_dead_letters_replay_of",
        "dead_letters",
        ["topic", "partition", "replay_of"],
        postgresql_where=sa.text("replay_of IS NOT NULL"),
    )
    op.add_column("outbox", sa.Column("partition", sa.Integer(), nullable=True))
    op.create_table(
        "dead_letter_replays",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("replayed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replayed_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["topic", "partition", "offset"],
            ["dead_letters.topic", "dead_letters.partition", "dead_letters.offset"],
            name=op.f("fk_dead_letter_replays_topic_partition_offset"),
        ),
        sa.PrimaryKeyConstraint(
            "topic", "partition", "offset", name=op.f("pk_dead_letter_replays")
        ),
    )
    op.create_table(
        "dead_letter_accepts",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("until_offset", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "topic", "partition", "until_offset", name=op.f("pk_dead_letter_accepts")
        ),
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.add_column("stream_gaps", sa.Column("acknowledged_at", sa.DateTime(timezone=True)))
    op.add_column("stream_gaps", sa.Column("acknowledged_by", sa.Text()))
    op.add_column("stream_gaps", sa.Column("why", sa.Text()))


def downgrade() -> None:
    for column in ("why", "acknowledged_by", "acknowledged_at"):
        op.drop_column("stream_gaps", column)
    for table in APPEND_ONLY:
        op.drop_table(table)
    op.drop_column("outbox", "partition")
    op.drop_index("ix_dead_letters_replay_of", table_name="dead_letters")
    op.drop_index("ix_dead_letters_created_at", table_name="dead_letters")
    for column in ("replay_of", "size", "key"):
        op.drop_column("dead_letters", column)
