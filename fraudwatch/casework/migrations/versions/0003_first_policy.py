"""The policy a new installation starts with: about one transaction in a hundred goes to people."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        INSERT INTO policies (status, review_from, high_risk_from, no_history_amount,
                              no_history_count, blind_spot_rate, comment, proposed_at, activated_at)
        VALUES ('active', 0.99, 0.998, 1000, 3, 0.002, 'Shipped with the program.', now(), now())
        """
    )


def downgrade() -> None:
    op.execute("DELETE FROM policies WHERE comment = 'Shipped with the program.'")
