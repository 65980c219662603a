"""Every table of the database, and how its end is compared: none is forgotten."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import DateTime, Select, Table, select, text
from sqlalchemy.orm import Session

from fraudwatch.casework import audit
from fraudwatch.casework.models import AuditRow, Base

ONE_BY_ONE = frozenset(
    {
        "ledger",
        "cases",
        "alerts",
        "case_events",
        "labels",
        "outcomes",
        "dead_letters",
        "stream_gaps",
        "stream_offsets",
        "outbox",
    }
)
"""Tables that `compare` reads row by row."""

OF_ONE_RUN = {
    "snapshots": "where one stands is chance; each is used, and must lead to the same state",
    "ledger_tables": "days ahead of the clock are made, whatever the clock says",
    "ledger_offsets": "bounds are widened ahead; each must hold the rows of its table",
    "case_decisions": "it names a case and its version; what was found is in outcomes and labels",
    "alert_traces": "the API fills them in from the ledger, and no API runs here",
    "audit_log": "its hashes cover moments; the chain is checked, and what was done is compared",
}
"""Tables whose rows may differ between two runs, and what is checked of them instead."""

_OUTSIDE = text(
    "SELECT rows.place, rows.partition FROM"
    ' (SELECT tableoid::regclass::text AS place, partition, min("offset") AS first,'
    ' max("offset") AS last FROM ledger GROUP BY 1, 2) AS rows'
    " LEFT JOIN (SELECT format('ledger_%s_%s', to_char(first_day, 'YYYYMMDD'), id) AS place,"
    " partition, first_offset, next_offset FROM ledger_offsets"
    " JOIN ledger_tables ON id = table_id) AS bounds"
    " ON bounds.place = rows.place AND bounds.partition = rows.partition"
    " WHERE bounds.place IS NULL OR first < first_offset OR last >= next_offset"
)


def others(session: Session) -> dict[object, object]:
    """All other tables: their rows, without moments and numbers that the database gave them."""
    found: dict[object, object] = {}
    for table in Base.metadata.sorted_tables:
        if table.name not in ONE_BY_ONE | OF_ONE_RUN.keys():
            found[table.name] = sorted(map(repr, session.execute(_timeless(table))))
    return found


def _timeless(table: Table) -> Select[Any]:
    return select(
        *(c for c in table.columns if not isinstance(c.type, DateTime) and c.identity is None)
    )


def acts(session: Session) -> dict[object, object]:
    """What people did, without the numbers and moments of one run."""
    rows = session.scalars(select(AuditRow)).all()
    return dict(Counter(repr((row.actor_id, row.actor, row.action, row.data)) for row in rows))


def broken_chains(session: Session) -> list[str]:
    """What must hold of `audit_log` and `ledger_offsets` in every run."""
    wrong = [
        f"rows of partition {row.partition} in {row.place} are outside of its bounds"
        for row in session.execute(_OUTSIDE)
    ]
    checked = audit.verify(session)
    return wrong if checked.ok else [*wrong, f"audit: {checked}"]
