"""Puts open cases into their queues, with the due time that the queue promises.

A case waits in `rest`, or in the queue where it was, until it is placed: the keeper does so every
few seconds, and whoever asks for work does so first. What rules look at has a trigger that asks for
it anew (migration 0012). Placing is no act on the case: its version stays.

A promise counts from when the case opened or was reopened. A case that goes to another queue keeps
the earlier one of the two promises, and no promise changes once somebody has looked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, true
from sqlalchemy.orm import Session

from fraudwatch.casework.ledger import stored
from fraudwatch.casework.ledger_tables import near
from fraudwatch.casework.models import Alert, Case, KeptRow, LedgerRow
from fraudwatch.domain.case import OPEN, Urgency
from fraudwatch.domain.decision import Outcome
from fraudwatch.domain.queues import CaseFacts, Queue, QueueRules

MOST = 200  # at once: whoever asks for work waits for them
_ALERTS = 20  # of a case, the newest, that rules look at


def place(session: Session, rules: QueueRules, now: datetime, *, limit: int = MOST) -> int:
    """Place cases that the rules have not placed yet; returns how many. Cases that someone acts on
    at this moment are left for the next time. One query when none waits, four at most."""
    found = session.scalars(
        select(Case)
        .where(Case.status.in_(OPEN), Case.placed_by < rules.version)
        .order_by(Case.placed_by, Case.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    if not found:
        return 0
    seen = _transactions(session, found) if _looks(rules) else {}
    for case in found:
        _put(case, rules.of(_facts(case, seen.get(case.id, []))), now)
        case.placed_by = rules.version
    session.flush()
    return len(found)


def _looks(rules: QueueRules) -> bool:
    return any(queue.match.looks_at_transactions for queue in rules.queues)


def _put(case: Case, queue: Queue, now: datetime) -> None:
    outcome = Outcome(case.outcome)
    came = case.queued_at is None
    if came or case.queue != queue.name:
        since = now
        if came:
            since = case.opened_at if case.round == 1 else case.updated_at
        due, warn = queue.promise(outcome, since)
        if case.promised_at is None or due < case.promised_at:
            case.promised_at, case.warn_at = due, warn
        case.queue, case.queued_at = queue.name, now
    elif outcome is Outcome.HIGH_RISK:
        # What joined may have made it urgent: it is looked at as if it came now, if that is sooner.
        due, warn = queue.promise(outcome, now)
        if case.promised_at is not None and due < case.promised_at:
            case.promised_at, case.warn_at = due, warn
    case.fair_hours = queue.fair_hours
    if case.first_look_at is not None or case.urgency == Urgency.DISPUTED:
        case.warn_at = None
    elif case.promised_at is not None:
        case.due_at = case.promised_at


def _facts(case: Case, paid: Sequence[tuple[str | None, bytes]]) -> CaseFacts:
    """`paid`: merchant category and message of its transactions."""
    said = [stored(payload).attributes for _, payload in paid]
    return CaseFacts(
        Outcome(case.outcome),
        case.amount,
        frozenset(category for category, _ in paid if category),
        _words(said, "segment"),
        _words(said, "language"),
    )


def _words(said: Sequence[Mapping[str, object]], name: str) -> frozenset[str]:
    return frozenset(str(each[name]) for each in said if name in each)


def _transactions(
    session: Session, cases: Sequence[Case]
) -> dict[int, list[tuple[str | None, bytes]]]:
    """Merchant category and message of each case's newest transactions."""
    ids = [case.id for case in cases]
    newest = (
        select(Alert.transaction_id, Alert.event_time)
        .where(Alert.case_id == Case.id)
        .order_by(Alert.id.desc())
        .limit(_ALERTS)
        .lateral()
    )
    query = select(Case.id, *newest.c).join(newest, true()).where(Case.id.in_(ids))
    owner = {(row.transaction_id, row.event_time): row.id for row in session.execute(query)}
    times = dict(owner.keys())
    found: dict[int, list[tuple[str | None, bytes]]] = defaultdict(list)
    missing = set(owner)
    for table, here in (
        (LedgerRow, near(times, timedelta(0))),
        (KeptRow, KeptRow.transaction_id.in_(times)),
    ):
        if not missing:
            break
        for row in session.execute(
            select(
                table.transaction_id, table.event_time, table.merchant_category, table.payload
            ).where(here)
        ):
            key = (row.transaction_id, row.event_time)
            if key in missing:
                missing.discard(key)
                found[owner[key]].append((row.merchant_category, row.payload))
    return found
