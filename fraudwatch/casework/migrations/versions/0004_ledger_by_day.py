"""Ledger by day: a partitioned table, its tables registered, the rows there are in one of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# What indexes are sorted by, before anything that comes in no order. New rows are of the hour that
# it is, so their places lie together, however large a table is. Hashes are compared much faster
# than text; the id itself stands behind its hash, so that no two ids can be taken for one.
_HOUR = """
CREATE FUNCTION ledger_hour(moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin(interval '1 hour', moment, timestamptz '2000-01-01 00:00:00+00')
"""
_HASH = """
CREATE FUNCTION ledger_hash(id text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtextextended(id, 0)
"""

_FINISH = """
CREATE FUNCTION finish_ledger_table(name text, first_day date, until_day date) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (partition, "offset")', name);
    EXECUTE format(
        'CREATE UNIQUE INDEX ON %I'
        ' (ledger_hour(event_time), ledger_hash(transaction_id), transaction_id)', name);
    EXECUTE format(
        'CREATE INDEX ON %I (ledger_hour(event_time), ledger_hash(account_id))', name);
    EXECUTE format(
        'CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    EXECUTE format(
        'ALTER TABLE ledger ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name,
        first_day::timestamp AT TIME ZONE 'UTC', until_day::timestamp AT TIME ZONE 'UTC');
END $$
"""

# CREATE ... PARTITION OF would lock the ledger against readers and writers; ATTACH does not.
_MAKE = """
CREATE FUNCTION make_ledger_table(first_day date, until_day date) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
    name text;
BEGIN
    INSERT INTO ledger_tables (first_day, until_day) VALUES ($1, $2) RETURNING id INTO made;
    name := format('ledger_%s_%s', to_char($1, 'YYYYMMDD'), made);
    EXECUTE format('CREATE TABLE %I (LIKE ledger INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    PERFORM finish_ledger_table(name, $1, $2);
    RETURN made;
END $$
"""

# The table there was becomes the one of all its days: no row is copied.
_TAKE_OVER = """
DO $$
DECLARE
    first_day date;
    until_day date;
    made bigint;
    name text;
BEGIN
    SELECT (min(event_time) AT TIME ZONE 'UTC')::date, (max(event_time) AT TIME ZONE 'UTC')::date + 1
      INTO first_day, until_day FROM ledger_before;
    IF first_day IS NULL THEN
        DROP TABLE ledger_before;
        RETURN;
    END IF;
    INSERT INTO ledger_tables (first_day, until_day) VALUES (first_day, until_day)
        RETURNING id INTO made;
    INSERT INTO ledger_offsets (table_id, partition, first_offset, next_offset)
        SELECT made, partition, min("offset"), max("offset") + 1 FROM ledger_before
        GROUP BY partition;
    name := format('ledger_%s_%s', to_char(first_day, 'YYYYMMDD'), made);
    EXECUTE format('ALTER TABLE ledger_before RENAME TO %I', name);
    PERFORM finish_ledger_table(name, first_day, until_day);
END $$
"""

_APPEND_ONLY = (
    "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
)


def upgrade() -> None:
    op.create_table(
        "ledger_tables",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("until_day", sa.Date(), nullable=False),
        sa.CheckConstraint("first_day < until_day", name=op.f("ck_ledger_tables_order")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_tables")),
        sa.UniqueConstraint("first_day", name=op.f("uq_ledger_tables_first_day")),
    )
    op.create_table(
        "ledger_offsets",
        sa.Column("table_id", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("first_offset", sa.BigInteger(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("first_offset < next_offset", name=op.f("ck_ledger_offsets_order")),
        sa.ForeignKeyConstraint(
            ["table_id"],
            ["ledger_tables.id"],
            name=op.f("fk_ledger_offsets_table_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("table_id", "partition", name=op.f("pk_ledger_offsets")),
    )
    op.create_table(
        "ledger_archives",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("until_day", sa.Date(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column(
            "archived_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("first_day < until_day", name=op.f("ck_ledger_archives_order")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_archives")),
    )
    op.create_table(
        "ledger_archive_offsets",
        sa.Column("archive_id", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("first_offset", sa.BigInteger(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("spans", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "first_offset < next_offset", name=op.f("ck_ledger_archive_offsets_order")
        ),
        sa.ForeignKeyConstraint(
            ["archive_id"],
            ["ledger_archives.id"],
            name=op.f("fk_ledger_archive_offsets_archive_id"),
        ),
        sa.PrimaryKeyConstraint("archive_id", "partition", name=op.f("pk_ledger_archive_offsets")),
    )
    op.execute("ALTER TABLE alerts DROP CONSTRAINT fk_alerts_partition_offset")
    op.execute("ALTER TABLE alerts DROP CONSTRAINT uq_alerts_transaction_id")
    op.execute("ALTER TABLE alerts ADD event_time timestamptz")
    op.execute(
        "UPDATE alerts a SET event_time = l.event_time FROM ledger l"
        ' WHERE l.partition = a.partition AND l."offset" = a."offset"'
    )
    op.execute("ALTER TABLE alerts ALTER event_time SET NOT NULL")
    op.create_unique_constraint(
        op.f("uq_alerts_transaction_id_event_time"), "alerts", ["transaction_id", "event_time"]
    )

    op.execute("ALTER TABLE ledger RENAME TO ledger_before")
    op.execute("ALTER TABLE ledger_before DROP CONSTRAINT pk_ledger")
    op.execute("ALTER TABLE ledger_before DROP CONSTRAINT uq_ledger_transaction_id")
    op.execute("DROP INDEX ix_ledger_account_id_event_time, ix_ledger_event_time")
    op.execute(
        "CREATE TABLE ledger (LIKE ledger_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        " PARTITION BY RANGE (event_time)"
    )
    op.execute("CREATE TABLE ledger_kept (LIKE ledger INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    op.execute(
        "ALTER TABLE ledger_kept RENAME CONSTRAINT ck_ledger_outcome TO ck_ledger_kept_outcome"
    )
    for table in ("ledger", "ledger_kept"):
        op.execute(_APPEND_ONLY.format(table=table))
    op.execute(
        "ALTER TABLE ledger_kept"
        ' ADD CONSTRAINT pk_ledger_kept PRIMARY KEY (partition, "offset"),'
        " ADD CONSTRAINT uq_ledger_kept_transaction_id_event_time"
        " UNIQUE (transaction_id, event_time)"
    )
    for function in (_HOUR, _HASH, _FINISH):
        op.execute(function)
    op.execute(_MAKE)
    op.execute(_TAKE_OVER)


def downgrade() -> None:
    op.execute("CREATE TABLE ledger_after (LIKE ledger INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    op.execute("INSERT INTO ledger_after SELECT * FROM ledger")
    op.execute("DROP TABLE ledger")
    op.execute("ALTER TABLE ledger_after RENAME TO ledger")
    op.execute(_APPEND_ONLY.format(table="ledger"))
    op.execute(
        'ALTER TABLE ledger ADD CONSTRAINT pk_ledger PRIMARY KEY (partition, "offset"),'
        " ADD CONSTRAINT uq_ledger_transaction_id UNIQUE (transaction_id)"
    )
    op.create_index("ix_ledger_account_id_event_time", "ledger", ["account_id", "event_time"])
    op.create_index("ix_ledger_event_time", "ledger", ["event_time"], postgresql_using="brin")
    op.drop_constraint(op.f("uq_alerts_transaction_id_event_time"), "alerts")
    op.drop_column("alerts", "event_time")
    op.create_unique_constraint(op.f("uq_alerts_transaction_id"), "alerts", ["transaction_id"])
    op.create_foreign_key(
        op.f("fk_alerts_partition_offset"),
        "alerts",
        "ledger",
        ["partition", "offset"],
        ["partition", "offset"],
    )
    op.execute("DROP FUNCTION make_ledger_table, finish_ledger_table, ledger_hour, ledger_hash")
    op.drop_table("ledger_kept")
    op.drop_table("ledger_archive_offsets")
    op.drop_table("ledger_archives")
    op.drop_table("ledger_offsets")
    op.drop_table("ledger_tables")
