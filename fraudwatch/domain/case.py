"""Cases: states, allowed moves, and what a resolution means for the payment.

The moves are one table, with who may make each. The database holds the same pairs of states
(`case_move_allowed`, migration 0009; a test compares the two), that a resolved case has a person
and a resolution, and that nobody looks at a case twice in one round.

Nothing here lets time decide: an ended lease, a passed wake-up or a passed promise gives the case
back or escalates it, undecided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from fraudwatch.domain.access import Permission
from fraudwatch.domain.reason_codes import Resolution
from fraudwatch.errors import Conflict


class CaseStatus(StrEnum):
    """Where a case stands. What each means for people is told in docs/casework.md."""

    NEW = "new"  # waits for anyone
    CLAIMED = "claimed"  # someone holds it, until the lease ends
    WAITING = "waiting"  # put aside until a stated time, or until something happens
    ESCALATED = "escalated"  # waits for someone with more experience, or is late
    SECOND_LOOK = "second_look"  # one person has decided; another one must look first
    RESOLVED = "resolved"  # decided
    REOPENED = "reopened"  # decided once; waits for anyone again
    MERGED = "merged"  # its alerts went into another case, where the work goes on


OPEN = frozenset(CaseStatus) - {CaseStatus.RESOLVED, CaseStatus.MERGED}


class Escalation(StrEnum):
    """Why a case was escalated; kept until it is resolved."""

    PERSON = "person"  # its holder asked for someone with more experience
    DISAGREEMENT = "disagreement"  # two people decided differently: a third decides
    LATE = "late"  # nobody had looked within the promised time; anyone may take it


class Urgency(IntEnum):
    """What comes first in the queue, whatever its rank by risk and amount."""

    NORMAL = 0
    ESCALATED = 1
    DISPUTED = 2  # a customer waits for an answer


class Move(StrEnum):
    """What can be done to a case."""

    CLAIM = "claim"
    CLAIM_LATE = "claim_late"  # take a case that only the clock escalated
    TAKE_OVER = "take_over"  # end someone else's running lease and hold the case instead
    RELEASE = "release"
    EXPIRE = "expire"  # the lease ended: the case goes back, undecided
    WAIT = "wait"
    WAKE = "wake"  # an alert joined: there is something new to look at
    ESCALATE = "escalate"
    ESCALATE_LATE = "escalate_late"
    RESOLVE = "resolve"
    ASK_SECOND = "ask_second"  # decided; the rules want a second person first
    AGREE = "agree"
    DISAGREE = "disagree"
    OVERTAKE = "overtake"  # an alert joined: the first decision did not know of it
    REOPEN = "reopen"
    DISPUTE = "dispute"  # the customer objects to a decision: the case is looked at again
    MERGE = "merge"


class Who(StrEnum):
    """Who makes a move, besides having the permission."""

    ANYONE = "anyone"
    HOLDER = "holder"  # whoever holds the running lease
    MACHINE = "machine"  # no person; never decides


@dataclass(frozen=True, slots=True)
class Allowed:
    """One row of the table: where the move leads, and who may make it.

    `to_if_escalated` is where it leads while the case is escalated, if elsewhere. `needs` is None
    exactly for the machine. What a holder may do, someone with `instead` may do to them as well.
    """

    to: CaseStatus
    who: Who
    needs: Permission | None = Permission.CASES_WORK
    instead: Permission | None = None
    to_if_escalated: CaseStatus | None = None


_S = CaseStatus


def _machine(to: CaseStatus, to_if_escalated: CaseStatus | None = None) -> Allowed:
    return Allowed(to, Who.MACHINE, None, to_if_escalated=to_if_escalated)


_TAKEN = Allowed(_S.CLAIMED, Who.ANYONE)
_GIVEN_BACK = Allowed(
    _S.NEW,
    Who.HOLDER,
    instead=Permission.CASES_REASSIGN,
    to_if_escalated=_S.ESCALATED,
)
_BACK_AGAIN = _machine(_S.NEW, _S.ESCALATED)
_MERGED = Allowed(_S.MERGED, Who.ANYONE)

MOVES: dict[tuple[CaseStatus, Move], Allowed] = {
    (_S.NEW, Move.CLAIM): _TAKEN,
    (_S.REOPENED, Move.CLAIM): _TAKEN,
    (_S.WAITING, Move.CLAIM): _TAKEN,
    (_S.ESCALATED, Move.CLAIM): Allowed(_S.CLAIMED, Who.ANYONE, Permission.CASES_ESCALATED),
    (_S.ESCALATED, Move.CLAIM_LATE): _TAKEN,
    (_S.SECOND_LOOK, Move.CLAIM): Allowed(_S.SECOND_LOOK, Who.ANYONE),
    (_S.CLAIMED, Move.TAKE_OVER): Allowed(_S.CLAIMED, Who.ANYONE, Permission.CASES_REASSIGN),
    (_S.SECOND_LOOK, Move.TAKE_OVER): Allowed(
        _S.SECOND_LOOK, Who.ANYONE, Permission.CASES_REASSIGN
    ),
    (_S.CLAIMED, Move.RELEASE): _GIVEN_BACK,
    (_S.SECOND_LOOK, Move.RELEASE): Allowed(
        _S.SECOND_LOOK, Who.HOLDER, instead=Permission.CASES_REASSIGN
    ),
    (_S.CLAIMED, Move.EXPIRE): _BACK_AGAIN,
    (_S.SECOND_LOOK, Move.EXPIRE): _machine(_S.SECOND_LOOK),
    (_S.CLAIMED, Move.WAIT): Allowed(_S.WAITING, Who.HOLDER),
    (_S.WAITING, Move.WAKE): _BACK_AGAIN,
    (_S.CLAIMED, Move.ESCALATE): Allowed(_S.ESCALATED, Who.HOLDER),
    (_S.NEW, Move.ESCALATE_LATE): _machine(_S.ESCALATED),
    (_S.REOPENED, Move.ESCALATE_LATE): _machine(_S.ESCALATED),
    (_S.CLAIMED, Move.RESOLVE): Allowed(_S.RESOLVED, Who.HOLDER),
    (_S.CLAIMED, Move.ASK_SECOND): Allowed(_S.SECOND_LOOK, Who.HOLDER),
    (_S.SECOND_LOOK, Move.AGREE): Allowed(_S.RESOLVED, Who.HOLDER),
    (_S.SECOND_LOOK, Move.DISAGREE): Allowed(_S.ESCALATED, Who.HOLDER),
    (_S.SECOND_LOOK, Move.OVERTAKE): _BACK_AGAIN,
    (_S.RESOLVED, Move.REOPEN): Allowed(_S.REOPENED, Who.ANYONE, Permission.CASES_REOPEN),
    (_S.RESOLVED, Move.DISPUTE): _machine(_S.REOPENED),
    (_S.NEW, Move.MERGE): _MERGED,
    (_S.REOPENED, Move.MERGE): _MERGED,
    (_S.WAITING, Move.MERGE): _MERGED,
    (_S.ESCALATED, Move.MERGE): _MERGED,
    (_S.CLAIMED, Move.MERGE): Allowed(_S.MERGED, Who.HOLDER),
}

HELD = frozenset({CaseStatus.CLAIMED, CaseStatus.SECOND_LOOK})
"""States in which a lease can run."""


def allowed(status: CaseStatus, move: Move) -> Allowed:
    """The row of the table. Raises `Conflict` where there is none."""
    try:
        return MOVES[status, move]
    except KeyError:
        raise Conflict(
            f"not possible on a case that is {status.value}: {move.value}", {"status": status.value}
        ) from None


def after(status: CaseStatus, move: Move, *, escalated: bool = False) -> CaseStatus:
    """The state a move leads to. Raises `Conflict` when the table does not allow it."""
    row = allowed(status, move)
    return row.to_if_escalated if escalated and row.to_if_escalated else row.to


def pairs() -> frozenset[tuple[CaseStatus, CaseStatus]]:
    """All changes of state that some move makes: what the database lets through."""
    found = set()
    for (status, _), row in MOVES.items():
        found |= {(status, to) for to in (row.to, row.to_if_escalated) if to not in (None, status)}
    return frozenset((was, to) for was, to in found if to is not None)


def claim_move(status: CaseStatus, escalation: Escalation | None) -> Move:
    """How such a case is taken: what only the clock escalated is open to everybody."""
    late = status is CaseStatus.ESCALATED and escalation is Escalation.LATE
    return Move.CLAIM_LATE if late else Move.CLAIM


def priority(outcome: int, risk: float, amount: float) -> float:
    """The rank of an alert in the queue, higher first.

    High risk before review; within each, by a stand-in for expected loss while there is no fraud
    probability: surprise in bits, -log2(1 - risk) (capped at 20), times log2(1 + amount).
    """
    surprise = min(20.0, -math.log2(max(1.0 - risk, 2.0**-20)))
    return outcome * 10_000.0 + surprise * math.log2(1.0 + max(amount, 0.0))


class Action(StrEnum):
    """What the payment system is told."""

    RELEASE = "release"
    DECLINE = "decline"


def action_of(resolution: Resolution) -> Action:
    """Fraud declines; anything else releases: doubt is decided for the customer."""
    return Action.DECLINE if resolution is Resolution.FRAUD else Action.RELEASE


def label_of(resolution: Resolution) -> bool | None:
    """The label a resolution gives to its transactions: fraud, not fraud, or none."""
    return {Resolution.FRAUD: True, Resolution.LEGITIMATE: False}.get(resolution)
