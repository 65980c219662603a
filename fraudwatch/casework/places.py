"""Where in the stream a transaction lies: in the database or in the archive."""

from __future__ import annotations

import pyarrow.compute as pc
from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import archive_files
from fraudwatch.casework.archive_rows import read_archives
from fraudwatch.casework.ledger_tables import by_id, eras
from fraudwatch.casework.models import LedgerRow
from fraudwatch.errors import NotFound

Place = tuple[int, int, str]  # partition, offset, account


def of_transaction(session: Session, transaction_id: str) -> Place:
    """The newest of that id. Raises `NotFound`, and `ArchiveError` for a damaged archive.

    In the database by index; each file of the archive is read, the newest first.
    """
    for since, until in eras(session):
        row = session.execute(
            select(LedgerRow.partition, LedgerRow.offset, LedgerRow.account_id)
            .where(by_id(since, until, [transaction_id]))
            .order_by(LedgerRow.event_time.desc())
            .limit(1)
        ).first()
        if row is not None:
            return row.partition, row.offset, row.account_id
    names = ("partition", "offset", "account_id", "event_time", "transaction_id")
    for archived in reversed(read_archives(session)):
        if archived.deleted_at is not None:
            continue
        found = [
            row
            for group in archive_files.groups(archived, names, None)
            for row in group.filter(pc.equal(group["transaction_id"], transaction_id)).to_pylist()
        ]
        if found:
            newest = max(found, key=lambda row: row["event_time"])
            return newest["partition"], newest["offset"], newest["account_id"]
    raise NotFound("there is no transaction with this id in the ledger")
