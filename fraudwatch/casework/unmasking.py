"""One masked field of one case or transaction, shown to somebody who says why.

The reader sees one value, once; everybody who may read the audit log sees that they did. What stood
in the field is not written down, only its pseudonym.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, ledger, views
from fraudwatch.casework.audit import By
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import AuditRow, Case
from fraudwatch.casework.records import page_of
from fraudwatch.casework.schemas import Page
from fraudwatch.casework.schemas_audit import UnmaskingOut
from fraudwatch.domain.transaction import Transaction
from fraudwatch.errors import Invalid, NotFound

ACTION = "personal.unmask"
ATTRIBUTE = "attributes."
FIELDS = (
    "account_id",
    "device_id",
    "ip",
    "latitude",
    "longitude",
    "counterparty_id",
    "customer_id",
)
"""Fields of a transaction that are masked, besides `attributes.NAME`. Of a case: `account_id`."""


def of_transaction(
    session: Session, lens: Lens, transaction_id: str, field: str, why: str, now: datetime
) -> str | float | None:
    """The field's value as it came in. Raises `NotFound` and `Invalid`."""
    row = views.newest_row(session, transaction_id)
    if row is None:
        raise NotFound("there is no transaction with this id")
    value = _value(ledger.stored(row.payload), field)
    _record(session, lens, f"transaction:{transaction_id}", field, value, why, now)
    return value


def of_case(session: Session, lens: Lens, case_id: int, field: str, why: str, now: datetime) -> str:
    """The account of a case. Raises `NotFound` and `Invalid`."""
    account_id = session.scalar(select(Case.account_id).where(Case.id == case_id))
    if account_id is None:
        raise NotFound(f"there is no case {case_id}")
    if field != "account_id":
        raise Invalid("of a case only account_id is masked")
    _record(session, lens, f"case:{case_id}", field, account_id, why, now)
    return account_id


def report(session: Session, *, cursor: str | None = None, limit: int = 50) -> Page[UnmaskingOut]:
    """Who had what shown to them, and why, the newest first."""
    query = select(AuditRow).where(AuditRow.action == ACTION)
    rows, following = page_of(session, AuditRow, query, cursor, limit)
    return Page[UnmaskingOut](
        items=[
            UnmaskingOut(
                id=row.id,
                at=row.at,
                actor=row.actor,
                subject=row.subject,
                field=row.data["field"],
                why=row.data["why"],
            )
            for row in rows
        ],
        next_cursor=following,
    )


def _value(received: Transaction, field: str) -> str | float | None:
    if field.startswith(ATTRIBUTE):
        return received.attributes.get(field.removeprefix(ATTRIBUTE))
    if field not in FIELDS:
        raise Invalid(f"one of {', '.join(FIELDS)} or {ATTRIBUTE}NAME")
    value: str | float | None = getattr(received, field)
    return value


def _record(
    session: Session,
    lens: Lens,
    subject: str,
    field: str,
    value: str | float | None,
    why: str,
    now: datetime,
) -> None:
    by = By(lens.actor.name, why, lens.actor)
    shown = lens.pseudonym(value) if isinstance(value, str) else None
    data = {"field": field, "why": by.why, "shown": shown}
    audit.append(session, at=now, actor=by.actor, action=ACTION, subject=subject, data=data)
