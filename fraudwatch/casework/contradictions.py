"""Later truth that contradicts a decision raises it for review; it decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework.models import Alert, Case, CaseEvent
from fraudwatch.domain.case import CaseStatus, label_of
from fraudwatch.domain.label import Label
from fraudwatch.domain.reason_codes import Resolution


def raise_for(session: Session, labels: Iterable[Label], now: datetime) -> list[int]:
    """Flag the resolved cases that these labels from outside contradict; returns their ids.

    A label contradicts when it says fraud of what was found legitimate, or the other way round. The
    case stays resolved: a person reopens it, or upholds what was decided.
    """
    by_id = {label.transaction_id: label for label in labels}
    if not by_id:
        return []
    rows = session.execute(
        select(Alert, Case)
        .join(Case, Case.id == Alert.case_id)
        .where(Alert.transaction_id.in_(by_id), Case.status == CaseStatus.RESOLVED)
        .order_by(Case.id)
        .with_for_update(of=Case)
    ).all()
    raised: list[int] = []
    for alert, case in rows:
        label = by_id[alert.transaction_id]
        found = label_of(Resolution(alert.resolution)) if alert.resolution else None
        if found is None or found is label.fraud:
            continue
        data = {
            "transaction_id": alert.transaction_id,
            "source": label.source.value,
            "fraud": label.fraud,
        }
        session.add(CaseEvent(case_id=case.id, kind="raised", actor_id=None, at=now, data=data))
        if case.id not in raised:
            raised.append(case.id)
            case.raised_at, case.raised_why = case.raised_at or now, label.source.value
            case.version += 1
            case.updated_at = now
    session.flush()
    return raised
