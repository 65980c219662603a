"""Who changed what, as a hash chain: changing, dropping or reordering a row breaks later hashes.

A row of the chain is made by the database (migration 0011) when the transaction that tells of it
commits: with the change or not at all, in one order for all, whichever program wrote it. The lock
that gives the order is the last one of a transaction and held for its commit alone. Who looked at
what is in a second chain: `fraudwatch.casework.looks`. How rows are checked: `.audit_chain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit_chain
from fraudwatch.casework.audit_chain import Anchor, AuditCheck, Head
from fraudwatch.casework.models import AuditRow, PendingChange
from fraudwatch.domain.access import Actor
from fraudwatch.errors import Invalid

EXPIRED = "audit.expired"
"""The action of the row that tells up to where old rows were removed for their age."""


@dataclass(frozen=True, slots=True)
class By:
    """Who acts, and why. On the command line `actor` is None and `name` is what was said there.

    Raises `Invalid` where one of the two is not said.
    """

    name: str
    why: str
    actor: Actor | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.why.strip():
            raise Invalid("say who and why: it goes into the audit log")


def append(
    session: Session,
    *,
    at: datetime,
    actor: Actor | None,
    action: str,
    subject: str,
    data: Mapping[str, object],
) -> None:
    """Add a row; `actor` None is the machine. It joins the chain when the session commits.

    No personal values: rows are never changed, not even for an erasure. Not for transactions of
    REPEATABLE READ, which would not see the row to follow.
    """
    session.execute(insert(PendingChange).values(told(at, actor, action, subject, data)))


def told(
    at: datetime, actor: Actor | None, action: str, subject: str, data: Mapping[str, object]
) -> dict[str, object]:
    """The columns of a row that waits for its place in a chain."""
    content = {
        "at": at,
        "actor_id": actor.user_id if actor else None,
        "actor": actor.name if actor else "fraudwatch",
        "action": action,
        "subject": subject,
        "data": {name: audit_chain.plain(value) for name, value in data.items()},
    }
    return {**content, "digest": audit_chain.digest(**content)}  # type: ignore[arg-type]


def verify(session: Session, heads: Sequence[Head] = ()) -> AuditCheck:
    """Walk the whole chain, oldest first, and compare it with heads that were kept elsewhere."""
    query = select(AuditRow).order_by(AuditRow.id).execution_options(yield_per=1000)
    return audit_chain.check(session.scalars(query), anchor(session, EXPIRED), heads)


def anchor(session: Session, action: str) -> Anchor:
    """After which row a chain begins, from the newest row of that action."""
    found = session.scalar(
        select(AuditRow.data).where(AuditRow.action == action).order_by(AuditRow.id.desc()).limit(1)
    )
    return Anchor() if found is None else Anchor(int(found["until"]), bytes.fromhex(found["hash"]))
