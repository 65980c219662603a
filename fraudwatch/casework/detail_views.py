"""A case and all that stands around it, in one answer and a fixed number of queries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from fraudwatch.casework import case_views, related, traces
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import (
    Attachment,
    CallBrief,
    Case,
    CaseEvent,
    CaseWatcher,
    Mention,
    User,
)
from fraudwatch.casework.schemas import money_text
from fraudwatch.casework.schemas_cases import CaseDetail
from fraudwatch.casework.schemas_details import (
    AttachmentOut,
    BriefOut,
    FullDetail,
    MentionOut,
    Moment,
)
from fraudwatch.casework.usual import usual
from fraudwatch.errors import NotFound

OTHER_CASES = 50
MOST = 100  # of each list beside a case

CONTACTS = frozenset({"called", "disputed"})
"""Events that tell of a word with the customer."""


def full_detail(session: Session, lens: Lens, case_id: int, *, now: datetime) -> FullDetail:
    """The case as `case_views.case_detail` shows it, with what is around it.

    Raises `NotFound`.
    """
    detail = case_views.case_detail(session, lens, case_id, now=now)
    case = session.get(Case, case_id)
    if case is None:
        raise NotFound(f"there is no case {case_id}")
    traces.gather(session, now, case_id=case_id)
    own = related.own_traces(session, case_id)
    return FullDetail(
        **dict(detail),
        normal=usual(detail.history, {alert.transaction.transaction_id for alert in detail.alerts}),
        timeline=_timeline(detail, _other_cases(session, case)),
        similar=related.similar(session, case, own),
        linked=related.linked(session, lens, case, own, now),
        attachments=attachments(session, case_id),
        watchers=_watchers(session, case_id),
        mentions=mentions(session, case_id=case_id),
        briefs=_briefs(session, case_id),
    )


def _timeline(detail: CaseDetail, cases: Sequence[Case]) -> list[Moment]:
    """Payments, cases, contacts and changes around the account, the newest first."""
    moments = [
        Moment(
            at=row.event_time,
            kind="transaction",
            what=f"{money_text(row.amount)} {row.currency}",
            transaction_id=row.transaction_id,
            case_id=row.case_id,
        )
        for row in detail.history
    ]
    for case in cases:
        moments.append(Moment(at=case.opened_at, kind="case", what="opened", case_id=case.id))
        if case.resolved_at is not None:
            what = f"resolved: {case.resolution}"
            moments.append(Moment(at=case.resolved_at, kind="case", what=what, case_id=case.id))
    moments += [
        Moment(
            at=event.at,
            kind="contact" if event.kind in CONTACTS else "change",
            what=event.kind,
            actor=event.actor,
            text=event.text,
            transaction_id=event.transaction_id,
            case_id=detail.id,
        )
        for event in detail.events
        if event.kind != "alert_added"  # the payment itself is there
    ]
    return sorted(moments, key=lambda moment: moment.at, reverse=True)


def _other_cases(session: Session, case: Case) -> Sequence[Case]:
    return session.scalars(
        select(Case)
        .where(Case.account_id == case.account_id, Case.id != case.id)
        .order_by(Case.id.desc())
        .limit(OTHER_CASES)
    ).all()


def attachments(session: Session, case_id: int) -> list[AttachmentOut]:
    """The files of a case, with their hashes."""
    rows = session.execute(
        select(Attachment, User.name)
        .join(User, User.id == Attachment.added_by)
        .where(Attachment.case_id == case_id)
        .order_by(Attachment.id)
        .limit(MOST)
    )
    return [attachment_out(row, name) for row, name in rows]


def attachment_out(row: Attachment, added_by: str) -> AttachmentOut:
    """One file, without its content."""
    return AttachmentOut(
        id=row.id,
        name=row.name,
        media_type=row.media_type,
        size=row.size,
        sha256=row.sha256,
        added_by=added_by,
        added_at=row.added_at,
    )


def _watchers(session: Session, case_id: int) -> list[str]:
    query = (
        select(User.name)
        .join(CaseWatcher, CaseWatcher.user_id == User.id)
        .where(CaseWatcher.case_id == case_id)
        .order_by(User.name)
        .limit(MOST)
    )
    return list(session.scalars(query))


def mentions(
    session: Session, *, case_id: int | None = None, user_id: int | None = None
) -> list[MentionOut]:
    """Who was named in notes: of a case, or one person in all cases; the newest first."""
    by = aliased(User)
    query = (
        select(Mention, User.name, by.name, CaseEvent.data)
        .join(Case, Case.id == Mention.case_id)
        .join(User, User.id == Mention.user_id)
        .join(by, by.id == Mention.by_id)
        .join(CaseEvent, CaseEvent.id == Mention.event_id)
        .order_by(Mention.id.desc())
        .limit(MOST)
    )
    if case_id is not None:
        query = query.where(Mention.case_id == case_id)
    if user_id is not None:
        query = query.where(Mention.user_id == user_id)
    return [
        MentionOut(case_id=row.case_id, name=name, by=author, at=row.at, text=data.get("text"))
        for row, name, author, data in session.execute(query)
    ]


def _briefs(session: Session, case_id: int) -> list[BriefOut]:
    rows = session.execute(
        select(CallBrief, User.name)
        .join(User, User.id == CallBrief.kept_by)
        .where(CallBrief.case_id == case_id)
        .order_by(CallBrief.id.desc())
        .limit(MOST)
    )
    return [kept_brief(row, name, "") for row, name in rows]


def kept_brief(row: CallBrief, kept_by: str, template: str) -> BriefOut:
    """A brief as a person corrected it."""
    return BriefOut(
        language=row.language,
        text=row.text,
        template=template,
        corrected=True,
        called=row.called,
        kept_by=kept_by,
        kept_at=row.kept_at,
    )
