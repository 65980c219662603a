"""What people read of transactions and accounts, through the lens of their permissions.

Each view takes a fixed number of queries, however long its lists are; one more for every few
weeks of the ledger that it has to go back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy import case as choose
from sqlalchemy.orm import Session, aliased, defer

from fraudwatch.casework import labels, ledger, queue, scope
from fraudwatch.casework.ledger_tables import by_account, by_id, eras
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import (
    Alert,
    Case,
    KeptRow,
    LabelRow,
    LedgerRow,
)
from fraudwatch.casework.schemas import (
    AccountDetail,
    AccountSummary,
    LabelOut,
    Page,
    ReasonOut,
    TransactionDetail,
    TransactionOut,
)
from fraudwatch.domain.case import CaseStatus, action_of
from fraudwatch.domain.reason_codes import Resolution
from fraudwatch.errors import NotFound

HISTORY = 50  # transactions of the account shown with a case

# Of days in the archive: the rows that went to people, as rows of the ledger.
Kept = aliased(LedgerRow, KeptRow.__table__, adapt_on_names=True)
HEAVY = (
    defer(LedgerRow.payload, raiseload=True),
    defer(LedgerRow.features, raiseload=True),
    defer(LedgerRow.reasons, raiseload=True),
)


def transaction_detail(session: Session, lens: Lens, transaction_id: str) -> TransactionDetail:
    """One transaction with everything known of it."""
    row = newest_row(session, transaction_id)
    if row is None:
        raise NotFound("there is no transaction with this id")
    scope.require_account(session, row.account_id)
    alert = session.scalar(select(Alert).where(*_same(row)))
    case_id, resolution = (alert.case_id, alert.resolution) if alert is not None else (None, None)
    truth = labels.of_transactions(session, [transaction_id])
    received = ledger.stored(row.payload)
    return TransactionDetail(
        **transaction_out(row, case_id, truth, lens).model_dump(exclude={"amount", "label"}),
        amount=row.amount,
        label=next((_label(found, lens) for found in truth.get(transaction_id, [])), None),
        action=action_of(Resolution(resolution)).value if resolution else None,
        ip=lens.optional_id(received.ip),
        latitude=lens.place(received.latitude),
        longitude=lens.place(received.longitude),
        counterparty_id=lens.optional_id(received.counterparty_id),
        customer_id=lens.optional_id(received.customer_id),
        attributes=lens.attributes(received.attributes),
        reasons=reasons_out(row),
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
    scope.require_account(session, account_id)
    after = None
    if cursor is not None:
        after = newest_row(session, queue.read_text_cursor(cursor))
    rows = history_rows(session, list(eras(session)), account_id, limit + 1, after)
    more = len(rows) > limit
    rows = rows[:limit]
    truth = labels.of_transactions(session, [row.transaction_id for row, _ in rows])
    return Page[TransactionOut](
        items=transactions_out(rows, truth, lens),
        next_cursor=queue.make_cursor(rows[-1][0].transaction_id) if more else None,
    )


def account_detail(session: Session, lens: Lens, account_id: str) -> AccountDetail:
    """An account and its newest transactions. Raises `NotFound` for one never seen."""
    scope.require_account(session, account_id)
    summary = account_summary(session, list(eras(session)), account_id, lens)
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


def newest_row(session: Session, transaction_id: str) -> LedgerRow | None:
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
        select(Kept)
        .where(Kept.transaction_id == transaction_id)
        .order_by(Kept.event_time.desc())
        .limit(1)
    )


def _same(row: LedgerRow) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return Alert.transaction_id == row.transaction_id, Alert.event_time == row.event_time


def history_rows(
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
        .options(*HEAVY)
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


def account_summary(
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
    merged = Case.status == CaseStatus.MERGED
    kind = func.coalesce(Case.resolution, choose((merged, "merged"), else_="open"))
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


def transactions_out(
    rows: Sequence[Row[LedgerRow, int]],
    truth: dict[str, list[LabelRow]],
    lens: Lens,
) -> list[TransactionOut]:
    return [transaction_out(row, case_id, truth, lens) for row, case_id in rows]


def transaction_out(
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


def reasons_out(row: LedgerRow) -> list[ReasonOut]:
    """Ranked, the heaviest first."""
    found = [ReasonOut.model_validate(reason) for reason in row.reasons or []]
    return sorted(found, key=lambda reason: -reason.weight)
