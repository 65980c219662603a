"""Lists of cases, page by page. Which case comes next for whom: `next_case`.

A lease that has ended counts as ended everywhere at once, without a job that sweeps: the case shows
as waiting, and whoever claims it next records the expiry.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, or_, select
from sqlalchemy.orm import Session, undefer

from fraudwatch.casework.models import Case
from fraudwatch.domain.case import OPEN, CaseStatus
from fraudwatch.domain.decision import Outcome
from fraudwatch.errors import Invalid

MAX_LIMIT = 200

_ORDER = (Case.urgency.desc(), Case.priority.desc(), Case.id)


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """What to list; None is "any". `status` empty is "any", in a queue any that is open."""

    status: frozenset[CaseStatus] = frozenset()
    outcome: Outcome | None = None
    account_id: str | None = None
    queue: str | None = None  # its name; then in the order of the queue
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
    """Cases by urgency, priority and age, and the cursor of the next page (None: no more). Those of
    one queue come in its order, by urgency and rank, in which age counts.

    The cursor holds only the id of the last case: a position by priority would tell its reader the
    risk. Raises `Invalid` on a cursor that is not ours.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(f"limit must be from 1 to {MAX_LIMIT}")
    query = select(Case).where(*_conditions(wanted, now))
    place = Case.priority if wanted.queue is None else Case.rank
    if cursor is not None:
        last = session.get(Case, read_cursor(cursor), options=[undefer(Case.rank)])
        if last is None:
            raise Invalid("the cursor is not one of ours: begin without it")
        # The first condition alone lets the queue's index begin where the last page ended.
        query = query.where(
            Case.urgency <= last.urgency,
            or_(
                Case.urgency < last.urgency,
                place < (last.priority if wanted.queue is None else last.rank),
                and_(
                    place == (last.priority if wanted.queue is None else last.rank),
                    Case.id > last.id,
                ),
            ),
        )
    order = (Case.urgency.desc(), place.desc(), Case.id)
    rows = session.scalars(query.order_by(*order).limit(limit + 1)).all()
    more = len(rows) > limit
    rows = rows[:limit]
    return list(rows), make_cursor(rows[-1].id) if more else None


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


def waiting(now: datetime) -> ColumnElement[bool]:
    """Cases that nobody holds and that are not put aside, of those that are open."""
    return or_(
        and_(Case.status.in_(UNHELD), Case.lease_until.is_(None)),
        Case.lease_until <= now,
        Case.wake_at <= now,
    )


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
    if wanted.queue is not None:
        conditions.append(Case.queue == wanted.queue)
        if not wanted.status:
            conditions.append(Case.status.in_(OPEN))
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
