"""API tokens: random, kept as SHA-256, ending, and with no more rights than asked for."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fraudwatch.casework import audit
from fraudwatch.casework.auth import sha256
from fraudwatch.casework.models import ApiToken, User
from fraudwatch.domain.access import ROLE_PERMISSIONS, Actor, Permission, Role
from fraudwatch.errors import Invalid, NotFound

TOKEN_PREFIX = "fwt_"  # noqa: S105 - lets secret scanners find a leaked token
LONGEST_LIFE = timedelta(days=366)
MOST_TOKENS = 50  # of one user, that are good
_NAME = 100


@dataclass(frozen=True, slots=True)
class Made:
    """A new token, as text for its owner and as it is kept."""

    token: str
    row: ApiToken


def issue(
    session: Session,
    user: User,
    *,
    name: str,
    now: datetime,
    lifetime: timedelta = timedelta(days=90),
    permissions: Iterable[Permission] | None = None,
    actor: Actor | None = None,
) -> Made:
    """A token that acts as the user; it is shown this once.

    `permissions` None: all that the user has, now and later. Otherwise the token has those named,
    as long as the user has them; the user must have them now.
    """
    if not timedelta(0) < lifetime <= LONGEST_LIFE:
        raise Invalid(f"a token lives at most {LONGEST_LIFE.days} days")
    if not name.strip() or len(name) > _NAME or not name.isprintable():
        raise Invalid(f"a token needs a name of 1 to {_NAME} printable characters")
    wanted = None if permissions is None else sorted({p.value for p in permissions})
    if wanted is not None:
        beyond = set(wanted) - {p.value for p in ROLE_PERMISSIONS[Role(user.role)]}
        if not wanted or beyond:
            raise Invalid(f"a token takes permissions of its owner, not {sorted(beyond)}")
    if len(of_user(session, user.id, now)) >= MOST_TOKENS:
        raise Invalid(f"a user has at most {MOST_TOKENS} tokens: revoke some")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(
        token_sha256=sha256(token),
        user_id=user.id,
        name=name,
        created_at=now,
        expires_at=now + lifetime,
        permissions=wanted,
    )
    session.add(row)
    session.flush()
    data = {"name": name, "expires": row.expires_at, "permissions": wanted}
    _audit(session, user.id, actor, "token.issue", now, data)
    return Made(token, row)


def of_user(session: Session, user_id: int, now: datetime) -> list[ApiToken]:
    """The user's tokens that are good, the newest first."""
    return list(
        session.scalars(
            select(ApiToken)
            .where(
                ApiToken.user_id == user_id,
                ApiToken.revoked_at.is_(None),
                ApiToken.expires_at > now,
            )
            .order_by(ApiToken.id.desc())
        )
    )


def revoke(
    session: Session,
    user: User,
    *,
    now: datetime,
    name: str | None = None,
    actor: Actor | None = None,
) -> int:
    """End the user's tokens, or those of one name; returns how many."""
    conditions = [ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None)]
    if name is not None:
        conditions.append(ApiToken.name == name)
    ended = session.scalars(
        update(ApiToken).where(*conditions).values(revoked_at=now).returning(ApiToken.id)
    ).all()
    _audit(session, user.id, actor, "token.revoke", now, {"tokens": len(ended)})
    return len(ended)


def revoke_one(
    session: Session, user_id: int, token_id: int, *, now: datetime, actor: Actor
) -> None:
    """End one of the user's tokens. Raises `NotFound`."""
    name = session.scalar(
        update(ApiToken)
        .where(ApiToken.user_id == user_id, ApiToken.id == token_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(ApiToken.name)
    )
    if name is None:
        raise NotFound("there is no such token, or it is revoked already")
    _audit(session, user_id, actor, "token.revoke", now, {"name": name})


def _audit(
    session: Session,
    user_id: int,
    actor: Actor | None,
    action: str,
    now: datetime,
    data: dict[str, object],
) -> None:
    audit.append(session, at=now, actor=actor, action=action, subject=f"user:{user_id}", data=data)
