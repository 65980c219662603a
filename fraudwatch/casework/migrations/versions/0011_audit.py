"""Audit: rows are linked to the chain when they commit; looks at personal data in a second chain.

The functions run with the rights of the tables' owner: who may only add to `audit_pending` and
`looks_pending` cannot write a chained row, nor choose where it stands.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TOLD = "at, actor_id, actor, action, subject, data"

# Called when the transaction commits (the trigger is deferred), so that the lock is the last one
# that a transaction takes, and is held for the commit alone.
_CHAIN_CHANGE = """
CREATE FUNCTION chain_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    last record;
    place bigint;
    before bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(7264912);
    SELECT id, hash INTO last FROM audit_log ORDER BY id DESC LIMIT 1;
    place := coalesce(last.id, 0) + 1;
    before := coalesce(last.hash, decode(repeat('00', 32), 'hex'));
    INSERT INTO audit_log (id, {told}, previous_hash, hash)
    SELECT place, {told}, before, sha256(before || int8send(place) || digest)
      FROM audit_pending WHERE id = NEW.id;
    DELETE FROM audit_pending WHERE id = NEW.id;
    RETURN NULL;
END $$
"""

# Looks come often and nobody waits for their place: one caller at a time links what has committed.
_SEAL_LOOKS = """
CREATE FUNCTION seal_looks(most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    one record;
    place bigint;
    before bytea;
    sealed integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7264914) THEN
        RETURN 0;
    END IF;
    SELECT id, hash INTO place, before FROM looks ORDER BY id DESC LIMIT 1;
    place := coalesce(place, 0);
    before := coalesce(before, decode(repeat('00', 32), 'hex'));
    FOR one IN
        WITH chosen AS (SELECT id FROM looks_pending ORDER BY id LIMIT most),
             gone AS (DELETE FROM looks_pending USING chosen
                       WHERE looks_pending.id = chosen.id RETURNING looks_pending.*)
        SELECT * FROM gone ORDER BY id
    LOOP
        place := place + 1;
        INSERT INTO looks (id, {told}, previous_hash, hash)
        VALUES (place, one.at, one.actor_id, one.actor, one.action, one.subject, one.data, before,
                sha256(before || int8send(place) || one.digest))
        RETURNING hash INTO before;
        sealed := sealed + 1;
    END LOOP;
    RETURN sealed;
END $$
"""


def _told() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("data", JSONB(), nullable=False),
    )


def upgrade() -> None:
    for table in ("audit_pending", "looks_pending"):
        op.create_table(
            table,
            sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
            *_told(),
            sa.Column("digest", sa.LargeBinary(), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        )
    op.create_table(
        "looks",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        *_told(),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_looks")),
    )
    op.create_index("ix_looks_subject", "looks", ["subject", "id"])
    op.create_index("ix_looks_actor_id", "looks", ["actor_id", "id"])
    op.execute("CREATE INDEX ix_looks_shown ON looks USING gin ((data -> 'shown'))")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON looks"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    for function in (_CHAIN_CHANGE, _SEAL_LOOKS):
        op.execute(function.format(schema=schema, told=_TOLD))
    op.execute("REVOKE EXECUTE ON FUNCTION chain_change(), seal_looks(integer) FROM PUBLIC")
    op.execute(
        "CREATE CONSTRAINT TRIGGER chain AFTER INSERT ON audit_pending DEFERRABLE INITIALLY"
        " DEFERRED FOR EACH ROW EXECUTE FUNCTION chain_change()"
    )


def downgrade() -> None:
    op.drop_table("looks")
    op.drop_table("looks_pending")
    op.drop_table("audit_pending")
    op.execute("DROP FUNCTION seal_looks, chain_change")
