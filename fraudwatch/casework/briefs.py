"""Briefs for the call to a customer: from a template, corrected by a person, kept with the case."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fraudwatch.casework.case_rows import Act, begin, log, require_person, require_text, tell
from fraudwatch.casework.detail_views import kept_brief
from fraudwatch.casework.ledger_tables import near
from fraudwatch.casework.models import Alert, CallBrief, Case, LedgerRow, User
from fraudwatch.casework.schemas_details import BriefOut
from fraudwatch.casework.views import HEAVY, Kept
from fraudwatch.domain import call_brief
from fraudwatch.domain.call_brief import Language, Payment
from fraudwatch.errors import Invalid, NotFound

_PAYMENTS = 50


def read(session: Session, case_id: int, language: Language) -> BriefOut:
    """The brief as it was last corrected, or else from the template. Raises `NotFound`."""
    template = _template(session, case_id, language)
    kept = session.execute(
        select(CallBrief, User.name)
        .join(User, User.id == CallBrief.kept_by)
        .where(CallBrief.case_id == case_id, CallBrief.language == language)
        .order_by(CallBrief.id.desc())
        .limit(1)
    ).first()
    if kept is None:
        return BriefOut(
            language=language, text=template, template=template, corrected=False, called=False
        )
    return kept_brief(kept[0], kept[1], template)


def keep(
    session: Session, case_id: int, act: Act, *, language: Language, text: str, called: bool
) -> Case:
    """Keep the brief as corrected; `called`: the call was made with it. Nothing is overwritten."""
    require_text(text, "a brief")
    require_person(act.actor)
    case = begin(session, case_id, act)
    case.version += 1
    case.updated_at = act.now
    session.add(
        CallBrief(
            case_id=case.id,
            language=language,
            text=text,
            called=called,
            kept_by=act.actor.user_id,
            kept_at=act.now,
        )
    )
    tell(session, case, act, "called" if called else "briefed", {"language": language})
    log(session, case, act, "brief", {"language": language, "called": called, "length": len(text)})
    return case


def _template(session: Session, case_id: int, language: Language) -> str:
    if session.get(Case, case_id) is None:
        raise NotFound(f"there is no case {case_id}")
    alerts = session.execute(
        select(Alert.transaction_id, Alert.event_time)
        .where(Alert.case_id == case_id)
        .order_by(func.greatest(Alert.outcome, 1).desc(), Alert.id.desc())
        .limit(_PAYMENTS)
    ).all()
    times = {row.transaction_id: row.event_time for row in alerts}
    rows = {
        row.transaction_id: row
        for row in session.scalars(
            select(LedgerRow).where(near(times, timedelta(0))).options(*HEAVY)
        )
    }
    if len(rows) < len(times):
        kept = session.scalars(select(Kept).where(Kept.transaction_id.in_(times.keys() - rows)))
        rows |= {row.transaction_id: row for row in kept}
    payments = [
        Payment(row.amount, row.currency, row.event_time, row.merchant_id, row.country)
        for row in (rows[transaction_id] for transaction_id in times)
    ]
    if not payments:
        raise Invalid("the case has no payment to call about")
    return call_brief.brief(language, payments)
