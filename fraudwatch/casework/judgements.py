"""What a person thinks before they know the machine's opinion, and what they were shown when.

In the queues of `first_judgement_queues` the outcome, the risk and the rule of an open case are
hidden from whoever works on cases, until they have said what they think: their first judgement of
that round. It binds nobody and is shown to nobody who could give the second look; it is kept, so
that it can be compared with what was decided after the machine's opinion was known.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework.case_rows import Act, begin, check_lease, log, require_person, state, tell
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import Case, CaseSight, FirstJudgement
from fraudwatch.casework.schemas import TransactionOut
from fraudwatch.casework.schemas_cases import AlertOut, CaseDetail, CaseSummary
from fraudwatch.domain.access import Permission
from fraudwatch.domain.case import OPEN
from fraudwatch.errors import Conflict

HIDDEN = "hidden"
EVERYWHERE = "*"
Judgement = Literal["fraud", "legitimate", "unsure"]


def give(session: Session, case_id: int, act: Act, *, judgement: Judgement) -> Case:
    """Write down the judgement of the holder, once in a round. The version stays: nothing that
    others have seen has changed."""
    require_person(act.actor)
    case = begin(session, case_id, act)
    check_lease(session, case, act.actor, act.now)
    if case.id in judged(session, act.actor.user_id, [case]):
        raise Conflict("you have given your first judgement on this case", state(session, case))
    session.add(
        FirstJudgement(
            case_id=case.id,
            round=case.round,
            user_id=act.actor.user_id,
            at=act.now,
            version=case.version,
            judgement=judgement,
            screen=act.screen.data(),
        )
    )
    tell(session, case, act, "judged", {})
    log(session, case, act, "judge", {})
    return case


def judged(session: Session, user_id: int, cases: Sequence[Case]) -> set[int]:
    """Those of the cases that the person has judged in their present round. One query."""
    rounds = {case.id: case.round for case in cases}
    rows = session.execute(
        select(FirstJudgement.case_id, FirstJudgement.round).where(
            FirstJudgement.user_id == user_id, FirstJudgement.case_id.in_(rounds)
        )
    )
    return {row.case_id for row in rows if rounds[row.case_id] == row.round}


def hidden(session: Session, lens: Lens, cases: Sequence[Case]) -> set[int]:
    """The cases whose outcome the reader is not shown yet. No query where no queue hides any."""
    if not (lens.judge_first and lens.actor.person and lens.actor.may(Permission.CASES_WORK)):
        return set()
    waiting = [
        case
        for case in cases
        if case.status in OPEN and lens.judge_first & {EVERYWHERE, case.queue}
    ]
    if not waiting:
        return set()
    return {case.id for case in waiting} - judged(session, lens.actor.user_id, waiting)


def blind(detail: CaseDetail) -> CaseDetail:
    """The case without the machine's opinion: the evidence stays, without its weights."""
    ids = {alert.transaction.transaction_id for alert in detail.alerts}
    return detail.model_copy(
        update={
            **_NOTHING,
            "alerts": [_blind_alert(alert) for alert in detail.alerts],
            "history": [
                _blind_row(row) if row.transaction_id in ids else row for row in detail.history
            ],
        }
    )


def blind_summary(summary: CaseSummary) -> CaseSummary:
    """The case in a list without the machine's opinion."""
    return summary.model_copy(update=_NOTHING)


_NOTHING = {"outcome": HIDDEN, "risk": None}


def _blind_alert(alert: AlertOut) -> AlertOut:
    reasons = sorted(alert.reasons, key=lambda reason: reason.feature)
    return alert.model_copy(
        update={
            **_NOTHING,
            "rule": None,
            "reasons": [reason.model_copy(update={"weight": 0.0}) for reason in reasons],
            "transaction": _blind_row(alert.transaction),
        }
    )


def _blind_row(row: TransactionOut) -> TransactionOut:
    return row.model_copy(update=_NOTHING)


def sight(session: Session, lens: Lens, detail: CaseSummary, view: str, now: datetime) -> None:
    """Write down that a person who works on cases was shown this one, and how."""
    if lens.actor.person and lens.actor.may(Permission.CASES_WORK):
        session.add(
            CaseSight(
                case_id=detail.id,
                user_id=lens.actor.user_id,
                at=now,
                version=detail.version,
                view=view,
                outcome_shown=detail.outcome != HIDDEN,
                risk_shown=detail.risk is not None,
            )
        )
