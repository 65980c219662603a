"""Whose cases a user sees: those of their units, where they have units; else all.

The narrowing is put on the session of the request, once, where the permission is checked: from then
on no query of that session finds a case of another unit, whichever route or page asks, and whether
it reads, locks or counts. What is not found cannot be acted on. Accounts and transactions are seen
through their cases. A case without a unit is for those without units.
"""

from __future__ import annotations

from sqlalchemy import false, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from fraudwatch.casework.models import Case
from fraudwatch.domain.access import Actor
from fraudwatch.errors import NotFound

_UNITS = "units"


def narrow(session: Session, actor: Actor) -> None:
    """Have the session find cases of the actor's units alone."""
    if actor.units is not None:
        session.info[_UNITS] = actor.units


def apply(state: ORMExecuteState) -> None:
    """Narrow a query of a narrowed session; `fraudwatch.casework.db` hangs it on every session."""
    units: frozenset[str] | None = state.session.info.get(_UNITS)
    if units is not None and state.is_select:
        seen = Case.unit.in_(sorted(units)) if units else false()
        state.statement = state.statement.options(
            with_loader_criteria(Case, seen, include_aliases=True)
        )


def require_account(session: Session, account_id: str) -> None:
    """Raise `NotFound` where the session is narrowed and finds no case of the account."""
    if session.info.get(_UNITS) is None:
        return
    query = select(Case.id).where(Case.account_id == account_id).limit(1)
    if session.scalar(query) is None:
        raise NotFound("there is nothing of this account in your units")


def unit_of(session: Session, account_id: str) -> str | None:
    """The unit of the account's newest case, for one that a person opens."""
    query = select(Case.unit).where(Case.account_id == account_id).order_by(Case.id.desc())
    return session.scalar(query.limit(1))
