"""Cases of a team: states, rounds and looks, disputes, links; moves that the database checks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

APPEND_ONLY = ("case_decisions", "casework_rules", "case_links")

_OPEN = "('new', 'claimed', 'waiting', 'escalated', 'second_look', 'reopened')"

# Every change of status that some move makes (fraudwatch/domain/case.py, compared by a test).
_PAIRS = """
    ('new', 'claimed'), ('new', 'escalated'), ('new', 'merged'),
    ('reopened', 'claimed'), ('reopened', 'escalated'), ('reopened', 'merged'),
    ('claimed', 'new'), ('claimed', 'waiting'), ('claimed', 'escalated'),
    ('claimed', 'second_look'), ('claimed', 'resolved'), ('claimed', 'merged'),
    ('waiting', 'claimed'), ('waiting', 'new'), ('waiting', 'escalated'), ('waiting', 'merged'),
    ('escalated', 'claimed'), ('escalated', 'merged'),
    ('second_look', 'resolved'), ('second_look', 'escalated'), ('second_look', 'new'),
    ('resolved', 'reopened')
"""

_CHECKS = {
    "status": f"status IN {_OPEN} OR status IN ('resolved', 'merged')",
    "resolved": "(status = 'resolved') = (resolution IS NOT NULL)"
    " AND (resolution IS NOT NULL) = (resolved_by IS NOT NULL)"
    " AND (resolution IS NOT NULL) = (resolver_kind IS NOT NULL)"
    " AND (resolution IS NOT NULL) = (resolved_at IS NOT NULL)"
    " AND (resolution IS NOT NULL) = (coalesce(cardinality(reason_codes), 0) > 0)"
    " AND (resolution IS NOT NULL) = (catalogue IS NOT NULL)",
    "person": "(resolver_kind IS NULL OR resolver_kind = 'person')"
    " AND (merger_kind IS NULL OR merger_kind = 'person')",
    "claim": "(status <> 'claimed' OR claimed_by IS NOT NULL)"
    " AND (status IN ('claimed', 'second_look') OR claimed_by IS NULL)"
    " AND (claimed_by IS NULL) = (lease_until IS NULL)"
    " AND (claimed_by IS NULL OR claimed_by <> ALL (barred))",
}
_NEW_CHECKS = {
    "waiting": "(status = 'waiting') = (wake_at IS NOT NULL)",
    "escalation": "(status <> 'escalated' OR escalation IS NOT NULL) AND (escalation IS NULL"
    " OR escalation IN ('person', 'disagreement', 'late'))",
    "merged": "(status = 'merged') = (merged_into IS NOT NULL)"
    " AND (merged_into IS NULL) = (merged_by IS NULL)"
    " AND (merged_into IS NULL) = (merger_kind IS NULL)"
    " AND (status = 'merged' OR NOT forwards)",
    "raised": "(raised_at IS NULL) = (raised_why IS NULL)",
}


_COLUMNS = (
    ("catalogue", sa.Integer(), None),
    ("round", sa.Integer(), sa.text("1")),
    ("urgency", sa.SmallInteger(), sa.text("0")),
    ("escalation", sa.Text(), None),
    ("wake_at", sa.DateTime(timezone=True), None),
    ("barred", postgresql.ARRAY(sa.BigInteger()), "{}"),
    ("first_look_at", sa.DateTime(timezone=True), None),
    ("seen_alert_id", sa.BigInteger(), None),
    ("new_alerts", sa.Integer(), sa.text("0")),
    ("status_when_joined", sa.Text(), None),
    ("opened_by", sa.BigInteger(), None),
    ("merged_into", sa.BigInteger(), None),
    ("merged_by", sa.BigInteger(), None),
    ("merger_kind", sa.Text(), None),
    ("forwards", sa.Boolean(), sa.text("false")),
    ("raised_at", sa.DateTime(timezone=True), None),
    ("raised_why", sa.Text(), None),
)


def upgrade() -> None:
    _roles()
    _columns()
    _tables()
    _triggers()


def _roles() -> None:
    for name, check in {
        "role": "role IN ('analyst', 'senior', 'risk_officer', 'auditor', 'service',"
        " 'payment_system', 'customer_portal', 'admin')",
        "service": "(role IN ('service', 'payment_system', 'customer_portal')) ="
        " (kind = 'service')",
    }.items():
        op.drop_constraint(op.f(f"ck_users_{name}"), "users", type_="check")
        op.create_check_constraint(op.f(f"ck_users_{name}"), "users", check)


def _columns() -> None:
    for name, kind, default in _COLUMNS:
        op.add_column(
            "cases", sa.Column(name, kind, server_default=default, nullable=default is None)
        )
    op.create_foreign_key(op.f("fk_cases_opened_by"), "cases", "users", ["opened_by"], ["id"])
    op.create_foreign_key(op.f("fk_cases_merged_into"), "cases", "cases", ["merged_into"], ["id"])
    op.create_foreign_key(
        op.f("fk_cases_merged_by_merger_kind"),
        "cases",
        "users",
        ["merged_by", "merger_kind"],
        ["id", "kind"],
    )
    op.execute("UPDATE cases SET catalogue = 1 WHERE resolution IS NOT NULL")
    op.execute("UPDATE cases SET first_look_at = updated_at WHERE status <> 'new'")
    for name, check in _CHECKS.items():
        op.drop_constraint(op.f(f"ck_cases_{name}"), "cases", type_="check")
        op.create_check_constraint(op.f(f"ck_cases_{name}"), "cases", check)
    for name, check in _NEW_CHECKS.items():
        op.create_check_constraint(op.f(f"ck_cases_{name}"), "cases", check)
    for index in ("uq_cases_open_account", "ix_cases_queue"):
        op.drop_index(index, table_name="cases")
    where = sa.text(f"status IN {_OPEN}")
    op.create_index(
        "uq_cases_open_account",
        "cases",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text(f"status IN {_OPEN} OR forwards"),
    )
    op.create_index(
        "ix_cases_queue",
        "cases",
        [sa.text("urgency DESC"), sa.text("priority DESC"), "id"],
        postgresql_where=where,
    )
    op.create_index(
        "ix_cases_unseen",
        "cases",
        ["due_at"],
        postgresql_where=sa.text("first_look_at IS NULL AND status IN ('new', 'reopened')"),
    )
    op.create_index(
        "ix_cases_raised", "cases", ["raised_at"], postgresql_where=sa.text("raised_at IS NOT NULL")
    )
    op.create_index(
        "ix_cases_forwards", "cases", ["merged_into"], postgresql_where=sa.text("forwards")
    )
    op.add_column("alerts", sa.Column("resolution", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_alerts_resolution"),
        "alerts",
        "resolution IS NULL OR resolution IN ('fraud', 'legitimate', 'inconclusive')",
    )
    op.execute(
        "UPDATE alerts SET resolution = cases.resolution FROM cases"
        " WHERE cases.id = alerts.case_id AND cases.resolution IS NOT NULL"
    )


def _tables() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "casework_rules",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("second_amount", sa.Numeric(precision=20, scale=4), nullable=True),
        sa.Column("second_codes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("second_share", sa.Double(), nullable=False),
        sa.Column("dispute_hours", sa.Integer(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("set_by", sa.BigInteger(), nullable=True),
        sa.Column("set_at", moment, nullable=False),
        sa.CheckConstraint(
            "(second_amount IS NULL OR second_amount >= 0) AND second_share BETWEEN 0 AND 1"
            " AND dispute_hours BETWEEN 1 AND 720",
            name=op.f("ck_casework_rules_limits"),
        ),
        sa.ForeignKeyConstraint(["set_by"], ["users.id"], name=op.f("fk_casework_rules_set_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_casework_rules")),
    )
    op.execute(
        "INSERT INTO casework_rules (second_amount, second_codes, second_share, dispute_hours,"
        " comment, set_at) VALUES (NULL, '{}', 0, 24, 'Shipped with the program.', now())"
    )
    op.create_table(
        "case_decisions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("look", sa.SmallInteger(), nullable=False),
        sa.Column("decided_by", sa.BigInteger(), nullable=False),
        sa.Column("decider_kind", sa.Text(), nullable=False),
        sa.Column("decided_at", moment, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("resolution", sa.Text(), nullable=False),
        sa.Column("reason_codes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("catalogue", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("differing", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rules_id", sa.BigInteger(), nullable=False),
        sa.Column("second_why", sa.Text(), nullable=True),
        sa.CheckConstraint("decider_kind = 'person'", name=op.f("ck_case_decisions_person")),
        sa.CheckConstraint("look IN (1, 2, 3)", name=op.f("ck_case_decisions_look")),
        sa.CheckConstraint(
            "resolution IN ('fraud', 'legitimate', 'inconclusive')"
            " AND coalesce(cardinality(reason_codes), 0) > 0",
            name=op.f("ck_case_decisions_resolution"),
        ),
        sa.CheckConstraint(
            "second_why IS NULL OR second_why IN ('amount', 'reason', 'share')",
            name=op.f("ck_case_decisions_second_why"),
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_case_decisions_case_id")),
        sa.ForeignKeyConstraint(
            ["rules_id"], ["casework_rules.id"], name=op.f("fk_case_decisions_rules_id")
        ),
        sa.ForeignKeyConstraint(
            ["decided_by", "decider_kind"],
            ["users.id", "users.kind"],
            name=op.f("fk_case_decisions_decided_by_decider_kind"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_decisions")),
        sa.UniqueConstraint(
            "case_id", "round", "look", name=op.f("uq_case_decisions_case_id_round_look")
        ),
        sa.UniqueConstraint(
            "case_id",
            "round",
            "decided_by",
            name=op.f("uq_case_decisions_case_id_round_decided_by"),
        ),
    )
    op.create_table(
        "case_links",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("low", sa.BigInteger(), nullable=False),
        sa.Column("high", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("linked_by", sa.BigInteger(), nullable=False),
        sa.Column("linked_at", moment, nullable=False),
        sa.CheckConstraint("low < high", name=op.f("ck_case_links_order")),
        sa.ForeignKeyConstraint(["low"], ["cases.id"], name=op.f("fk_case_links_low")),
        sa.ForeignKeyConstraint(["high"], ["cases.id"], name=op.f("fk_case_links_high")),
        sa.ForeignKeyConstraint(["linked_by"], ["users.id"], name=op.f("fk_case_links_linked_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_links")),
        sa.UniqueConstraint("low", "high", name=op.f("uq_case_links_low_high")),
    )
    op.create_index(op.f("ix_case_links_high"), "case_links", ["high"])
    op.create_table(
        "disputes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("alert_id", sa.BigInteger(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("opened_by", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", moment, nullable=False),
        sa.Column("promised_at", moment, nullable=False),
        sa.Column("answered_at", moment, nullable=True),
        sa.Column("action", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(answered_at IS NULL) = (action IS NULL)"
            " AND (action IS NULL OR action IN ('release', 'decline'))",
            name=op.f("ck_disputes_answer"),
        ),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name=op.f("fk_disputes_alert_id")),
        sa.ForeignKeyConstraint(["opened_by"], ["users.id"], name=op.f("fk_disputes_opened_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disputes")),
    )
    op.create_index(op.f("ix_disputes_alert_id"), "disputes", ["alert_id"])
    op.create_index(
        "uq_disputes_open",
        "disputes",
        ["alert_id"],
        unique=True,
        postgresql_where=sa.text("answered_at IS NULL"),
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def _triggers() -> None:
    op.execute(
        "CREATE FUNCTION case_move_allowed(was text, becomes text) RETURNS boolean LANGUAGE sql"
        f" IMMUTABLE AS $$ SELECT (was, becomes) IN (VALUES {_PAIRS}) $$"
    )
    op.execute(
        """
        CREATE FUNCTION check_case_move() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT case_move_allowed(OLD.status, NEW.status) THEN
                RAISE EXCEPTION 'a case never goes from % to %', OLD.status, NEW.status
                    USING ERRCODE = 'check_violation';
            END IF;
            IF NEW.status = 'resolved' AND NOT EXISTS (
                SELECT FROM case_decisions AS d
                WHERE d.case_id = NEW.id AND d.round = NEW.round AND d.decided_by = NEW.resolved_by
                  AND (d.look > 1 OR d.second_why IS NULL)
            ) THEN
                RAISE EXCEPTION 'case % lacks a decision, or a second look', NEW.id
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER check_move BEFORE UPDATE OF status ON cases FOR EACH ROW"
        " WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION check_case_move()"
    )
    op.execute(
        """
        CREATE FUNCTION check_outcome() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT EXISTS (
                SELECT FROM cases WHERE id = NEW.case_id AND status = 'resolved'
            ) THEN
                RAISE EXCEPTION 'case % is not resolved: nothing is told', NEW.case_id
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER check_resolved BEFORE INSERT ON outcomes FOR EACH ROW"
        " EXECUTE FUNCTION check_outcome()"
    )


_BEFORE = {
    "status": "status IN ('new', 'claimed', 'resolved', 'reopened')",
    "resolved": _CHECKS["resolved"].removesuffix(
        " AND (resolution IS NOT NULL) = (catalogue IS NOT NULL)"
    ),
    "person": "resolver_kind IS NULL OR resolver_kind = 'person'",
    "claim": "(status = 'claimed') = (claimed_by IS NOT NULL)"
    " AND (claimed_by IS NULL) = (lease_until IS NULL)",
}


def downgrade() -> None:
    """Refused by the constraints while a case or a user is what only this version knows."""
    for table, trigger in (("outcomes", "check_resolved"), ("cases", "check_move")):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for function in ("check_outcome()", "check_case_move()", "case_move_allowed(text, text)"):
        op.execute(f"DROP FUNCTION {function}")
    for table in ("disputes", "case_links", "case_decisions", "casework_rules"):
        op.drop_table(table)
    op.drop_column("alerts", "resolution")
    for index in (
        "ix_cases_forwards",
        "ix_cases_raised",
        "ix_cases_unseen",
        "ix_cases_queue",
        "uq_cases_open_account",
    ):
        op.drop_index(index, table_name="cases")
    for name in (*_CHECKS, *_NEW_CHECKS):
        op.drop_constraint(op.f(f"ck_cases_{name}"), "cases", type_="check")
    for name, *_ in _COLUMNS:
        op.drop_column("cases", name)
    for name, check in _BEFORE.items():
        op.create_check_constraint(op.f(f"ck_cases_{name}"), "cases", check)
    where = sa.text("status IN ('new', 'claimed', 'reopened')")
    op.create_index(
        "uq_cases_open_account", "cases", ["account_id"], unique=True, postgresql_where=where
    )
    op.create_index(
        "ix_cases_queue", "cases", [sa.text("priority DESC"), "id"], postgresql_where=where
    )
    for name, check in {
        "role": "role IN ('analyst', 'senior', 'risk_officer', 'auditor', 'service',"
        " 'payment_system', 'admin')",
        "service": "(role IN ('service', 'payment_system')) = (kind = 'service')",
    }.items():
        op.drop_constraint(op.f(f"ck_users_{name}"), "users", type_="check")
        op.create_check_constraint(op.f(f"ck_users_{name}"), "users", check)
