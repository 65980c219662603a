"""Who did what, as a hash chain: changing, dropping or reordering a row breaks every later hash.

`hash = sha256(previous_hash + canonical JSON of the row)`. A chain cannot show that its newest rows
were cut off; compare `AuditCheck.head` with a copy kept elsewhere for that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fraudwatch.casework.models import AuditRow
from fraudwatch.domain.access import Actor
from fraudwatch.errors import Invalid

GENESIS = bytes(32)

# Any fixed number: rows of the chain are written one after the other.
_CHAIN_LOCK = 7_264_912


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


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """Result of walking the chain: `broken_at` is the id of the first row that does not fit."""

    ok: bool
    rows: int
    head: str  # hexadecimal hash of the last row that fits
    broken_at: int | None = None


def append(
    session: Session,
    *,
    at: datetime,
    actor: Actor | None,
    action: str,
    subject: str,
    data: Mapping[str, object],
) -> AuditRow:
    """Add a row; `actor` None is the machine. Holds the chain's lock until the commit.

    Call it last, after all other rows are locked: everybody waits for this lock.
    """
    session.execute(select(func.pg_advisory_xact_lock(_CHAIN_LOCK)))
    last = session.execute(
        select(AuditRow.id, AuditRow.hash).order_by(AuditRow.id.desc()).limit(1)
    ).first()
    row = AuditRow(
        id=(last.id if last else 0) + 1,
        at=at,
        actor_id=actor.user_id if actor else None,
        actor=actor.name if actor else "fraudwatch",
        action=action,
        subject=subject,
        data={name: _plain(value) for name, value in data.items()},
        previous_hash=last.hash if last else GENESIS,
    )
    row.hash = _hash(row)
    session.add(row)
    session.flush()
    return row


def verify(session: Session) -> AuditCheck:
    """Walk the whole chain, oldest first."""
    previous, rows = GENESIS, 0
    query = select(AuditRow).order_by(AuditRow.id).execution_options(yield_per=1000)
    with session.execute(query) as found:
        for (row,) in found:
            fits = row.id == rows + 1 and row.previous_hash == previous and row.hash == _hash(row)
            if not fits:
                return AuditCheck(ok=False, rows=rows, head=previous.hex(), broken_at=row.id)
            previous, rows = row.hash, rows + 1
    return AuditCheck(ok=True, rows=rows, head=previous.hex())


def _hash(row: AuditRow) -> bytes:
    content = {
        "id": row.id,
        "at": row.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor_id": row.actor_id,
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "data": row.data,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(row.previous_hash + text.encode()).digest()


def _plain(value: object) -> Any:
    """The value as JSON that JSONB gives back unchanged: it rewrites floats, so they are text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value)
