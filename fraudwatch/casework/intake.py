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
from sqlalchemy import text
from sqlalchemy.orm import Session

from fraudwatch.casework.copy_rows import JSONB, Rows, copy_in, microseconds, number
from fraudwatch.casework.models import TAKES_ALERTS, Alert, CaseEvent
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

_GIVEN = {
    "account_id": "text",
    "unit": "text",
    "outcome": "smallint",
    "risk": "float8",
    "amount": "numeric",
    "alert_count": "int",
    "priority": "float8",
    "updated_at": "timestamptz",
    "due_at": "timestamptz",
}
_STATUS = " ".join(
    f"WHEN held.status = '{was}' AND held.escalation IS NOT NULL"
    f" THEN '{after(was, made, escalated=True)}'"
    f" WHEN held.status = '{was}' THEN '{after(was, made)}'"
    for was, made in _JOINING.items()
)
_VOID = f"held.status = '{CaseStatus.SECOND_LOOK}'"
# Written out: composed anew for each batch it costs more than the rest of intake.
_SET = f"""
    unit = coalesce(held.unit, excluded.unit),
    outcome = greatest(held.outcome, excluded.outcome),
    risk = greatest(held.risk, excluded.risk),
    amount = held.amount + excluded.amount,
    alert_count = held.alert_count + excluded.alert_count,
    priority = greatest(held.priority, excluded.priority),
    due_at = least(held.due_at, excluded.due_at),
    updated_at = excluded.updated_at,
    version = held.version + 1,
    status = CASE {_STATUS} ELSE held.status END,
    status_when_joined = held.status,
    wake_at = NULL,
    round = CASE WHEN {_VOID} THEN held.round + 1 ELSE held.round END,
    -- Whoever decided on a disputed case stays out of it.
    barred = CASE WHEN {_VOID} AND held.urgency < {Urgency.DISPUTED:d} THEN '{{}}'
        ELSE held.barred END,
    claimed_by = CASE WHEN {_VOID} THEN NULL ELSE held.claimed_by END,
    lease_until = CASE WHEN {_VOID} THEN NULL ELSE held.lease_until END,
    seen_alert_id = CASE WHEN {_VOID} THEN NULL ELSE held.seen_alert_id END,
    new_alerts = CASE WHEN {_VOID} OR held.claimed_by IS NULL THEN 0
        ELSE held.new_alerts + excluded.alert_count END
"""
_OPEN_OR_JOIN = text(
    f"INSERT INTO cases AS held ({', '.join(_GIVEN)}, opened_at)"  # noqa: S608
    f" SELECT *, updated_at FROM unnest("
    f"{', '.join(f'CAST(:{name} AS {kind}[])' for name, kind in _GIVEN.items())}"
    f") AS given ({', '.join(_GIVEN)})"
    f" ON CONFLICT (account_id) WHERE {TAKES_ALERTS} DO UPDATE SET {_SET}"
    " RETURNING id, account_id, status_when_joined, merged_into, xmax = 0 AS opened"
)
_JOIN = text(
    f"UPDATE cases AS held SET {_SET} FROM (SELECT "  # noqa: S608
    f"{', '.join(f'CAST(:{name} AS {kind}) AS {name}' for name, kind in _GIVEN.items())}"
    ") AS excluded WHERE held.id = :id RETURNING held.status_when_joined"
)

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
    unit: str | None = None


def open_cases(session: Session, alerts: Sequence[NewAlert], now: datetime) -> None:
    """Add the alerts to their accounts' open cases, opening those that are missing."""
    if not alerts:
        return
    by_account: dict[str, list[NewAlert]] = {}
    for alert in alerts:
        by_account.setdefault(alert.account_id, []).append(alert)

    given = _given(by_account, now)
    joined = session.execute(_OPEN_OR_JOIN, given).all()
    opened = [row.id for row in joined if row.opened]
    before = {row.id: row.status_when_joined for row in joined if not row.opened}
    case_of = {row.account_id: row.id for row in joined}
    places = {account_id: place for place, account_id in enumerate(given["account_id"])}
    for row in joined:
        if not row.opened and row.merged_into is not None:
            own = {name: values[places[row.account_id]] for name, values in given.items()}
            status = session.execute(_JOIN, {**own, "id": row.merged_into}).scalar_one()
            before[row.merged_into] = status
            case_of[row.account_id] = row.merged_into
    owners = [case_of[alert.account_id] for alert in alerts]
    _add_alerts(session, alerts, owners, now)
    _add_events(session, opened, "opened", [b"{}"] * len(opened), now)
    told = [msgspec.json.encode({"transaction_id": alert.transaction_id}) for alert in alerts]
    _add_events(session, owners, "alert_added", told, now)
    for status, kind in _JOINED.items():
        moved = sorted(case_id for case_id, was in before.items() if was == status)
        _add_events(session, moved, kind, [b"{}"] * len(moved), now)


def _given(by_account: Mapping[str, Sequence[NewAlert]], now: datetime) -> dict[str, list[Any]]:
    """What the alerts bring to their accounts' cases, by column."""
    given: dict[str, list[Any]] = {name: [] for name in _GIVEN}
    # Sorted, so that two workers with alerts of the same accounts lock rows in the same order.
    for account_id in sorted(by_account):
        found = by_account[account_id]
        outcome = max(shown_outcome(alert) for alert in found)
        risks = [alert.risk for alert in found if alert.risk is not None]
        given["account_id"].append(account_id)
        given["unit"].append(next((alert.unit for alert in found if alert.unit), None))
        given["outcome"].append(outcome)
        given["risk"].append(max(risks, default=None))
        given["amount"].append(sum((alert.amount for alert in found), Decimal(0)))
        given["alert_count"].append(len(found))
        given["priority"].append(
            max(priority(shown_outcome(a), a.shown_risk, float(a.amount)) for a in found)
        )
        given["updated_at"].append(now)
        given["due_at"].append(now + DUE[Outcome(outcome)])
    return given


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


def new_alerts(
    scored: Scored, policy: Policy, key: bytes, unit_attribute: str = ""
) -> list[NewAlert]:
    """What goes to people; `unit_attribute` names the attribute that tells their unit.

    A blind-spot draw gets a stand-in risk from the band of reviews.
    """
    alerts = []
    for row in scored.alerts():
        transaction = scored.transactions[row]
        found = float(scored.risk[row])
        risk = None if isnan(found) else found
        shown = 1.0 if risk is None else risk
        if scored.rule[row] == Rule.BLIND_SPOT:
            place = draw(key, f"place:{transaction.transaction_id}")
            shown = policy.review_from + place * (policy.high_risk_from - policy.review_from)
        unit = transaction.attributes.get(unit_attribute)
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
                unit if isinstance(unit, str) else None,
            )
        )
    return alerts
