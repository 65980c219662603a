"""Rights of a database role that runs the service: it adds rows and changes no table.

What records what happened it can only add to, without owning it: it can neither change nor remove
such a row, nor switch off the trigger that refuses that as well. Rows of the two hash chains it
cannot even add: the database makes them of what is told it (migration 0011).
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from fraudwatch.errors import Invalid

CHAINED = ("audit_log", "looks")
_ADDED_TO = ("audit_pending", "looks_pending")
_READ = (*CHAINED, "alembic_version", "ledger_archives", "ledger_archive_offsets", "ledger_kept")
_FUNCTIONS = ("make_ledger_table(date, date)", "seal_looks(integer)")

_TABLES = """
SELECT c.relname AS name,
       EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'append_only') AS fixed
  FROM pg_class c
 WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
 ORDER BY c.relname
"""
_ROLE = """
SELECT rolsuper AS super,
       pg_has_role(r.oid, c.relowner, 'USAGE') AS owns
  FROM pg_roles r, pg_class c
 WHERE r.rolname = :role AND c.oid = 'ledger'::regclass
"""


def grant(session: Session, role: str) -> None:
    """Give a role what the API and the workers need, and take all else from it.

    To be run by the owner of the tables, again after each migration (`renew` does). Raises
    `Invalid` for a role that there is not, or that could do everything anyway.
    """
    found = session.execute(text(_ROLE), {"role": role}).first()
    if found is None:
        raise Invalid(f"there is no database role {role!r}: CREATE ROLE … LOGIN first")
    if found.super or found.owns:
        raise Invalid(f"{role!r} is a superuser or owns the tables: nothing would hold it")
    schema = session.scalar(text("SELECT quote_ident(current_schema())"))
    name = session.scalar(text("SELECT quote_ident(:role)"), {"role": role})
    statements = [
        f"GRANT USAGE ON SCHEMA {schema} TO {name}",
        f"REVOKE CREATE ON SCHEMA {schema} FROM {name}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {name}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {name}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {name}",
        *(f"GRANT EXECUTE ON FUNCTION {function} TO {name}" for function in _FUNCTIONS),
        # To hold a day's table against archiving takes the right to change its entry.
        f"GRANT UPDATE (until_day) ON ledger_tables TO {name}",
    ]
    for table in session.execute(text(_TABLES)).all():
        if table.name not in (*_READ, "ledger_tables"):
            only_added = table.fixed or table.name in _ADDED_TO
            rights = "INSERT" if only_added else "INSERT, UPDATE, DELETE"
            statements.append(f'GRANT {rights} ON "{table.name}" TO {name}')
    for statement in statements:
        session.execute(text(statement))


def renew(session: Session) -> list[str]:
    """Grant again to all roles that were granted to, for the tables that a migration has made."""
    roles = session.scalars(
        text(
            "SELECT DISTINCT r.rolname FROM pg_class c, aclexplode(c.relacl) a"
            " JOIN pg_roles r ON r.oid = a.grantee"
            " WHERE c.oid = 'audit_pending'::regclass AND a.privilege_type = 'INSERT'"
            " AND a.grantee <> c.relowner ORDER BY 1"
        )
    ).all()
    for role in roles:
        grant(session, role)
    return list(roles)
