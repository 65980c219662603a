"""The queue: which cases wait, which comes next, page by page.

A lease that has ended counts as ended everywhere at once, without a job that sweeps: the case shows
as waiting, and whoever claims it next records the expiry.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, case, not_, or_, select
from sqlalchemy.orm import Session

from fraudwatch.casework import claims
from fraudwatch.casework.case_rows import Act, require
from fraudwatch.casework.models import Case
from fraudwatch.domain.access import Actor, Permission
from fraudwatch.domain.case import OPEN, CaseStatus, Escalation
from fraudwatch.domain.decision import Outcome
from fraudwatch.errors import Invalid

MAX_LIMIT = 200

_ORDER = (Case.urgency.desc(), Case.priority.desc(), Case.id)


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """What to list; None is "any". `status` empty is "any"."""

    status: frozenset[CaseStatus] = frozenset()
    outcome: Outcome | None = None
    account_id: str | None = None
    claimed_by: int | None = None  # user id, of a lease that runs
    opened_from: datetime | None = None
    opened_before: datetime | None = None
    late: bool | None = None  # open and past its due time
    raised: bool | None = None  # decided, and contradicted by later truth


UNHELD = frozenset(
    {CaseStatus.NEW, CaseStatus.REOPENED, CaseStatus.ESCALATED, CaseStatus.SECOND_LOOK}
)
"""States in which a case waits for somebody, unless a lease runs."""


def list_cases(
    session: Session,
    wanted: CaseFilter,
    *,
    now: datetime,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Case], str | None]:
    """Cases by urgency, priority and age, and the cursor of the next page (None: no more).

    The cursor holds only the id of the last case: a position by priority would tell its reader the
    risk. Raises `Invalid` on a cursor that is not ours.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(f"limit must be from 1 to {MAX_LIMIT}")
    query = select(Case).where(*_conditions(wanted, now))
    if cursor is not None:
        last = session.get(Case, read_cursor(cursor))
        if last is None:
            raise Invalid("the cursor is not one of ours: begin without it")
        # The first condition alone lets the queue's index begin where the last page ended.
        query = query.where(
            Case.urgency <= last.urgency,
            or_(
                Case.urgency < last.urgency,
                Case.priority < last.priority,
                and_(Case.priority == last.priority, Case.id > last.id),
            ),
        )
    rows = session.scalars(query.order_by(*_ORDER).limit(limit + 1)).all()
    more = len(rows) > limit
    rows = rows[:limit]
    return list(rows), make_cursor(rows[-1].id) if more else None


def next_case(session: Session, actor: Actor, *, now: datetime, lease: timedelta) -> Case | None:
    """Claim the most urgent case that waits and that the actor may take; None when none does.

    Cases that someone else is claiming at this moment are skipped, so nobody waits and no case is
    given out twice.
    """
    require(actor, Permission.CASES_WORK)
    found = session.scalar(
        select(Case)
        .where(Case.status.in_(OPEN), _waiting(now), _open_to(actor))
        .order_by(*_ORDER)
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    if found is None:
        return None
    return claims.take(session, found, Act(actor, now), lease=lease)


def shown_status(found: Case, now: datetime) -> CaseStatus:
    """The status, with an ended lease taken as ended and a passed wake-up as woken."""
    status = CaseStatus(found.status)
    ended = found.lease_until is not None and found.lease_until <= now
    awake = found.wake_at is not None and found.wake_at <= now
    if (status is CaseStatus.CLAIMED and ended) or (status is CaseStatus.WAITING and awake):
        return CaseStatus.NEW if found.escalation is None else CaseStatus.ESCALATED
    return status


def make_cursor(key: int | str) -> str:
    """An opaque cursor that stands after the row of this key."""
    return base64.urlsafe_b64encode(str(key).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """The key in a cursor of whole numbers. Raises `Invalid`."""
    text = read_text_cursor(cursor)
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Invalid("the cursor is not one of ours: begin without it")
    return int(text)


def read_text_cursor(cursor: str) -> str:
    """The key in a cursor. Raises `Invalid`."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text or "\x00" in text:
        raise Invalid("the cursor is not one of ours: begin without it")
    return text


def _waiting(now: datetime) -> ColumnElement[bool]:
    return or_(
        and_(Case.status.in_(UNHELD), Case.lease_until.is_(None)),
        Case.lease_until <= now,
        Case.wake_at <= now,
    )


def _open_to(actor: Actor) -> ColumnElement[bool]:
    """Cases that the actor may take: not decided by them, not escalated beyond them."""
    own = not_(Case.barred.contains([actor.user_id]))
    if actor.may(Permission.CASES_ESCALATED):
        return own
    plain = or_(Case.escalation.is_(None), Case.escalation == Escalation.LATE)
    return and_(own, or_(plain, Case.status == CaseStatus.SECOND_LOOK))


def _conditions(wanted: CaseFilter, now: datetime) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.status:
        back = or_(
            and_(Case.status == CaseStatus.CLAIMED, Case.lease_until <= now), Case.wake_at <= now
        )
        shown = case(
            (and_(back, Case.escalation.is_(None)), CaseStatus.NEW),
            (back, CaseStatus.ESCALATED),
            else_=Case.status,
        )
        conditions.append(shown.in_(wanted.status))
        if wanted.status <= OPEN:
            conditions.append(Case.status.in_(OPEN))  # lets the queue's index serve
    if wanted.outcome is not None:
        conditions.append(Case.outcome == wanted.outcome)
    if wanted.account_id is not None:
        conditions.append(Case.account_id == wanted.account_id)
    if wanted.claimed_by is not None:
        conditions += [Case.claimed_by == wanted.claimed_by, Case.lease_until > now]
    if wanted.opened_from is not None:
        conditions.append(Case.opened_at >= wanted.opened_from)
    if wanted.opened_before is not None:
        conditions.append(Case.opened_at < wanted.opened_before)
    if wanted.late is not None:
        late = and_(Case.status.in_(OPEN), Case.due_at < now)
        conditions.append(late if wanted.late else ~late)
    if wanted.raised is not None:
        raised = Case.raised_at.is_not(None)
        conditions.append(raised if wanted.raised else ~raised)
    return conditions
