"""What must hold of cases at any moment, whoever has done what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework.models import (
    Alert,
    Case,
    CaseDecision,
    CaseEvent,
    LabelRow,
    OutboxRow,
    OutcomeRow,
)
from fraudwatch.domain.case import HELD, OPEN, CaseStatus, action_of
from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.domain.reason_codes import Resolution

AMOUNT = Decimal("12.50")  # of each transaction that the tests seed
Row = TypeVar("Row", CaseEvent, Alert, CaseDecision, OutcomeRow)
_TAKE = {"released", "expired", "resolved", "decided", "disagreed", "put_aside", "escalated"}
BY_THE_STREAM_OR_TIME = {
    "opened",
    "alert_added",
    "expired",
    "woken",
    "due_soon",
    "overtaken",
    "late",
    "raised",
    "brought_back",
    "payment_left",
    "payment_came",
}


@dataclass(frozen=True)
class Found:
    """The cases of some accounts and all that belongs to them."""

    cases: list[Case]
    events: list[CaseEvent]
    alerts: list[Alert]
    decisions: list[CaseDecision]
    outcomes: list[OutcomeRow]

    @classmethod
    def of(cls, session: Session, accounts: Collection[str]) -> Found:
        cases = session.scalars(
            select(Case).where(Case.account_id.in_(accounts)).order_by(Case.id)
        ).all()
        ids = [case.id for case in cases]

        def rows(model: type[Row]) -> list[Row]:
            query = select(model).where(model.case_id.in_(ids)).order_by(model.id)
            return list(session.scalars(query))

        return cls(list(cases), rows(CaseEvent), rows(Alert), rows(CaseDecision), rows(OutcomeRow))


def check(session: Session, accounts: Collection[str]) -> None:
    """Fails where a promise is broken."""
    found = Found.of(session, accounts)
    takes = Counter(case.account_id for case in found.cases if case.status in OPEN or case.forwards)
    assert not takes or max(takes.values()) == 1, "one open case per account"
    for case in found.cases:
        events = [event for event in found.events if event.case_id == case.id]
        _check_holder(case, events)
        _check_decisions(case, events, [d for d in found.decisions if d.case_id == case.id])
        _check_counts(case, [alert for alert in found.alerts if alert.case_id == case.id])
    _check_told(session, found)


def _check_holder(case: Case, events: list[CaseEvent]) -> None:
    """Leases are given one after the other, and the case knows who has the last."""
    holder: int | None = None
    for event in events:
        if event.kind == "claimed":
            assert holder is None, "a case was given to two people"
            holder = event.actor_id
        elif event.kind == "taken_over":
            assert holder not in (None, event.actor_id)
            holder = event.actor_id
        elif event.kind in _TAKE or event.kind in {"overtaken", "merged"}:
            holder = None
    assert case.claimed_by == holder
    assert holder is None or (case.status in HELD and holder not in case.barred)
    for event in events:
        assert (event.actor_id is None) <= (event.kind in BY_THE_STREAM_OR_TIME), event.kind


def _check_decisions(case: Case, events: list[CaseEvent], decisions: list[CaseDecision]) -> None:
    """A person closed it, and another one where that was asked for; nobody twice in a round."""
    kinds = Counter(event.kind for event in events)
    closed = kinds["resolved"] - kinds["reopened"] - kinds["brought_back"]
    assert closed == (case.status == CaseStatus.RESOLVED)
    assert len(decisions) == kinds["resolved"] + kinds["decided"] + kinds["disagreed"]
    rounds: dict[int, list[CaseDecision]] = {}
    for decision in decisions:
        rounds.setdefault(decision.round, []).append(decision)
    for looks in rounds.values():
        assert [decision.look for decision in looks] == list(range(1, len(looks) + 1))
        assert len({decision.decided_by for decision in looks}) == len(looks)
        assert (looks[0].second_why is not None) or len(looks) == 1
    if case.status == CaseStatus.RESOLVED:
        last = rounds[case.round]
        assert last[0].second_why is None or len(last) > 1
        assert last[-1].decided_by == case.resolved_by
        assert last[-1].resolution == case.resolution


def _check_counts(case: Case, alerts: list[Alert]) -> None:
    """Nothing vanishes: what the case says it has, it has."""
    if case.status != CaseStatus.MERGED:
        assert case.alert_count == len(alerts)
        assert case.amount == len(alerts) * AMOUNT
    else:
        assert alerts == []
    for alert in alerts:
        assert (alert.resolution is not None) == (case.status == CaseStatus.RESOLVED)


def _check_told(session: Session, found: Found) -> None:
    """The payment system's last word is that of the resolution, told once for each."""
    ids = [alert.transaction_id for alert in found.alerts]
    messages = list(
        session.scalars(select(OutboxRow.message_id).where(OutboxRow.topic == "outcomes"))
    )
    assert len(messages) == len(set(messages))
    for alert in found.alerts:
        told = [row for row in found.outcomes if row.transaction_id == alert.transaction_id]
        assert all(row.decider_kind == "person" for row in told)
        if alert.resolution is not None:
            wanted = action_of(Resolution(alert.resolution))
            cleared = alert.outcome == Outcome.AUTO_CLEAR and not told
            assert (told[-1].action if told else "release") == wanted
            assert told or cleared
    drawn = {alert.transaction_id: alert.rule == Rule.BLIND_SPOT for alert in found.alerts}
    for label in session.scalars(
        select(LabelRow).where(LabelRow.transaction_id.in_(ids), LabelRow.case_id.is_not(None))
    ):
        assert label.source == ("blind_spot" if drawn[label.transaction_id] else "analyst")
