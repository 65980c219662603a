"""What people read of cases, through the lens of their permissions.

Each view takes a fixed number of queries, however long its lists are; one more for every few
weeks of the ledger that it has to go back. Nobody who could give the second look on a case sees
what the first one found.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, func, or_, select
from sqlalchemy.orm import Session

from fraudwatch.casework import judgements, labels, queue
from fraudwatch.casework.ledger_tables import eras, near
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import (
    Alert,
    Case,
    CaseDecision,
    CaseEvent,
    CaseLink,
    LedgerRow,
    User,
)
from fraudwatch.casework.schemas import Page
from fraudwatch.casework.schemas_cases import (
    AlertOut,
    CaseDetail,
    CaseSummary,
    DifferingOut,
    EventOut,
    FindingOut,
    LinkOut,
)
from fraudwatch.casework.views import (
    HEAVY,
    HISTORY,
    Kept,
    account_summary,
    history_rows,
    reasons_out,
    transaction_out,
    transactions_out,
)
from fraudwatch.domain.access import Permission
from fraudwatch.domain.case import HELD, OPEN, CaseStatus, Urgency, action_of
from fraudwatch.domain.decision import Outcome
from fraudwatch.domain.reason_codes import Resolution
from fraudwatch.errors import NotFound

ALERTS = 200  # alerts shown: a card that is being tested can have thousands
EVENTS = 500


def case_page(
    session: Session,
    lens: Lens,
    wanted: queue.CaseFilter,
    *,
    now: datetime,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[CaseSummary]:
    """One page of the queue. Two queries."""
    rows, next_cursor = queue.list_cases(session, wanted, now=now, cursor=cursor, limit=limit)
    names = _names(session, {r.claimed_by for r in rows} | {r.resolved_by for r in rows})
    hidden = judgements.hidden(session, lens, rows)
    return Page[CaseSummary](
        items=[
            judgements.blind_summary(item) if item.id in hidden else item
            for item in (CaseSummary(**_summary(row, lens, names, now)) for row in rows)
        ],
        next_cursor=next_cursor,
    )


def case_summary(session: Session, lens: Lens, case: Case, *, now: datetime) -> CaseSummary:
    """A case as in a list."""
    names = _names(session, {case.claimed_by, case.resolved_by})
    summary = CaseSummary(**_summary(case, lens, names, now))
    return (
        judgements.blind_summary(summary) if judgements.hidden(session, lens, [case]) else summary
    )


def case_detail(session: Session, lens: Lens, case_id: int, *, now: datetime) -> CaseDetail:
    """All that a person needs to decide: alerts with reasons, the account's past, what happened."""
    case = session.get(Case, case_id)
    if case is None:
        raise NotFound(f"there is no case {case_id}")
    alerts = _alerts(session, case_id)
    found = _decisions(session, case, lens)
    links = _links(session, case_id)
    all_days = list(eras(session))
    history = history_rows(session, all_days, case.account_id, HISTORY)
    events = session.scalars(
        select(CaseEvent)
        .where(CaseEvent.case_id == case_id)
        .order_by(CaseEvent.id.desc())
        .limit(EVENTS)
    ).all()
    truth = labels.of_transactions(
        session,
        [row.transaction_id for _, row in alerts] + [row.transaction_id for row, _ in history],
    )
    names = _names(
        session,
        {
            case.claimed_by,
            case.resolved_by,
            *(event.actor_id for event in events),
            *(row.decided_by for row in found),
            *(row.linked_by for row, _ in links),
        },
    )
    seen = case.seen_alert_id if case.claimed_by == lens.actor.user_id else None
    detail = CaseDetail(
        **_summary(case, lens, names, now),
        alerts=[
            AlertOut(
                id=alert.id,
                added_at=alert.added_at,
                outcome=lens.outcome(alert.outcome, alert.rule),
                risk=lens.risk(alert.risk),
                rule=lens.rule(alert.rule),
                new=seen is not None and alert.id > seen,
                resolution=alert.resolution,
                action=_action(alert.resolution),
                reasons=reasons_out(row),
                transaction=transaction_out(row, case_id, truth, lens),
            )
            for alert, row in alerts
        ],
        account=account_summary(session, all_days, case.account_id, lens),
        history=transactions_out(history, truth, lens),
        events=[_event(event, names) for event in reversed(events)],
        decisions=[_decision(row, names) for row in found],
        links=[_link(row, other, names, now) for row, other in links],
    )
    return judgements.blind(detail) if judgements.hidden(session, lens, [case]) else detail


def _alerts(session: Session, case_id: int) -> list[tuple[Alert, LedgerRow]]:
    """A case's alerts with their transactions, the weightiest first."""
    alerts = session.scalars(
        select(Alert)
        .where(Alert.case_id == case_id)
        .order_by(func.greatest(Alert.outcome, 1).desc(), Alert.id.desc())
        .limit(ALERTS)
    ).all()
    times = {alert.transaction_id: alert.event_time for alert in alerts}
    rows = session.scalars(select(LedgerRow).where(near(times, timedelta(0))).options(*HEAVY[:2]))
    found = {(row.transaction_id, row.event_time): row for row in rows}
    if len(found) < len(alerts):  # their days have gone into the archive
        kept = select(Kept).where(Kept.transaction_id.in_(times))
        found |= {(row.transaction_id, row.event_time): row for row in session.scalars(kept)}
    return [(alert, found[alert.transaction_id, alert.event_time]) for alert in alerts]


def _summary(case: Case, lens: Lens, names: dict[int, str], now: datetime) -> dict[str, Any]:
    status = queue.shown_status(case, now)
    held = status in HELD and case.lease_until is not None and case.lease_until > now
    resolution = Resolution(case.resolution) if case.resolution else None
    return {
        "id": case.id,
        "account_id": lens.id(case.account_id),
        "status": status.value,
        "outcome": Outcome(case.outcome).word,
        "risk": lens.risk(case.risk),
        "amount": case.amount,
        "alert_count": case.alert_count,
        "version": case.version,
        "opened_at": case.opened_at,
        "updated_at": case.updated_at,
        "due_at": case.due_at,
        "late": status in OPEN and case.due_at < now,
        "claimed_by": names.get(case.claimed_by) if held and case.claimed_by else None,
        "claimed_by_me": held and case.claimed_by == lens.actor.user_id,
        "lease_until": case.lease_until if held else None,
        "urgency": Urgency(case.urgency).name.lower(),
        "escalation": case.escalation,
        "wake_at": case.wake_at if status is CaseStatus.WAITING else None,
        "new_alerts": case.new_alerts if held else 0,
        "not_for_me": lens.actor.user_id in case.barred,
        "round": case.round,
        "merged_into": case.merged_into,
        "raised_at": case.raised_at,
        "raised_why": case.raised_why,
        "catalogue": case.catalogue,
        "resolution": resolution,
        "reason_codes": case.reason_codes or [],
        "resolved_by": names.get(case.resolved_by) if case.resolved_by else None,
        "resolved_at": case.resolved_at,
        "action": action_of(resolution).value if resolution else None,
    }


def _names(session: Session, ids: set[int | None]) -> dict[int, str]:
    rows = session.execute(select(User.id, User.name).where(User.id.in_(ids - {None})))
    return {row.id: row.name for row in rows}


def _event(event: CaseEvent, names: dict[int, str]) -> EventOut:
    """Only the parts of an event's data that any reader of the case may see."""
    data = event.data
    return EventOut(
        id=event.id,
        kind=event.kind,
        at=event.at,
        actor=names.get(event.actor_id) if event.actor_id else None,
        text=data.get("text") or None,
        transaction_id=data.get("transaction_id"),
        resolution=data.get("resolution"),
        reason_codes=data.get("reason_codes") or [],
        other_case=data.get("other_case"),
        until=data.get("until"),
    )


def _decisions(session: Session, case: Case, lens: Lens) -> Sequence[CaseDecision]:
    """What people found in this and earlier rounds, as far as the reader may know it."""
    query = select(CaseDecision).where(CaseDecision.case_id == case.id).order_by(CaseDecision.id)
    if case.status == CaseStatus.SECOND_LOOK and lens.actor.may(Permission.CASES_WORK):
        own = CaseDecision.decided_by == lens.actor.user_id
        query = query.where(or_(CaseDecision.round < case.round, own))
    return session.scalars(query).all()


def _decision(row: CaseDecision, names: dict[int, str]) -> FindingOut:
    return FindingOut(
        round=row.round,
        look=row.look,
        decided_by=names[row.decided_by],
        decided_at=row.decided_at,
        resolution=row.resolution,
        reason_codes=row.reason_codes,
        catalogue=row.catalogue,
        note=row.note,
        transactions=[DifferingOut.model_validate(part) for part in row.differing],
    )


def _links(session: Session, case_id: int) -> Sequence[Row[CaseLink, Case]]:
    """Links with the other case of each."""
    other = or_(
        and_(CaseLink.low == case_id, Case.id == CaseLink.high),
        and_(CaseLink.high == case_id, Case.id == CaseLink.low),
    )
    return session.execute(select(CaseLink, Case).join(Case, other).order_by(CaseLink.id)).all()


def _link(row: CaseLink, other: Case, names: dict[int, str], now: datetime) -> LinkOut:
    return LinkOut(
        case_id=other.id,
        status=queue.shown_status(other, now).value,
        version=other.version,
        reason=row.reason,
        linked_by=names[row.linked_by],
        linked_at=row.linked_at,
    )


def _action(resolution: str | None) -> str | None:
    return action_of(Resolution(resolution)).value if resolution else None
