"""The table of moves: who may do what to a case, and what no move may ever do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.domain.access import Permission
from fraudwatch.domain.case import (
    MOVES,
    OPEN,
    CaseStatus,
    Escalation,
    Move,
    Who,
    after,
    claim_move,
    pairs,
)
from fraudwatch.errors import Conflict

DECIDING = {Move.RESOLVE, Move.AGREE}


def test_only_a_person_closes_a_case() -> None:
    """No timer, no late alert and no failure ends in a decision."""
    closing = {
        made
        for (status, made), row in MOVES.items()
        if {row.to, row.to_if_escalated} & {CaseStatus.RESOLVED, CaseStatus.MERGED}
    }
    assert closing == DECIDING | {Move.MERGE}
    for (_, made), row in MOVES.items():
        if made in closing:
            assert row.who is not Who.MACHINE
            assert row.needs is Permission.CASES_WORK
        assert (row.needs is None) == (row.who is Who.MACHINE)


def test_who_decides_holds_the_case() -> None:
    for (_, made), row in MOVES.items():
        if made in DECIDING | {Move.ASK_SECOND, Move.DISAGREE}:
            assert row.who is Who.HOLDER
            assert row.instead is None, "nobody decides for someone else"


def test_every_state_can_be_reached_and_left() -> None:
    """But for a merged case: the work goes on in another one."""
    reached = {CaseStatus.NEW} | {becomes for _, becomes in pairs()}
    assert reached == set(CaseStatus)
    assert {was for was, _ in pairs()} == set(CaseStatus) - {CaseStatus.MERGED}


def test_from_every_open_state_a_decision_can_be_reached() -> None:
    """A case that nobody could ever decide would hold a customer's money for good."""
    leading = {CaseStatus.RESOLVED}
    for _ in CaseStatus:
        leading |= {was for was, becomes in pairs() if becomes in leading}
    assert leading >= OPEN


@given(st.sampled_from(CaseStatus), st.sampled_from(Move), st.booleans())
def test_a_move_leads_where_the_table_says_or_nowhere(
    status: CaseStatus, made: Move, escalated: bool
) -> None:
    row = MOVES.get((status, made))
    if row is None:
        with pytest.raises(Conflict):
            after(status, made, escalated=escalated)
        return
    reached = after(status, made, escalated=escalated)
    assert reached in {row.to, row.to_if_escalated}
    assert reached is status or (status, reached) in pairs()
    if not escalated:
        assert reached is row.to


def test_what_a_person_escalated_is_not_everybodys() -> None:
    """What only the clock escalated is: otherwise a late case would wait even longer."""
    for why, needed in {
        Escalation.PERSON: Permission.CASES_ESCALATED,
        Escalation.DISAGREEMENT: Permission.CASES_ESCALATED,
        Escalation.LATE: Permission.CASES_WORK,
    }.items():
        made = claim_move(CaseStatus.ESCALATED, why)
        assert MOVES[CaseStatus.ESCALATED, made].needs is needed
    assert claim_move(CaseStatus.SECOND_LOOK, Escalation.LATE) is Move.CLAIM
