"""Cases that a person opens, on any account, for a reason of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fraudwatch.casework import scope
from fraudwatch.casework.case_rows import (
    Act,
    log,
    require,
    require_person,
    require_text,
    state,
    tell,
)
from fraudwatch.casework.intake import DUE
from fraudwatch.casework.ledger_tables import by_id, eras
from fraudwatch.casework.models import Alert, Case, LedgerRow
from fraudwatch.domain.access import Permission
from fraudwatch.domain.case import OPEN, priority
from fraudwatch.domain.decision import Outcome
from fraudwatch.errors import Conflict, Invalid


def open_case(
    session: Session, act: Act, *, account_id: str, reason: str, transaction_ids: Sequence[str]
) -> Case:
    """Open a case with these transactions of the account, which may be none.

    Raises `Conflict` with the state of the account's open case where it has one, and `Invalid` for
    a transaction that is not the account's or has a case already.
    """
    require(act.actor, Permission.CASES_WORK)
    require_person(act.actor)
    require_text(reason, "opening a case")
    if len(set(transaction_ids)) != len(transaction_ids):
        raise Invalid("each transaction at most once")
    scope.require_account(session, account_id)
    _check_none_open(session, account_id)
    rows = _rows(session, account_id, transaction_ids)
    case = _case(act.now, account_id, act.actor.user_id, rows)
    case.unit = scope.unit_of(session, account_id)
    session.add(case)
    try:
        session.flush()
    except IntegrityError as error:
        # The stream opened one between the look above and the write.
        raise Conflict("the account has an open case: work on that one") from error
    session.add_all(_alert(case.id, row, act.now) for row in rows)
    tell(session, case, act, "opened", {"text": reason})
    for row in rows:
        tell(session, case, act, "alert_added", {"transaction_id": row.transaction_id})
    log(session, case, act, "open", {"transactions": list(transaction_ids)})
    return case


def _check_none_open(session: Session, account_id: str) -> None:
    found = session.scalar(
        select(Case).where(Case.account_id == account_id, Case.status.in_(OPEN) | Case.forwards)
    )
    if found is not None:
        raise Conflict("the account has an open case: work on that one", state(session, found))


def _rows(session: Session, account_id: str, transaction_ids: Sequence[str]) -> list[LedgerRow]:
    """The newest transaction of each id, in the order asked for."""
    found: dict[str, LedgerRow] = {}
    for since, until in eras(session):
        missing = [each for each in transaction_ids if each not in found]
        if not missing:
            break
        for row in session.scalars(
            select(LedgerRow).where(by_id(since, until, missing)).order_by(LedgerRow.event_time)
        ):
            found[row.transaction_id] = row
    taken = {
        (alert.transaction_id, alert.event_time)
        for alert in session.scalars(select(Alert).where(Alert.transaction_id.in_(found)))
    }
    for each in transaction_ids:
        if each not in found or found[each].account_id != account_id:
            raise Invalid(f"transaction {each!r} is not one of this account")
        if (each, found[each].event_time) in taken:
            raise Invalid(f"transaction {each!r} has a case already: reopen that one")
    return [found[each] for each in transaction_ids]


def _case(now: datetime, account_id: str, user_id: int, rows: Sequence[LedgerRow]) -> Case:
    risks = [row.risk for row in rows if row.risk is not None]
    amount = sum((row.amount for row in rows), Decimal(0))
    outcome = max([Outcome.REVIEW, *(Outcome(row.outcome) for row in rows)])
    return Case(
        account_id=account_id,
        outcome=outcome,
        risk=max(risks, default=None),
        amount=amount,
        alert_count=len(rows),
        # A person had a reason: it ranks as what the machine is surest of.
        priority=priority(outcome, 1.0, float(amount)),
        version=1,
        opened_at=now,
        updated_at=now,
        due_at=now + DUE[outcome],
        opened_by=user_id,
    )


def _alert(case_id: int, row: LedgerRow, now: datetime) -> Alert:
    return Alert(
        case_id=case_id,
        partition=row.partition,
        offset=row.offset,
        transaction_id=row.transaction_id,
        event_time=row.event_time,
        outcome=row.outcome,
        rule=row.rule,
        risk=row.risk,
        added_at=now,
    )
