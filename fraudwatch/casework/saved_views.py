"""Filters of the list of cases that people keep for themselves, or share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fraudwatch.casework.bodies_bulk import ViewIn
from fraudwatch.casework.models import SavedView, User
from fraudwatch.domain.access import Actor
from fraudwatch.errors import Conflict, Invalid, NotFound

MOST = 100  # that one person keeps


def visible(session: Session, actor: Actor) -> Sequence[Row[SavedView, str]]:
    """One's own and those that are shared, with the owner's name; one's own first."""
    own = SavedView.owner_id == actor.user_id
    return session.execute(
        select(SavedView, User.name)
        .join(User, User.id == SavedView.owner_id)
        .where(or_(own, SavedView.shared))
        .order_by(own.desc(), SavedView.name, SavedView.id)
    ).all()


def save(session: Session, actor: Actor, wanted: ViewIn, *, now: datetime) -> SavedView:
    """Keep a view. Raises `Conflict` where one has that name already."""
    count = select(func.count()).where(SavedView.owner_id == actor.user_id)
    if (session.scalar(count) or 0) >= MOST:
        raise Invalid(f"you keep {MOST} views already: remove one")
    row = SavedView(owner_id=actor.user_id)
    _fill(session, row, wanted, now)
    return row


def change(
    session: Session, actor: Actor, view_id: int, wanted: ViewIn, *, now: datetime
) -> SavedView:
    """Replace one of one's own. Raises `NotFound`, `Conflict`."""
    row = _own(session, actor, view_id)
    _fill(session, row, wanted, now)
    return row


def remove(session: Session, actor: Actor, view_id: int) -> None:
    """Remove one of one's own. Raises `NotFound`."""
    session.delete(_own(session, actor, view_id))
    session.flush()


def _own(session: Session, actor: Actor, view_id: int) -> SavedView:
    row = session.get(SavedView, view_id)
    if row is None or row.owner_id != actor.user_id:
        raise NotFound("you keep no such view")
    return row


def _fill(session: Session, row: SavedView, wanted: ViewIn, now: datetime) -> None:
    row.name, row.shared, row.changed_at = wanted.name, wanted.shared, now
    row.filter = wanted.filter.model_dump(mode="json", exclude_defaults=True)
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(f"you have a view {wanted.name!r} already", {}) from error
