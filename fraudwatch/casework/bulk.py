"""The same act on many cases: each by itself, with a result of its own; all or none where asked.

Deciding is not among the acts: each case is decided by somebody who has looked at it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from fraudwatch.casework import claims, handling
from fraudwatch.casework.bodies_bulk import BulkIn
from fraudwatch.casework.case_rows import Act
from fraudwatch.casework.models import Case
from fraudwatch.errors import FraudwatchError, Invalid, Unavailable


class BulkAction(StrEnum):
    """What can be done to many cases at once."""

    CLAIM = "claim"
    RELEASE = "release"
    NOTE = "note"
    WAIT = "wait"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one case: its new version, or what stood in the way."""

    case_id: int
    version: int | None = None
    error: FraudwatchError | None = None


def carry_out(session: Session, act: Act, wanted: BulkIn, *, lease: timedelta) -> Sequence[Result]:
    """Results in the order asked for. With `all_or_none` nothing is changed once one fails, and the
    others have neither version nor error. Raises `Invalid` where the act lacks what it needs."""
    work = _work(session, wanted, lease)
    ids = [item.case_id for item in wanted.items]
    if len(set(ids)) != len(ids):
        raise Invalid("each case at most once")
    outer = session.begin_nested()
    found: dict[int, Result] = {}
    # In the order of ids, as everybody locks: two who act on the same cases wait for each other.
    for item in sorted(wanted.items, key=lambda item: item.case_id):
        try:
            with session.begin_nested():
                case = work(item.case_id, replace(act, version=item.version))
                found[item.case_id] = Result(item.case_id, case.version)
        except Unavailable:
            raise
        except FraudwatchError as error:
            found[item.case_id] = Result(item.case_id, error=error)
    if wanted.all_or_none and any(result.error for result in found.values()):
        outer.rollback()
        session.expire_all()
        found = {key: replace(result, version=None) for key, result in found.items()}
    else:
        outer.commit()
    return [found[case_id] for case_id in ids]


def _work(session: Session, wanted: BulkIn, lease: timedelta) -> Callable[[int, Act], Case]:
    text, until = wanted.text, wanted.until
    match BulkAction(wanted.action):
        case BulkAction.CLAIM:
            return lambda case_id, act: claims.claim(session, case_id, act, lease=lease)
        case BulkAction.RELEASE:
            return lambda case_id, act: claims.release(session, case_id, act)
        case BulkAction.NOTE:
            return lambda case_id, act: handling.note(session, case_id, act, text=text)
        case BulkAction.ESCALATE:
            return lambda case_id, act: handling.escalate(session, case_id, act, reason=text)
        case BulkAction.WAIT:
            if until is None:
                raise Invalid("say until when")
            return lambda case_id, act: handling.wait(
                session, case_id, act, until=until, reason=text
            )
