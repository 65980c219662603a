"""Details of cases: traces of alerts, what people saw and judged first, files, people, briefs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TABLES = (
    "alert_traces",
    "first_judgements",
    "case_sights",
    "mentions",
    "case_watchers",
    "attachments",
    "call_briefs",
)
_RECORDS = ("first_judgements", "case_sights", "call_briefs")
_MOMENT, _WHOLE = sa.DateTime(timezone=True), sa.BigInteger()


def _key(table: str) -> tuple[sa.Column[int], sa.PrimaryKeyConstraint]:
    column = sa.Column("id", _WHOLE, sa.Identity(always=False), nullable=False)
    return column, sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}"))


def _points(table: str, column: str, to: str) -> tuple[sa.Column[int], sa.ForeignKeyConstraint]:
    return (
        sa.Column(column, _WHOLE, nullable=False),
        sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}")),
    )


def upgrade() -> None:
    _traces()
    _seen()
    _people()
    _files()
    for table in _RECORDS:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.create_index(
        "ix_case_events_words",
        "case_events",
        [sa.text("to_tsvector('simple'::regconfig, data ->> 'text')")],
        postgresql_using="gin",
        postgresql_where=sa.text("data ? 'text'"),
    )
    op.create_index(
        "ix_cases_account_id_begins",
        "cases",
        ["account_id"],
        postgresql_ops={"account_id": "text_pattern_ops"},
    )


def _traces() -> None:
    words = postgresql.ARRAY(sa.Text())
    op.create_table(
        "alert_traces",
        *_points("alert_traces", "alert_id", "alerts"),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("at", _MOMENT, nullable=True),
        sa.Column("device_id", sa.Text(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("counterparty_id", sa.Text(), nullable=True),
        sa.Column("merchant_id", sa.Text(), nullable=True),
        sa.Column("themes", words, server_default="{}", nullable=False),
        sa.Column("theme", sa.Text(), nullable=True),
        sa.Column("features", sa.LargeBinary(), nullable=True),
        sa.Column("features_version", sa.Text(), nullable=True),
        sa.Column("read_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("alert_id", name=op.f("pk_alert_traces")),
    )
    for kind in ("device_id", "ip", "counterparty_id", "merchant_id"):
        op.create_index(
            f"ix_alert_traces_{kind}",
            "alert_traces",
            [kind, "at"],
            postgresql_where=sa.text(f"{kind} IS NOT NULL"),
        )
    op.create_index(
        "ix_alert_traces_theme",
        "alert_traces",
        ["theme", "alert_id"],
        postgresql_where=sa.text("theme IS NOT NULL"),
    )
    op.create_index(
        "ix_alert_traces_unread",
        "alert_traces",
        ["alert_id"],
        postgresql_where=sa.text("read_at IS NULL"),
    )
    op.execute("INSERT INTO alert_traces (alert_id) SELECT id FROM alerts")
    op.execute(
        """
        CREATE FUNCTION trace_alerts() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO alert_traces (alert_id) SELECT id FROM added;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER traced AFTER INSERT ON alerts REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION trace_alerts()"
    )


def _seen() -> None:
    op.create_table(
        "first_judgements",
        *_key("first_judgements"),
        *_points("first_judgements", "case_id", "cases"),
        sa.Column("round", sa.Integer(), nullable=False),
        *_points("first_judgements", "user_id", "users"),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("judgement", sa.Text(), nullable=False),
        sa.Column("screen", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.UniqueConstraint(
            "case_id", "round", "user_id", name=op.f("uq_first_judgements_case_id_round_user_id")
        ),
        sa.CheckConstraint(
            "judgement IN ('fraud', 'legitimate', 'unsure')",
            name=op.f("ck_first_judgements_judgement"),
        ),
    )
    op.create_table(
        "case_sights",
        *_key("case_sights"),
        *_points("case_sights", "case_id", "cases"),
        *_points("case_sights", "user_id", "users"),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("view", sa.Text(), nullable=False),
        sa.Column("outcome_shown", sa.Boolean(), nullable=False),
        sa.Column("risk_shown", sa.Boolean(), nullable=False),
    )
    op.create_index(op.f("ix_case_sights_case_id"), "case_sights", ["case_id"])


def _people() -> None:
    op.create_table(
        "mentions",
        *_key("mentions"),
        *_points("mentions", "case_id", "cases"),
        *_points("mentions", "event_id", "case_events"),
        *_points("mentions", "user_id", "users"),
        *_points("mentions", "by_id", "users"),
        sa.Column("at", _MOMENT, nullable=False),
        sa.UniqueConstraint("event_id", "user_id", name=op.f("uq_mentions_event_id_user_id")),
    )
    op.create_index(op.f("ix_mentions_case_id"), "mentions", ["case_id"])
    op.create_index("ix_mentions_user_id_id", "mentions", ["user_id", "id"])
    op.create_table(
        "case_watchers",
        *_points("case_watchers", "case_id", "cases"),
        *_points("case_watchers", "user_id", "users"),
        sa.Column("since", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("case_id", "user_id", name=op.f("pk_case_watchers")),
    )
    op.create_index(op.f("ix_case_watchers_user_id"), "case_watchers", ["user_id"])


def _files() -> None:
    op.create_table(
        "attachments",
        *_key("attachments"),
        *_points("attachments", "case_id", "cases"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", _WHOLE, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        *_points("attachments", "added_by", "users"),
        sa.Column("added_at", _MOMENT, nullable=False),
        sa.UniqueConstraint("case_id", "sha256", name=op.f("uq_attachments_case_id_sha256")),
    )
    op.create_table(
        "call_briefs",
        *_key("call_briefs"),
        *_points("call_briefs", "case_id", "cases"),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("called", sa.Boolean(), nullable=False),
        *_points("call_briefs", "kept_by", "users"),
        sa.Column("kept_at", _MOMENT, nullable=False),
        sa.CheckConstraint("language IN ('en', 'fr')", name=op.f("ck_call_briefs_language")),
    )
    op.create_index(op.f("ix_call_briefs_case_id"), "call_briefs", ["case_id"])


def downgrade() -> None:
    op.execute("DROP TRIGGER traced ON alerts")
    op.execute("DROP FUNCTION trace_alerts()")
    op.drop_index("ix_cases_account_id_begins", table_name="cases")
    op.drop_index("ix_case_events_words", table_name="case_events")
    for table in reversed(_TABLES):
        op.drop_table(table)
