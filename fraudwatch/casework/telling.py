"""What leaves a resolved case: labels to learn from, outcomes for the payment system, answers to
disputes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fraudwatch.casework import labels, outbox
from fraudwatch.casework.case_rows import Act
from fraudwatch.casework.models import Alert, Case, Dispute, OutcomeRow
from fraudwatch.domain.case import Action, action_of, label_of
from fraudwatch.domain.decision import Outcome
from fraudwatch.domain.finding import Finding


def tell_all(
    session: Session, case: Case, alerts: Sequence[Alert], finding: Finding, act: Act, topic: str
) -> None:
    """For each transaction what was found of it. The case must be resolved, in the database too:
    it refuses an outcome of any other."""
    session.flush()
    for alert in alerts:
        alert.resolution = finding.of(alert.transaction_id)[0]
    _label(session, alerts, finding, act)
    _outcomes(session, case, alerts, finding, act, topic)
    _answers(session, alerts, finding, act)


def _label(session: Session, alerts: Sequence[Alert], finding: Finding, act: Act) -> None:
    for fraud in (True, False):
        those = [a for a in alerts if label_of(finding.of(a.transaction_id)[0]) is fraud]
        labels.from_resolution(session, those, fraud=fraud, user_id=act.actor.user_id, now=act.now)


def _outcomes(
    session: Session, case: Case, alerts: Sequence[Alert], finding: Finding, act: Act, topic: str
) -> None:
    """Release or decline each transaction.

    What was cleared when it came in needs no release, unless a person had declined it before.
    """
    ids = [alert.transaction_id for alert in alerts]
    declined = set(
        session.scalars(
            select(OutcomeRow.transaction_id).where(
                OutcomeRow.transaction_id.in_(ids), OutcomeRow.action == Action.DECLINE
            )
        )
    )
    for alert in alerts:
        resolution, codes = finding.of(alert.transaction_id)
        action = action_of(resolution)
        cleared = alert.outcome == Outcome.AUTO_CLEAR and alert.transaction_id not in declined
        if cleared and action is Action.RELEASE:
            continue
        session.add(
            OutcomeRow(
                case_id=case.id,
                transaction_id=alert.transaction_id,
                action=action,
                reason_codes=list(codes),
                decided_by=act.actor.user_id,
                decider_kind="person",
                decided_at=act.now,
            )
        )
        outbox.write(
            session,
            topic=topic,
            key=case.account_id,
            message_id=f"outcome:{case.id}:{case.version}:{alert.transaction_id}",
            payload={
                "transaction_id": alert.transaction_id,
                "account_id": case.account_id,
                "case_id": case.id,
                "action": action.value,
                "resolution": resolution.value,
                "reason_codes": list(codes),
                "decided_at": act.now,
            },
            now=act.now,
        )


def _answers(session: Session, alerts: Sequence[Alert], finding: Finding, act: Act) -> None:
    for action in Action:
        those = [a.id for a in alerts if action_of(finding.of(a.transaction_id)[0]) is action]
        session.execute(
            update(Dispute)
            .where(Dispute.alert_id.in_(those), Dispute.answered_at.is_(None))
            .values(answered_at=act.now, action=action)
        )
