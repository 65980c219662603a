"""One person erased: what names them becomes a pseudonym that leads back to nobody.

What was proven stays proven. Offsets, transaction ids, times, amounts, scores, outcomes, labels and
the audit log stay, and so do all counts and places in the stream; archives are written anew, with
hashes of their own. Accounts, customers, devices, counterparties, addresses, places, the
institution's own texts, notes and raw messages go. One random pseudonym stands for each id, so that
rows of one account still belong together; it is written down nowhere beside the id.

1. Files of the archive that hold the person are written anew, under new names.
2. ONE database transaction: rows changed, the new files take the place of the old, the audit row.
3. The old files are deleted. A run that was cut short before leaves spare files, and after it old
   ones; the next run deletes both.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from sqlalchemy import Table, Text, delete, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import archive_files, audit, ledger, persons
from fraudwatch.casework.archive import alone
from fraudwatch.casework.archive_files import Archived
from fraudwatch.casework.archive_rows import read_archives
from fraudwatch.casework.audit import By
from fraudwatch.casework.models import (
    OPEN_STATUSES,
    ArchivedOffsets,
    Base,
    Case,
    DeadLetter,
    KeptRow,
    LedgerArchive,
    LedgerRow,
    OutboxRow,
    Snapshot,
)
from fraudwatch.casework.persons import ERASED, NAMED, Person
from fraudwatch.casework.snapshots import PARTS, part_of
from fraudwatch.domain.transaction import Transaction, encode
from fraudwatch.errors import Conflict
from fraudwatch.features.columns import hash_ids

FREE_TEXTS = frozenset(
    {"text", "note", "body", "summary", "brief", "message", "filename", "screen"}
)
"""Names of columns, and of parts of JSON, that people wrote or that may repeat what they saw."""

_OURS = re.compile(r"\d{4}-\d\d-\d\d-\d+(-[0-9a-f]{8})?\.parquet")


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done: rows changed by table, files written anew, places that still name the person
    (tables of others, which the rules do not know)."""

    pseudonym: str
    rows: Mapping[str, int]
    archives: Sequence[Mapping[str, str]]
    left: Sequence[str]


def erase(
    sessions: sessionmaker[Session],
    folder: Path,
    by: By,
    now: datetime,
    *,
    account_id: str | None = None,
    customer_id: str | None = None,
) -> Erased:
    """Erase a person. By the owner of the tables, while no worker runs: workers remember accounts.

    Raises `NotFound`, and `Conflict` while a case of theirs is open or a message about them waits
    to leave.
    """
    with alone(folder):
        with sessions() as session:
            _sweep(session, folder)
            person = persons.find(session, account_id=account_id, customer_id=customer_id)
            _require_done(session, person)
            names = _Names(person)
            token = secrets.token_hex(4)
            changed = [
                (archived, _rewritten(session, archived, names, token))
                for archived in _archives(person)
            ]
        with sessions.begin() as session:
            session.execute(text("SET LOCAL fraudwatch.erasing = 'yes'"))
            session.execute(text("SET LOCAL statement_timeout = 0"))
            rows = _erase_rows(session, person, names)
            for old, new in changed:
                _put(session, old, new)
            told = [
                {"file": new.path.name, "was": old.sha256, "is": new.sha256} for old, new in changed
            ]
            pseudonyms = sorted(names(one) for one in person.accounts)
            data = {
                "by": by.name,
                "why": by.why,
                "accounts": pseudonyms,
                "rows": rows,
                "archives": told,
            }
            audit.append(
                session,
                at=now,
                actor=by.actor,
                action="privacy.erase",
                subject=f"person:{pseudonyms[0]}",
                data=data,
            )
        with sessions() as session:
            _sweep(session, folder)
            left = leftovers(session, person)
    return Erased(pseudonyms[0], rows, told, left)


class _Names:
    """The pseudonyms of one erasure, made when they are asked for."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self._of: dict[str, str] = {}

    def __call__(self, value: str) -> str:
        return self._of.setdefault(value, f"{ERASED}{secrets.token_hex(12)}")

    def of(self, received: Transaction) -> Transaction:
        """The payment without the person; of somebody else's only the name of the person goes."""
        theirs = received.account_id in self.person.accounts
        named = {
            field: self(value)
            for field, value in persons.names_of(received).items()
            if theirs or value in self.person.ids
        }
        if theirs:
            numbers = {k: v for k, v in received.attributes.items() if not isinstance(v, str)}
            gone = {"ip": None, "latitude": None, "longitude": None, "attributes": numbers}
            return msgspec.structs.replace(received, **named, **gone)
        return msgspec.structs.replace(received, **named)

    def deep(self, value: Any) -> Any:
        """JSON without free texts, and without the person's ids wherever they stand."""
        if isinstance(value, Mapping):
            return {k: "" if k in FREE_TEXTS else self.deep(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.deep(part) for part in value]
        if isinstance(value, str):
            if value in self.person.ids:
                return self(value)
            return "" if any(one in value for one in self.person.ids) else value
        return value


def _require_done(session: Session, person: Person) -> None:
    still_open = session.scalars(
        select(Case.id).where(Case.id.in_(person.cases), text(f"status IN {OPEN_STATUSES}"))
    ).all()
    if still_open:
        raise Conflict(f"case {still_open[0]} of this person is open: it has to be decided first")
    condition = persons.about(Base.metadata.tables["outbox"], person)
    if condition is not None and session.scalar(
        select(OutboxRow.id).where(condition, OutboxRow.published_at.is_(None)).limit(1)
    ):
        raise Conflict("messages about this person wait to leave: start a worker, then try again")


def _erase_rows(session: Session, person: Person, names: _Names) -> dict[str, int]:
    """All rows of the database; how many, by table."""
    counts: dict[str, int] = {}
    for one in person.held:
        if one.archive is None:
            after = names.of(one.transaction)
            model = KeptRow if one.table == "ledger_kept" else LedgerRow
            session.execute(
                update(model)
                .where(
                    model.partition == one.partition,
                    model.offset == one.offset,
                    model.event_time == one.transaction.event_time,
                )
                .values(
                    account_id=after.account_id, device_id=after.device_id, payload=encode(after)
                )
            )
            counts[one.table] = counts.get(one.table, 0) + 1
    for table, rows in persons.rows_of(session, person):
        changed = sum(_erase_row(session, table, row, names) for row in rows)
        if changed:
            counts[table.name] = changed
    _forget(session, person)
    return counts


def _erase_row(session: Session, table: Table, row: Mapping[str, Any], names: _Names) -> bool:
    """Change what names the person in a row; whether anything did."""
    key = tuple_(*table.primary_key.columns) == tuple_(
        *(row[column.name] for column in table.primary_key.columns)
    )
    if table is OutboxRow.__table__:  # it has left
        session.execute(delete(table).where(key))
        return True
    values: dict[str, Any] = {}
    for column in table.columns:
        value = row[column.name]
        if value is None or column.primary_key:
            continue
        if column.name in NAMED and value in names.person.ids:
            values[column.name] = names(value)
        elif isinstance(column.type, JSONB):
            values[column.name] = names.deep(value)
        elif isinstance(column.type, Text) and column.name in FREE_TEXTS:
            values[column.name] = ""
        elif isinstance(column.type, ARRAY) or not isinstance(value, str):
            continue
        elif any(one in value for one in names.person.ids):
            values[column.name] = ""
    if table is DeadLetter.__table__:
        values |= {"raw": b"", "key": None}
    values = {name: value for name, value in values.items() if value != row[name]}
    if values:
        session.execute(update(table).where(key).values(values))
    return bool(values)


def _forget(session: Session, person: Person) -> None:
    """Snapshots of the parts that the accounts are in: they are made of the ledger again."""
    parts = part_of(hash_ids(sorted(person.accounts))).tolist()
    session.execute(delete(Snapshot).where(Snapshot.parts == PARTS, Snapshot.part.in_(parts)))


def _archives(person: Person) -> list[Archived]:
    found = {one.archive.id: one.archive for one in person.held if one.archive is not None}
    return [found[number] for number in sorted(found)]


def _rewritten(session: Session, archived: Archived, names: _Names, token: str) -> Archived:
    """A file of the archive without the person, beside the one there is."""
    path = archived.path.with_name(f"{archived.first}-{archived.id}-{token}.parquet")
    tables = archive_files.groups(archived, archive_files.SCHEMA.names, None)
    archive_files.write_part(path, (_without(table, names) for table in tables))
    size, sha256 = archive_files.finish(path)
    after = replace(archived, path=path, size=size, sha256=sha256)
    spans = session.execute(
        select(ArchivedOffsets.partition, ArchivedOffsets.spans).where(
            ArchivedOffsets.archive_id == archived.id
        )
    )
    archive_files.write_manifest(
        after, {row.partition: archive_files.unpack_spans(row.spans) for row in spans}
    )
    return after


def _without(table: pa.Table, names: _Names) -> pa.Table:
    payloads = table["payload"].to_pylist()
    received = [ledger.stored(payload) for payload in payloads]
    after = [names.of(one) if _concerns(one, names.person) else one for one in received]
    columns = {
        "account_id": [one.account_id for one in after],
        "device_id": [one.device_id for one in after],
        "payload": [
            encode(new) if new is not old else payload
            for payload, old, new in zip(payloads, received, after, strict=True)
        ],
    }
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        table = table.set_column(at, field, pa.array(values, field.type))
    return table


def _concerns(received: Transaction, person: Person) -> bool:
    return not person.ids.isdisjoint(persons.names_of(received).values())


def _put(session: Session, old: Archived, new: Archived) -> None:
    session.execute(
        update(LedgerArchive)
        .where(LedgerArchive.id == old.id)
        .values(path=str(new.path), size=new.size, sha256=new.sha256)
    )


def _sweep(session: Session, folder: Path) -> None:
    """Delete files that no archive is: left by a run that was cut short, of a person perhaps."""
    known = {one.path.name for one in read_archives(session)}
    for path in folder.glob("*.parquet"):
        if _OURS.fullmatch(path.name) and path.name not in known:
            archive_files.remove(path)


def leftovers(session: Session, person: Person) -> list[str]:
    """Tables with a row that still has one of the person's ids in it, anywhere in its text.

    A short id may stand in rows that have nothing to do with the person.
    """
    session.execute(text("SET LOCAL statement_timeout = 0"))
    found = []
    for name in session.scalars(
        text(
            "SELECT quote_ident(relname) FROM pg_class WHERE relkind IN ('r', 'p')"
            " AND relnamespace = current_schema()::regnamespace AND NOT relispartition ORDER BY 1"
        )
    ).all():
        for one in sorted(person.ids):
            holds = "position(:id in t::text) > 0 OR position(:hex in t::text) > 0"
            query = f"SELECT EXISTS (SELECT FROM {name} t WHERE {holds})"  # noqa: S608 - quoted
            if session.scalar(text(query), {"id": one, "hex": one.encode().hex()}):
                found.append(name)
                break
    return found
