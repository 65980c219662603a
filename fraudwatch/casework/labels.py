"""Labels: truth about transactions. Never changed: what is learned later is appended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework.models import Alert, LabelRow, User
from fraudwatch.domain.decision import Rule
from fraudwatch.domain.label import PRECEDENCE, LabelSource


def source_of(rule: int) -> LabelSource:
    """The source of a person's label on an alert of this rule."""
    return LabelSource.BLIND_SPOT if rule == Rule.BLIND_SPOT else LabelSource.ANALYST


def from_resolution(
    session: Session, alerts: Iterable[Alert], *, fraud: bool, user_id: int, now: datetime
) -> None:
    """One label for each alert's transaction, known from `now` on."""
    for alert in alerts:
        source = source_of(alert.rule)
        session.add(
            LabelRow(
                transaction_id=alert.transaction_id,
                fraud=fraud,
                source=source,
                precedence=PRECEDENCE[source],
                known_at=now,
                case_id=alert.case_id,
                created_by=user_id,
            )
        )


def history(session: Session, transaction_id: str) -> list[tuple[LabelRow, str | None, bool]]:
    """All labels of a transaction as they were recorded, with the name of who gave each, and
    whether it is the one that counts."""
    rows = session.execute(
        select(LabelRow, User.name)
        .outerjoin(User, User.id == LabelRow.created_by)
        .where(LabelRow.transaction_id == transaction_id)
        .order_by(LabelRow.id)
    ).all()
    first = max((row for row, _ in rows), key=_weight, default=None)
    return [(row, name, row is first) for row, name in rows]


def _weight(row: LabelRow) -> tuple[int, datetime, int]:
    return row.precedence, row.known_at, row.id


def of_transactions(session: Session, transaction_ids: Sequence[str]) -> dict[str, list[LabelRow]]:
    """All labels of these transactions; in each list the one that counts comes first."""
    found: dict[str, list[LabelRow]] = {}
    for row in session.scalars(
        select(LabelRow)
        .where(LabelRow.transaction_id.in_(transaction_ids))
        .order_by(LabelRow.precedence.desc(), LabelRow.known_at.desc(), LabelRow.id.desc())
    ):
        found.setdefault(row.transaction_id, []).append(row)
    return found
