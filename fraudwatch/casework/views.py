"""What people read: cases, transactions, accounts, through the lens of their permissions.

Each view takes a fixed number of queries, however long its lists are; one more for every few
weeks of the ledger that it has to go back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.orm import Session, aliased, defer

from fraudwatch.casework import labels, ledger, queue
from fraudwatch.casework.ledger_tables import by_account, by_id, eras, near
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import (
    Alert,
    Case,
    CaseEvent,
    KeptRow,
    LabelRow,
    LedgerRow,
    User,
)
from fraudwatch.casework.schemas import (
    AccountDetail,
    AccountSummary,
    AlertOut,
    CaseDetail,
    CaseSummary,
    EventOut,
    LabelOut,
    Page,
    ReasonOut,
    TransactionDetail,
    TransactionOut,
)
from fraudwatch.domain.case import OPEN, CaseStatus, Resolution, action_of
from fraudwatch.domain.decision import Outcome
from fraudwatch.errors import NotFound

HISTORY = 50  # transactions of the account shown with a case
ALERTS = 200  # alerts shown: a card that is being tested can have thousands
EVENTS = 500

# Of days in the archive: the rows that went to people, as rows of the ledger.
_Kept = aliased(LedgerRow, KeptRow.__table__, adapt_on_names=True)
_HEAVY = (
    defer(LedgerRow.payload, raiseload=True),
    defer(LedgerRow.features, raiseload=True),
    defer(LedgerRow.reasons, raiseload=True),
)


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
    return Page[CaseSummary](
        items=[CaseSummary(**_summary(row, lens, names, now)) for row in rows],
        next_cursor=next_cursor,
    )


def case_summary(session: Session, lens: Lens, case: Case, *, now: datetime) -> CaseSummary:
    """A case as in a list."""
    names = _names(session, {case.claimed_by, case.resolved_by})
    return CaseSummary(**_summary(case, lens, names, now))


def case_detail(session: Session, lens: Lens, case_id: int, *, now: datetime) -> CaseDetail:
    """All that a person needs to decide: alerts with reasons, the account's past, what happened."""
    case = session.get(Case, case_id)
    if case is None:
        raise NotFound(f"there is no case {case_id}")
    alerts = _alerts(session, case_id)
    all_days = list(eras(session))
    history = _history(session, all_days, case.account_id, HISTORY)
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
        session, {case.claimed_by, case.resolved_by, *(event.actor_id for event in events)}
    )
    return CaseDetail(
        **_summary(case, lens, names, now),
        alerts=[
            AlertOut(
                id=alert.id,
                added_at=alert.added_at,
                outcome=lens.outcome(alert.outcome, alert.rule),
                risk=lens.risk(alert.risk),
                rule=lens.rule(alert.rule),
                reasons=_reasons(row),
                transaction=_transaction(row, case_id, truth, lens),
            )
            for alert, row in alerts
        ],
        account=_account(session, all_days, case.account_id, lens),
        history=_transactions(history, truth, lens),
        events=[_event(event, names) for event in reversed(events)],
    )


def transaction_detail(session: Session, lens: Lens, transaction_id: str) -> TransactionDetail:
    """One transaction with everything known of it."""
    row = _newest_row(session, transaction_id)
    if row is None:
        raise NotFound("there is no transaction with this id")
    case = session.scalar(select(Case).join(Alert).where(*_same(row)))
    case_id, resolution = (case.id, case.resolution) if case is not None else (None, None)
    truth = labels.of_transactions(session, [transaction_id])
    received = ledger.stored(row.payload)
    return TransactionDetail(
        **_transaction(row, case_id, truth, lens).model_dump(exclude={"amount", "label"}),
        amount=row.amount,
        label=next((_label(found, lens) for found in truth.get(transaction_id, [])), None),
        action=action_of(Resolution(resolution)).value if resolution else None,
        ip=lens.optional_id(received.ip),
        latitude=lens.place(received.latitude),
        longitude=lens.place(received.longitude),
        counterparty_id=lens.optional_id(received.counterparty_id),
        customer_id=lens.optional_id(received.customer_id),
        attributes=lens.attributes(received.attributes),
        reasons=_reasons(row),
        labels=[_label(label, lens) for label in truth.get(transaction_id, [])],
        rule=lens.rule(row.rule),
        model_id=row.model_id,
        policy_id=row.policy_id,
        profile_version=row.profile_version,
        features_version=row.features_version,
    )


def transaction_page(
    session: Session,
    lens: Lens,
    account_id: str,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[TransactionOut]:
    """An account's transactions, newest first."""
    after = None
    if cursor is not None:
        after = _newest_row(session, queue.read_text_cursor(cursor))
    rows = _history(session, list(eras(session)), account_id, limit + 1, after)
    more = len(rows) > limit
    rows = rows[:limit]
    truth = labels.of_transactions(session, [row.transaction_id for row, _ in rows])
    return Page[TransactionOut](
        items=_transactions(rows, truth, lens),
        next_cursor=queue.make_cursor(rows[-1][0].transaction_id) if more else None,
    )


def account_detail(session: Session, lens: Lens, account_id: str) -> AccountDetail:
    """An account and its newest transactions. Raises `NotFound` for one never seen."""
    summary = _account(session, list(eras(session)), account_id, lens)
    if summary.transactions == 0:
        raise NotFound("there is no account with this id")
    page = transaction_page(session, lens, account_id, limit=HISTORY)
    return AccountDetail(
        account_id=summary.account_id,
        transactions=summary.transactions,
        first_event=summary.first_event,
        last_event=summary.last_event,
        amounts=summary.amounts,
        cases=summary.cases,
        history=page.items,
    )


def _newest_row(session: Session, transaction_id: str) -> LedgerRow | None:
    """The newest transaction of that id; the search goes back in time."""
    for since, until in eras(session):
        row = session.scalar(
            select(LedgerRow)
            .where(by_id(since, until, [transaction_id]))
            .order_by(LedgerRow.event_time.desc())
            .limit(1)
        )
        if row is not None:
            return row
    return session.scalar(
        select(_Kept)
        .where(_Kept.transaction_id == transaction_id)
        .order_by(_Kept.event_time.desc())
        .limit(1)
    )


def _same(row: LedgerRow) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return Alert.transaction_id == row.transaction_id, Alert.event_time == row.event_time


def _alerts(session: Session, case_id: int) -> list[tuple[Alert, LedgerRow]]:
    """A case's alerts with their transactions, the weightiest first."""
    alerts = session.scalars(
        select(Alert)
        .where(Alert.case_id == case_id)
        .order_by(func.greatest(Alert.outcome, 1).desc(), Alert.id.desc())
        .limit(ALERTS)
    ).all()
    times = {alert.transaction_id: alert.event_time for alert in alerts}
    rows = session.scalars(select(LedgerRow).where(near(times, timedelta(0))).options(*_HEAVY[:2]))
    found = {(row.transaction_id, row.event_time): row for row in rows}
    if len(found) < len(alerts):  # their days have gone into the archive
        kept = select(_Kept).where(_Kept.transaction_id.in_(times))
        found |= {(row.transaction_id, row.event_time): row for row in session.scalars(kept)}
    return [(alert, found[alert.transaction_id, alert.event_time]) for alert in alerts]


def _history(
    session: Session,
    all_days: Sequence[tuple[datetime, datetime]],
    account_id: str,
    most: int,
    after: LedgerRow | None = None,
) -> list[Row[LedgerRow, int]]:
    """An account's newest transactions, those older than `after`."""
    rows: list[Row[LedgerRow, int]] = []
    query = (
        select(LedgerRow, Alert.case_id)
        .outerjoin(
            Alert,
            (Alert.transaction_id == LedgerRow.transaction_id)
            & (Alert.event_time == LedgerRow.event_time),
        )
        .order_by(LedgerRow.event_time.desc(), LedgerRow.transaction_id.desc())
        .options(*_HEAVY)
    )
    if after is not None:
        query = query.where(
            (LedgerRow.event_time < after.event_time)
            | (
                (LedgerRow.event_time == after.event_time)
                & (LedgerRow.transaction_id < after.transaction_id)
            )
        )
    for since, until in all_days:
        found = query.where(by_account(since, until, account_id)).limit(most - len(rows))
        rows += session.execute(found).all()
        if len(rows) == most:
            break
    return rows


def _account(
    session: Session, all_days: Sequence[tuple[datetime, datetime]], account_id: str, lens: Lens
) -> AccountSummary:
    count = 0
    amounts: dict[str, Decimal] = {}
    moments: list[datetime] = []
    for since, until in all_days:
        for currency, number, amount, first, last in session.execute(
            select(
                LedgerRow.currency,
                func.count(),
                func.sum(LedgerRow.amount),
                func.min(LedgerRow.event_time),
                func.max(LedgerRow.event_time),
            )
            .where(by_account(since, until, account_id))
            .group_by(LedgerRow.currency)
        ):
            count += number
            amounts[currency] = amounts.get(currency, Decimal(0)) + amount
            moments += [first, last]
    kind = func.coalesce(Case.resolution, "open")
    cases = session.execute(
        select(kind, func.count()).where(Case.account_id == account_id).group_by(kind)
    ).all()
    return AccountSummary(
        account_id=lens.id(account_id),
        transactions=count,
        first_event=min(moments, default=None),
        last_event=max(moments, default=None),
        amounts=dict(sorted(amounts.items())),
        cases={row[0]: row[1] for row in cases},
    )


def _summary(case: Case, lens: Lens, names: dict[int, str], now: datetime) -> dict[str, Any]:
    status = queue.shown_status(case, now)
    held = status is CaseStatus.CLAIMED
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
    )


def _transactions(
    rows: Sequence[Row[LedgerRow, int]],
    truth: dict[str, list[LabelRow]],
    lens: Lens,
) -> list[TransactionOut]:
    return [_transaction(row, case_id, truth, lens) for row, case_id in rows]


def _transaction(
    row: LedgerRow, case_id: int | None, truth: dict[str, list[LabelRow]], lens: Lens
) -> TransactionOut:
    known = truth.get(row.transaction_id)
    return TransactionOut(
        transaction_id=row.transaction_id,
        account_id=lens.id(row.account_id),
        event_time=row.event_time,
        amount=row.amount,
        currency=row.currency,
        merchant_id=row.merchant_id,
        merchant_category=row.merchant_category,
        channel=row.channel,
        country=row.country,
        device_id=lens.optional_id(row.device_id),
        outcome=lens.outcome(row.outcome, row.rule),
        risk=lens.risk(row.risk),
        scored_at=row.scored_at,
        case_id=case_id,
        label=_label(known[0], lens) if known else None,
    )


def _label(label: LabelRow, lens: Lens) -> LabelOut:
    return LabelOut(
        fraud=label.fraud,
        source=lens.source(label.source),
        known_at=label.known_at,
        case_id=label.case_id,
    )


def _reasons(row: LedgerRow) -> list[ReasonOut]:
    """Ranked, the heaviest first."""
    found = [ReasonOut.model_validate(reason) for reason in row.reasons or []]
    return sorted(found, key=lambda reason: -reason.weight)
