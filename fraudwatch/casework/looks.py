"""Who saw whose personal data: each request that showed any is one row, in a chain of its own.

Looks come at a high rate and none may wait for another. A row is written in the transaction of its
request, before the answer leaves, without any lock; `seal` links what has committed to the chain,
many rows at a time, about once a second (`fraudwatch.casework.audit_keeper`). Until then a row is
protected by the rights of the database alone. The newest link goes into the chain of changes now
and then (`mark`), so that a copy of that chain's head vouches for looks too.

Rows name cases and transactions by id, and persons by pseudonym (`fraudwatch.casework.masking`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, audit_chain
from fraudwatch.casework.audit_chain import AuditCheck, Head
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import AuditRow, LookRow, PendingLook

EXPIRED = "looks.expired"
MARK = "looks.mark"
LOOK = "look"

_MOST = 5000  # rows sealed in one transaction


def record(
    session: Session, lens: Lens, *, at: datetime, where: str, asked: Mapping[str, object]
) -> None:
    """The lens has shown personal data, which are about to leave.

    `where` is the route, `asked` what its path names. The subject is a case or a transaction by its
    id, an account by its pseudonym, or the route of a list.
    """
    names = [f"{name.removesuffix('_id')}:{value}" for name, value in asked.items()]
    if "account_id" in asked:
        names = [f"account:{lens.pseudonym(str(asked['account_id']))}"]
    data = {"where": where, "shown": lens.pseudonyms()}
    row = audit.told(at, lens.actor, LOOK, ",".join(names) or where, data)
    session.execute(insert(PendingLook).values(row))


def seal(session: Session) -> int:
    """Link looks that have committed to the chain; how many. 0 too while another is at it.

    Commit soon: the next to seal waits for nobody, but finds nothing to do.
    """
    return session.scalar(select(func.seal_looks(_MOST))) or 0


def head(session: Session) -> Head:
    """The newest link; id 0 for none."""
    newest = select(LookRow.id, LookRow.hash).order_by(LookRow.id.desc()).limit(1)
    row = session.execute(newest).first()
    return Head(row.id, row.hash.hex()) if row else Head(0, audit_chain.GENESIS.hex())


def mark(session: Session, now: datetime) -> bool:
    """Tell the chain of changes of the newest link, unless it knows it."""
    newest = head(session)
    known = session.scalar(
        select(AuditRow.data).where(AuditRow.action == MARK).order_by(AuditRow.id.desc()).limit(1)
    )
    if newest.id == 0 or (known is not None and known["row"] >= newest.id):
        return False
    audit.append(
        session,
        at=now,
        actor=None,
        action=MARK,
        subject="looks",
        data={"row": newest.id, "hash": newest.hash},
    )
    return True


def verify(session: Session, heads: Sequence[Head] = ()) -> AuditCheck:
    """Walk the whole chain; compare it with what the chain of changes knows, and with heads."""
    marks = session.scalars(select(AuditRow.data).where(AuditRow.action == MARK))
    wanted = [*heads, *(Head(told["row"], told["hash"]) for told in marks)]
    query = select(LookRow).order_by(LookRow.id).execution_options(yield_per=1000)
    return audit_chain.check(session.scalars(query), audit.anchor(session, EXPIRED), wanted)
