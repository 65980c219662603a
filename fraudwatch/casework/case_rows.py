"""What all acts on cases have in common: lock, check version and lease, move, write down.

The lock order is case, then everything that belongs to it, then the audit chain. The caller commits
once. Errors: `NotFound`, `NotAllowed`, `Invalid`, and `Conflict` whose `current` is the state as it
is now.

A version names what a person has seen: alerts, notes and moves raise it; renewing a lease, and what
time alone does, do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit
from fraudwatch.casework.models import Alert, Case, CaseEvent, User
from fraudwatch.domain.access import Actor, Permission
from fraudwatch.domain.case import (
    HELD,
    OPEN,
    CaseStatus,
    Escalation,
    Move,
    Who,
    after,
    allowed,
)
from fraudwatch.errors import Conflict, Invalid, NotAllowed, NotFound


class VersionMissing(Invalid):
    """The act does not say which version of the case it stands on."""

    code = "precondition-required"


class SamePerson(NotAllowed):
    """Another person must look: this one has decided already."""

    code = "same-person"


@dataclass(frozen=True, slots=True)
class Look:
    """A part of the page that a person opened or read, and for how long."""

    part: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Screen:
    """What a person had before them when they acted, as their client says.

    `dwell_seconds` is since the case was shown; `looks` are in order.
    """

    view: str = ""
    version: int | None = None
    risk_shown: bool = False
    dwell_seconds: float | None = None
    looks: tuple[Look, ...] = ()

    def data(self) -> dict[str, object]:
        """For the event."""
        return {
            "view": self.view,
            "version": self.version,
            "risk_shown": self.risk_shown,
            "dwell_seconds": self.dwell_seconds,
            "looks": [[look.part, look.seconds] for look in self.looks],
        }


@dataclass(frozen=True, slots=True)
class Act:
    """Who acts on a case, when, on which version, with what before them."""

    actor: Actor
    now: datetime
    version: int | None = None
    screen: Screen = field(default_factory=Screen)


def begin(
    session: Session, case_id: int, act: Act, permission: Permission = Permission.CASES_WORK
) -> Case:
    """The case, locked, for an act that stands on its present version.

    Raises `VersionMissing` when the act names none and `Conflict` when it names another.
    """
    require(act.actor, permission)
    case = lock(session, case_id)
    check_version(session, case, act.version)
    return case


def check_version(session: Session, case: Case, seen: int | None) -> None:
    """Raises `VersionMissing` where none was named, and `Conflict` where it is not the present."""
    if seen is None:
        raise VersionMissing("name the version you have seen: If-Match with the ETag of the case")
    if seen != case.version:
        raise Conflict(
            f"the case has changed: you saw version {seen}, it is at {case.version}",
            state(session, case),
        )


def lock(session: Session, case_id: int) -> Case:
    """The case, its row locked until the end of the transaction."""
    return lock_all(session, [case_id])[0]


def lock_all(session: Session, case_ids: Sequence[int]) -> list[Case]:
    """The cases as asked for, their rows locked in the order of their ids."""
    rows = session.scalars(
        select(Case)
        .where(Case.id.in_(case_ids))
        .order_by(Case.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = {case.id: case for case in rows}
    for case_id in case_ids:
        if case_id not in found:
            raise NotFound(f"there is no case {case_id}")
    return [found[case_id] for case_id in case_ids]


def state(session: Session, case: Case) -> dict[str, object]:
    """What a caller whose view is stale needs to know."""
    with session.no_autoflush:
        holder = session.scalar(select(User.name).where(User.id == case.claimed_by))
    return {
        "id": case.id,
        "status": case.status,
        "version": case.version,
        "claimed_by": holder,
        "lease_until": case.lease_until,
        "resolution": case.resolution,
        "merged_into": case.merged_into,
    }


def holds(case: Case, actor: Actor, now: datetime) -> bool:
    """Whether the actor holds the running lease."""
    return held(case, now) and case.claimed_by == actor.user_id


def held(case: Case, now: datetime) -> bool:
    """Whether a lease runs."""
    return case.lease_until is not None and case.lease_until > now


def check_lease(session: Session, case: Case, actor: Actor, now: datetime) -> None:
    """Raises `Conflict` unless the actor holds the running lease."""
    if not holds(case, actor, now):
        raise Conflict("you do not hold this case: claim it first", state(session, case))


def require(actor: Actor, permission: Permission) -> None:
    """Raises `NotAllowed` without the permission."""
    if not actor.may(permission):
        raise NotAllowed(f"this needs {permission}")


def require_person(actor: Actor) -> None:
    """Raises `NotAllowed` for programs."""
    if not actor.person:
        raise NotAllowed("only people decide cases")


def require_text(text: str, what: str) -> None:
    """Raises `Invalid` where nothing was said."""
    if not text.strip():
        raise Invalid(f"{what} needs a reason")


def settle(session: Session, case: Case, now: datetime) -> None:
    """Write down what time has done to the case: an ended lease, a wake-up that has come."""
    if case.status in HELD and case.lease_until is not None and case.lease_until <= now:
        by_machine(session, case, Move.EXPIRE, "expired", now, {"claimed_by": case.claimed_by})
        let_go(case)
    elif case.status == CaseStatus.WAITING and case.wake_at is not None and case.wake_at <= now:
        case.wake_at = None
        by_machine(session, case, Move.WAKE, "woken", now, {})


def let_go(case: Case) -> None:
    """Nobody holds the case any more."""
    case.claimed_by = case.lease_until = None
    case.seen_alert_id, case.new_alerts = None, 0


def show_all(session: Session, case: Case) -> None:
    """The holder has seen every alert that there is now."""
    with session.no_autoflush:
        newest = select(func.max(Alert.id)).where(Alert.case_id == case.id)
        case.seen_alert_id, case.new_alerts = session.scalar(newest), 0


def move(session: Session, case: Case, made: Move, act: Act) -> None:
    """Make a person's move: the table says who may and where it leads. A new version."""
    row = allowed(CaseStatus(case.status), made)
    if row.needs is None:
        raise NotAllowed("no person makes this move")
    require_person(act.actor)
    if row.who is Who.HOLDER and not holds(case, act.actor, act.now):
        if row.instead is None:
            check_lease(session, case, act.actor, act.now)
        elif not act.actor.may(row.instead):
            raise NotAllowed(f"doing this to someone else's claim needs {row.instead}")
    else:
        require(act.actor, row.needs)
    _set(case, made, act.now)
    case.version += 1


def by_machine(
    session: Session,
    case: Case,
    made: Move,
    kind: str,
    now: datetime,
    data: Mapping[str, object],
) -> None:
    """Make a move that no person makes; it decides nothing."""
    if allowed(CaseStatus(case.status), made).needs is not None:
        raise NotAllowed("only a person makes this move")
    _set(case, made, now)
    session.add(CaseEvent(case_id=case.id, kind=kind, actor_id=None, at=now, data=dict(data)))


def _set(case: Case, made: Move, now: datetime) -> None:
    case.status = after(CaseStatus(case.status), made, escalated=case.escalation is not None)
    case.updated_at = now


def escalation(case: Case) -> Escalation | None:
    """Why the case is escalated."""
    return Escalation(case.escalation) if case.escalation else None


def tell(session: Session, case: Case, act: Act, kind: str, data: Mapping[str, object]) -> None:
    """Write the event, with what was on screen."""
    session.add(
        CaseEvent(
            case_id=case.id,
            kind=kind,
            actor_id=act.actor.user_id,
            at=act.now,
            data={**data, "screen": act.screen.data()},
        )
    )


def log(session: Session, case: Case, act: Act, action: str, data: Mapping[str, object]) -> None:
    """Write the audit row: last, for everybody waits for the chain. Without free text, which may
    hold personal data."""
    session.flush()
    audit.append(
        session,
        at=act.now,
        actor=act.actor,
        action=f"case.{action}",
        subject=f"case:{case.id}",
        data=data,
    )


def is_open(case: Case) -> bool:
    """Whether work is left."""
    return case.status in OPEN
