"""All that is held of one person, as plain data."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, persons, unmasking
from fraudwatch.casework.audit import By
from fraudwatch.casework.masking import pseudonym
from fraudwatch.casework.models import AuditRow, LookRow


def export(
    session: Session,
    key: bytes,
    by: By,
    now: datetime,
    *,
    account_id: str | None = None,
    customer_id: str | None = None,
) -> dict[str, Any]:
    """By part: transactions as they came in, rows of each table, who looked.

    `key` is the secret of the pseudonyms. That it was exported goes into the audit log. Raises
    `NotFound`, and `Conflict` for an account that others use too.
    """
    person = persons.find(session, account_id=account_id, customer_id=customer_id)
    stand_ins = sorted(pseudonym(one, key) for one in person.ids)
    found: dict[str, Any] = {
        "exported_at": now.isoformat(),
        "ids": sorted(person.ids),
        "transactions": [
            {
                "partition": one.partition,
                "offset": one.offset,
                "where": str(one.archive.path.name) if one.archive else one.table,
                "received": msgspec.to_builtins(one.transaction),
            }
            for one in person.held
        ],
        "tables": {
            table.name: [_plain(row) for row in rows]
            for table, rows in persons.rows_of(session, person)
        },
        "looks": _looks(session, stand_ins),
        "unmaskings": _unmaskings(session, stand_ins),
    }
    audit.append(
        session,
        at=now,
        actor=by.actor,
        action="privacy.export",
        subject=f"person:{stand_ins[0]}",
        data={"by": by.name, "why": by.why, "transactions": len(person.held)},
    )
    return found


def _looks(session: Session, stand_ins: list[str]) -> list[Mapping[str, Any]]:
    """Who saw the person's data, when and where."""
    shown = LookRow.data["shown"]
    rows = session.scalars(
        select(LookRow).where(or_(*(shown.has_key(one) for one in stand_ins))).order_by(LookRow.id)
    )
    return [
        {"at": row.at.isoformat(), "actor": row.actor, "where": row.data["where"]} for row in rows
    ]


def _unmaskings(session: Session, stand_ins: list[str]) -> list[Mapping[str, Any]]:
    rows = session.scalars(
        select(AuditRow)
        .where(
            AuditRow.action == unmasking.ACTION, AuditRow.data["shown"].as_string().in_(stand_ins)
        )
        .order_by(AuditRow.id)
    )
    return [
        {"at": row.at.isoformat(), "actor": row.actor, "field": row.data["field"]} for row in rows
    ]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode()
    return value
