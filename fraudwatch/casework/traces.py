"""Filling in what alerts can be found again by, soon after they came.

The database makes an empty row with each alert; `gather` fills in those that lie there, many at a
time. So the stream pays one small insert per batch, and nothing is read twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import ledger
from fraudwatch.casework.ledger_tables import near
from fraudwatch.casework.models import Alert, AlertTrace, LedgerRow
from fraudwatch.casework.views import Kept, reasons_out

THEMES = 5  # of the heaviest reasons
BATCH = 500


def gather(
    session: Session, now: datetime, *, case_id: int | None = None, limit: int = BATCH
) -> int:
    """Fill in the traces of alerts, of one case or of the oldest that lie there; how many.

    One query where there is nothing to do. Several at a time skip what another has in hand.
    """
    query = (
        select(AlertTrace, Alert)
        .join(Alert, Alert.id == AlertTrace.alert_id)
        .where(AlertTrace.read_at.is_(None))
        .order_by(AlertTrace.alert_id)
        .limit(limit)
        .with_for_update(of=AlertTrace, skip_locked=True)
    )
    if case_id is not None:
        query = query.where(Alert.case_id == case_id)
    found = [(row.AlertTrace, row.Alert) for row in session.execute(query)]
    if not found:
        return 0
    rows = _rows(session, {alert.transaction_id: alert.event_time for _, alert in found})
    for trace, alert in found:
        trace.read_at = now
        row = rows.get((alert.transaction_id, alert.event_time))
        if row is not None:
            _fill(trace, row)
    session.flush()
    return len(found)


def _fill(trace: AlertTrace, row: LedgerRow) -> None:
    received = ledger.stored(row.payload)
    trace.account_id, trace.at = row.account_id, row.event_time
    trace.device_id, trace.merchant_id = row.device_id, row.merchant_id
    trace.ip, trace.counterparty_id = received.ip, received.counterparty_id
    trace.themes = [reason.feature for reason in reasons_out(row)[:THEMES]]
    trace.theme = trace.themes[0] if trace.themes else None
    trace.features, trace.features_version = row.features, row.features_version


def _rows(session: Session, times: dict[str, datetime]) -> dict[tuple[str, datetime], LedgerRow]:
    """The transactions, from the ledger or from what is kept of archived days."""
    found = {
        (row.transaction_id, row.event_time): row
        for row in session.scalars(select(LedgerRow).where(near(times, timedelta(0))))
    }
    missing = times.keys() - {transaction_id for transaction_id, _ in found}
    if missing:
        kept = select(Kept).where(Kept.transaction_id.in_(missing))
        found |= {(row.transaction_id, row.event_time): row for row in session.scalars(kept)}
    return found
