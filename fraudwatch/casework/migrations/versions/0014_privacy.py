"""Privacy: a role that adds rows and changes no table; a door for erasures, for the owner alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# Who owns the tables could switch the trigger off; saying so in the transaction instead locks
# nobody out meanwhile, and ends with it.
_REFUSE = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'TRUNCATE' AND current_setting('fraudwatch.erasing', true) = 'yes'
       AND pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')
    THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$
"""
_REFUSE_ALWAYS = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$
"""

# A worker makes the tables of days. It need not own them for that; who may add to the ledger may
# add to each of them.
_MAKE = """
CREATE OR REPLACE FUNCTION make_ledger_table(first_day date, until_day date) RETURNS bigint
LANGUAGE plpgsql {rights} AS $$
DECLARE
    made bigint;
    name text;
    granted record;
BEGIN
    INSERT INTO ledger_tables (first_day, until_day) VALUES ($1, $2) RETURNING id INTO made;
    name := format('ledger_%s_%s', to_char($1, 'YYYYMMDD'), made);
    EXECUTE format('CREATE TABLE %I (LIKE ledger INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    FOR granted IN
        SELECT DISTINCT grantee::regrole AS role
          FROM pg_class, aclexplode(relacl)
         WHERE pg_class.oid = 'ledger'::regclass AND privilege_type = 'INSERT'
           AND grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT ON %I TO %s', name, granted.role);
    END LOOP;
    PERFORM finish_ledger_table(name, $1, $2);
    RETURN made;
END $$
"""


def upgrade() -> None:
    op.execute(_REFUSE)
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    op.execute(_MAKE.format(rights=f"SECURITY DEFINER SET search_path = {schema}, pg_temp"))
    op.execute("REVOKE EXECUTE ON FUNCTION make_ledger_table(date, date) FROM PUBLIC")


def downgrade() -> None:
    op.execute(_REFUSE_ALWAYS)
    op.execute(_MAKE.format(rights="SECURITY INVOKER"))
    op.execute("GRANT EXECUTE ON FUNCTION make_ledger_table(date, date) TO PUBLIC")
