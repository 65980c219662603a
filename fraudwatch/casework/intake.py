"""Intake: alerts open cases, one open case per account; further alerts join it.

What a joining alert does depends on the state of the case, and nothing vanishes in any of them. Who
holds the case sees it as new, and must see it before deciding, since the version rises. A case that
was put aside comes back. A decision that awaits a second look did not know of the alert: it is
taken back, and the case waits for a first decision again, in a new round. An escalated case stays
escalated. The alerts of a merged case's account go where that case went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import isnan
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import case as choose
from sqlalchemy import func, literal_column, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from fraudwatch.casework.copy_rows import JSONB, Rows, copy_in, microseconds, number
from fraudwatch.casework.models import TAKES_ALERTS, Alert, Case, CaseEvent
from fraudwatch.casework.scored import Scored
from fraudwatch.domain.case import CaseStatus, Move, Urgency, after, priority
from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.policy.rules import Policy, draw

_ALERT_COLUMNS = (
    "case_id",
    "partition",
    "offset",
    "transaction_id",
    "event_time",
    "outcome",
    "rule",
    "risk",
    "added_at",
)
_EVENT_COLUMNS = ("case_id", "kind", "at", "data")

# What a joining alert does to a case that awaits something else; other states stay.
_JOINING = {CaseStatus.WAITING: Move.WAKE, CaseStatus.SECOND_LOOK: Move.OVERTAKE}
_JOINED = {CaseStatus.WAITING: "woken", CaseStatus.SECOND_LOOK: "overtaken"}  # events

# Promised times until a person has looked; a hold costs the customer more than a look.
DUE = {Outcome.HIGH_RISK: timedelta(hours=4), Outcome.REVIEW: timedelta(hours=24)}


@dataclass(frozen=True, slots=True)
class NewAlert:
    """A transaction that goes to people.

    `shown_risk` ranks it: its risk, or for a blind-spot draw a stand-in, so that the draw cannot
    be told from other work by its place in the queue.
    """

    partition: int
    offset: int
    transaction_id: str
    account_id: str
    event_time: datetime
    outcome: int
    rule: int
    risk: float | None
    shown_risk: float
    amount: Decimal


def open_cases(session: Session, alerts: Sequence[NewAlert], now: datetime) -> None:
    """Add the alerts to their accounts' open cases, opening those that are missing."""
    if not alerts:
        return
    by_account: dict[str, list[NewAlert]] = {}
    for alert in alerts:
        by_account.setdefault(alert.account_id, []).append(alert)

    values = []
    # Sorted, so that two workers with alerts of the same accounts lock rows in the same order.
    for account_id in sorted(by_account):
        found = by_account[account_id]
        outcome = max(shown_outcome(alert) for alert in found)
        risks = [alert.risk for alert in found if alert.risk is not None]
        values.append(
            {
                "account_id": account_id,
                "outcome": outcome,
                "risk": max(risks, default=None),
                "amount": sum((alert.amount for alert in found), Decimal(0)),
                "alert_count": len(found),
                "priority": max(
                    priority(shown_outcome(a), a.shown_risk, float(a.amount)) for a in found
                ),
                "opened_at": now,
                "updated_at": now,
                "due_at": now + DUE[Outcome(outcome)],
            }
        )
    new = upsert(Case)
    joined: Sequence[Any] = session.execute(
        new.on_conflict_do_update(
            index_elements=[Case.account_id],
            index_where=literal_column(TAKES_ALERTS),
            set_=_on_join(new.excluded),
        ).returning(
            Case.id,
            Case.account_id,
            Case.status_when_joined,
            Case.merged_into,
            literal_column("xmax = 0").label("opened"),
        ),
        values,
    ).all()
    opened = [row.id for row in joined if row.opened]
    before = {row.id: row.status_when_joined for row in joined if not row.opened}
    case_of = {row.account_id: row.id for row in joined}
    for row, given in zip(joined, values, strict=True):
        if not row.opened and row.merged_into is not None:
            before[row.merged_into] = _join(session, row.merged_into, given)
            case_of[row.account_id] = row.merged_into
    owners = [case_of[alert.account_id] for alert in alerts]
    _add_alerts(session, alerts, owners, now)
    _add_events(session, opened, "opened", [b"{}"] * len(opened), now)
    told = [msgspec.json.encode({"transaction_id": alert.transaction_id}) for alert in alerts]
    _add_events(session, owners, "alert_added", told, now)
    for status, kind in _JOINED.items():
        moved = sorted(case_id for case_id, was in before.items() if was == status)
        _add_events(session, moved, kind, [b"{}"] * len(moved), now)


def _join(session: Session, case_id: int, given: Mapping[str, Any]) -> str:
    """Alerts of a merged case's account reach the case it went into; its status as it was."""
    found = session.execute(
        update(Case)
        .where(Case.id == case_id)
        .values(_on_join(given))
        .returning(Case.status_when_joined)
        .execution_options(synchronize_session=False)
    )
    return str(found.scalar_one())


def _on_join(given: Any) -> dict[str, Any]:
    """New values of a case that alerts join; `given` are their own, by column."""
    escalated = Case.escalation.is_not(None)
    void = Case.status == CaseStatus.SECOND_LOOK
    status = choose(
        *(
            (
                Case.status == was if plain else (Case.status == was) & escalated,
                after(was, made, escalated=not plain),
            )
            for was, made in _JOINING.items()
            for plain in (False, True)
        ),
        else_=Case.status,
    )
    return {
        "outcome": func.greatest(Case.outcome, given["outcome"]),
        "risk": func.greatest(Case.risk, given["risk"]),
        "amount": Case.amount + given["amount"],
        "alert_count": Case.alert_count + given["alert_count"],
        "priority": func.greatest(Case.priority, given["priority"]),
        "due_at": func.least(Case.due_at, given["due_at"]),
        "updated_at": given["updated_at"],
        "version": Case.version + 1,
        "status": status,
        "status_when_joined": Case.status,
        "wake_at": None,
        "round": choose((void, Case.round + 1), else_=Case.round),
        # Whoever decided on a disputed case stays out of it.
        "barred": choose((void & (Case.urgency < Urgency.DISPUTED), []), else_=Case.barred),
        "claimed_by": choose((void, None), else_=Case.claimed_by),
        "lease_until": choose((void, None), else_=Case.lease_until),
        "seen_alert_id": choose((void, None), else_=Case.seen_alert_id),
        "new_alerts": choose(
            (void | Case.claimed_by.is_(None), 0), else_=Case.new_alerts + given["alert_count"]
        ),
    }


def _add_alerts(
    session: Session, alerts: Sequence[NewAlert], owners: Sequence[int], now: datetime
) -> None:
    rows = Rows(len(alerts))
    rows.numbers(owners, "i8")
    rows.numbers([alert.partition for alert in alerts], "i4")
    rows.numbers([alert.offset for alert in alerts], "i8")
    rows.texts([alert.transaction_id for alert in alerts])
    rows.numbers([microseconds(alert.event_time) for alert in alerts], "i8")
    rows.numbers([alert.outcome for alert in alerts], "i2")
    rows.numbers([alert.rule for alert in alerts], "i2")
    rows.numbers(np.array([alert.risk for alert in alerts], dtype=np.float64), "f8")
    rows.same(number(microseconds(now), 8))
    copy_in(session, Alert.__tablename__, _ALERT_COLUMNS, rows)


def _add_events(
    session: Session, cases: Sequence[int], kind: str, data: Sequence[bytes], now: datetime
) -> None:
    """Events of the machine, one a case named."""
    if not cases:
        return
    rows = Rows(len(cases))
    rows.numbers(cases, "i8")
    rows.same(kind.encode())
    rows.same(number(microseconds(now), 8))
    rows.octets([JSONB + item for item in data])
    copy_in(session, CaseEvent.__tablename__, _EVENT_COLUMNS, rows)


def shown_outcome(alert: NewAlert) -> int:
    """What analysts see: a blind-spot draw looks like a review."""
    return int(Outcome.REVIEW) if alert.rule == Rule.BLIND_SPOT else alert.outcome


def new_alerts(scored: Scored, policy: Policy, key: bytes) -> list[NewAlert]:
    """What goes to people. A blind-spot draw gets a stand-in risk from the band of reviews."""
    alerts = []
    for row in scored.alerts():
        transaction = scored.transactions[row]
        found = float(scored.risk[row])
        risk = None if isnan(found) else found
        shown = 1.0 if risk is None else risk
        if scored.rule[row] == Rule.BLIND_SPOT:
            place = draw(key, f"place:{transaction.transaction_id}")
            shown = policy.review_from + place * (policy.high_risk_from - policy.review_from)
        alerts.append(
            NewAlert(
                scored.partitions[row],
                scored.offsets[row],
                transaction.transaction_id,
                transaction.account_id,
                transaction.event_time,
                int(scored.outcome[row]),
                int(scored.rule[row]),
                risk,
                shown,
                transaction.amount,
            )
        )
    return alerts
