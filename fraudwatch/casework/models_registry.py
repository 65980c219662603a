"""Which model bundles are known, and which decides."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fraudwatch.casework import audit
from fraudwatch.casework.models import ModelRow
from fraudwatch.domain.access import Actor
from fraudwatch.errors import Conflict, NotFound


def list_models(session: Session) -> list[ModelRow]:
    """All known models, newest first."""
    return list(session.scalars(select(ModelRow).order_by(ModelRow.id.desc())))


def get_model(session: Session, name: str) -> ModelRow:
    """A model by its name. Raises `NotFound`."""
    row = session.scalar(select(ModelRow).where(ModelRow.name == name))
    if row is None:
        raise NotFound(f"no model {name!r}: `fraudwatch models list` shows those there are")
    return row


def champion(session: Session) -> ModelRow | None:
    """The model that decides, if there is one."""
    return session.scalar(select(ModelRow).where(ModelRow.status == "champion"))


def register(
    session: Session,
    name: str,
    sha256: str,
    manifest: Mapping[str, Any],
    now: datetime,
    evaluation: Mapping[str, Any] | None = None,
) -> ModelRow:
    """Add a bundle as candidate. Raises `Conflict` when the name is taken."""
    if session.scalar(select(ModelRow.id).where(ModelRow.name == name)) is not None:
        raise Conflict(f"a model named {name!r} is registered already")
    row = ModelRow(
        name=name,
        sha256=sha256,
        status="candidate",
        manifest=dict(manifest),
        evaluation=dict(evaluation) if evaluation is not None else None,
        created_at=now,
    )
    session.add(row)
    session.flush()
    return row


def _move(session: Session, row: ModelRow, status: str, now: datetime, actor: str) -> None:
    session.execute(
        update(ModelRow)
        .where(ModelRow.status == status, ModelRow.id != row.id)
        .values(status="retired")
    )
    row.status = status
    row.promoted_at = now
    row.promoted_by = actor
    session.flush()


def challenge(session: Session, row: ModelRow, actor: str, now: datetime) -> ModelRow:
    """Let the model score beside the champion; it decides nothing."""
    if row.status == "champion":
        raise Conflict(f"model {row.name!r} is the champion already", {"status": row.status})
    _move(session, row, "challenger", now, actor)
    return row


def promote(session: Session, model_id: int, actor: str, now: datetime) -> ModelRow:
    """Make the model the champion from the workers' next batch on; the old one retires.

    A retired model can be promoted again: that is the roll-back. Raises `NotFound`, and
    `Conflict` when it is the champion already.
    """
    row = session.get(ModelRow, model_id, with_for_update=True)
    if row is None:
        raise NotFound(f"no model with id {model_id}")
    if row.status == "champion":
        raise Conflict(f"model {row.name!r} is the champion already", {"status": row.status})
    _move(session, row, "champion", now, actor)
    return row


def promote_by(session: Session, model_id: int, actor: Actor, now: datetime) -> ModelRow:
    """Promote in the name of a person, with the row in the audit log."""
    row = promote(session, model_id, actor.name, now)
    audit.append(
        session,
        at=now,
        actor=actor,
        action="model.promote",
        subject=f"model:{row.id}",
        data={"name": row.name, "sha256": row.sha256},
    )
    return row
