"""All that is held of one person, wherever it is: for an export, for an erasure.

A person is their accounts. What is theirs is found by rules, so that tables which come later are
found as well: rows that name an account of theirs (or them as customer or counterparty), rows of
their cases, rows about their transactions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc
from sqlalchemy import ColumnElement, Table, cast, func, literal, or_, select
from sqlalchemy.dialects.postgresql import BYTEA
from sqlalchemy.orm import Session

from fraudwatch.casework import archive_files, ledger
from fraudwatch.casework.archive_files import Archived
from fraudwatch.casework.archive_rows import read_archives
from fraudwatch.casework.models import Base, Case, DeadLetter, KeptRow, LedgerRow, OutboxRow
from fraudwatch.domain.transaction import Transaction
from fraudwatch.errors import Conflict, Invalid, NotFound

NAMED = ("account_id", "customer_id", "counterparty_id", "device_id")
"""Columns that name a person."""

ERASED = "erased-"
"""How the pseudonyms of erased persons begin (`fraudwatch.casework.erasure`)."""

LEDGER = ("ledger", "ledger_kept")
# Rows of the two chains hold no personal values; those of the ledger are found by themselves.
_APART = frozenset({*LEDGER, "audit_log", "audit_pending", "looks", "looks_pending"})


@dataclass(frozen=True, slots=True)
class Held:
    """A row of the ledger, and where it is: `archive` None for the database's own tables."""

    partition: int
    offset: int
    transaction: Transaction
    table: str
    archive: Archived | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """One person. `ids` are their accounts, and the customer id where that was asked for."""

    accounts: frozenset[str]
    ids: frozenset[str]
    held: Sequence[Held]
    cases: Sequence[int]
    transactions: frozenset[str] = field(default_factory=frozenset)  # ids of their own payments


def find(
    session: Session, *, account_id: str | None = None, customer_id: str | None = None
) -> Person:
    """The person of an account, or of a customer id with all their accounts.

    Reads the payload of every row of the ledger and of the archive. Raises `NotFound`, and
    `Conflict` for an account that other customers use too: it has to be named by itself.
    """
    if (account_id is None) == (customer_id is None):
        raise Invalid("name an account or a customer, not both")
    accounts = {account_id} if account_id is not None else set[str]()
    if customer_id is not None:
        of_customer = list(_rows(session, {customer_id}))
        accounts = {
            one.transaction.account_id
            for one in of_customer
            if one.transaction.customer_id == customer_id
        }
    ids = frozenset({*accounts, *([customer_id] if customer_id is not None else [])} - {None})
    held = [one for one in _rows(session, ids) if ids & set(names_of(one.transaction).values())]
    own = [one for one in held if one.transaction.account_id in accounts]
    if customer_id is not None:
        others = {one.transaction.customer_id for one in own} - {customer_id, None}
        if others:
            raise Conflict("an account of this customer is used by others too: name it by itself")
    cases = session.scalars(
        select(Case.id).where(Case.account_id.in_(accounts)).order_by(Case.id)
    ).all()
    if not held and not cases:
        raise NotFound("nothing is held of this person")
    transactions = frozenset(one.transaction.transaction_id for one in own)
    return Person(frozenset(a for a in accounts if a), ids, held, cases, transactions)


def names_of(transaction: Transaction) -> dict[str, str]:
    """The ids of a transaction that name persons, by field."""
    found = {name: getattr(transaction, name) for name in NAMED}
    return {name: value for name, value in found.items() if value is not None}


def is_erased(transaction: Transaction) -> bool:
    """Whether a person it named has been erased."""
    return any(value.startswith(ERASED) for value in names_of(transaction).values())


def rows_of(session: Session, person: Person) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    """Rows of all other tables that are about the person, by table, those that have any."""
    for table in Base.metadata.sorted_tables:
        condition = about(table, person)
        if condition is None:
            continue
        rows = [dict(row) for row in session.execute(select(table).where(condition)).mappings()]
        if rows:
            yield table, rows


def about(table: Table, person: Person) -> ColumnElement[bool] | None:
    """Which rows of a table are about the person; None for a table that never has any."""
    if table.name in _APART:
        return None
    found: list[ColumnElement[bool]] = []
    for column in table.columns:
        if column.name in NAMED:
            found.append(column.in_(person.ids))
        elif column.name == "transaction_id":
            found.append(column.in_(person.transactions))
        elif any(key.column is Case.__table__.c.id for key in column.foreign_keys):
            found.append(column.in_(person.cases))
    if table is Case.__table__:
        found.append(Case.id.in_(person.cases))
    if table is OutboxRow.__table__:
        found += [OutboxRow.key.in_(person.ids), *_mentions(OutboxRow.payload, person.ids)]
    if table is DeadLetter.__table__:
        found += _mentions(DeadLetter.raw, person.ids)
    return or_(*found) if found else None


def _mentions(column: Any, ids: Iterable[str]) -> list[ColumnElement[bool]]:
    return [_holds(column, one.encode()) for one in sorted(ids)]


def _holds(column: Any, part: bytes) -> ColumnElement[bool]:
    return func.position(cast(literal(part), BYTEA).op("IN")(column)) > 0


def _rows(session: Session, ids: Iterable[str]) -> Iterator[Held]:
    """Rows whose message may name one of these: the bytes are there, or any are written escaped."""
    needles = [one.encode() for one in ids]
    for model in (LedgerRow, KeptRow):
        wanted = [_holds(model.payload, part) for part in (*needles, b"\\")]
        query = select(model.partition, model.offset, model.payload).where(or_(*wanted))
        rows = session.execute(query.execution_options(yield_per=5000))
        for row in rows:
            transaction = ledger.stored(bytes(row.payload))
            yield Held(row.partition, row.offset, transaction, model.__tablename__)
    for archived in read_archives(session):
        if archived.deleted_at is None:
            yield from _archived(archived, needles)


def _archived(archived: Archived, needles: Sequence[bytes]) -> Iterator[Held]:
    for group in archive_files.groups(archived, ("partition", "offset", "payload"), None):
        wanted = pc.match_substring(group["payload"], b"\\")
        for needle in needles:
            wanted = pc.or_(wanted, pc.match_substring(group["payload"], needle))
        for row in group.filter(wanted).to_pylist():
            transaction = ledger.stored(row["payload"])
            yield Held(row["partition"], row["offset"], transaction, "archive", archived)
