"""Requests that a program repeats under the same key (`Idempotency-Key`).

Asking twice is harmless by itself: the same transaction has one decision. A key adds that a
program which mixes up its requests finds out. After the draft "The Idempotency-Key HTTP Header
Field" of the IETF: the same key with another request is refused with 422.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from fraudwatch.casework.models import IdempotencyKey
from fraudwatch.errors import Invalid

KEPT = timedelta(hours=24)
_REMOVED_AT_ONCE = 1000


class KeyReused(Invalid):
    """The key belongs to another request."""

    code = "idempotency-key"


def claim(
    session: Session,
    user_id: int,
    key: str,
    request_sha256: bytes,
    transaction_ids: Sequence[str],
    now: datetime,
) -> None:
    """Bind the key to this request for 24 hours; commit before the request is carried out.

    Raises `KeyReused` when it was bound to another request. Also removes some keys that ended.
    """
    ended = (
        select(IdempotencyKey.user_id, IdempotencyKey.key)
        .where(IdempotencyKey.created_at <= now - KEPT)
        .limit(_REMOVED_AT_ONCE)
        .with_for_update(skip_locked=True)
        .cte("ended")
    )
    session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.user_id == ended.c.user_id, IdempotencyKey.key == ended.c.key
        )
    )
    bound = session.scalar(
        upsert(IdempotencyKey)
        .values(
            user_id=user_id,
            key=key,
            request_sha256=request_sha256,
            transaction_ids=list(transaction_ids),
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.request_sha256)
    )
    if bound is None:
        bound = session.scalar(
            select(IdempotencyKey.request_sha256).where(
                IdempotencyKey.user_id == user_id, IdempotencyKey.key == key
            )
        )
    if bound != request_sha256:
        raise KeyReused("this Idempotency-Key was used for another request: choose a new one")
