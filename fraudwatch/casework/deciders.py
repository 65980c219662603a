"""What decides in each partition, from which offset on.

Policies, models and profiles take effect at the border of a batch. That border is written down in
the batch's own commit, so that a replay switches at the same offset.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from fraudwatch.casework.models import Decider


@dataclass(frozen=True, slots=True)
class Deciding:
    """All that decisions depend on besides the transactions."""

    features_version: str
    policy_id: int
    model_id: int | None
    challenger_id: int | None
    profile_version: str


@dataclass(frozen=True, slots=True)
class Switch:
    """From this offset of the partition on, this decides."""

    partition: int
    from_offset: int
    deciding: Deciding


def record(session: Session, switches: Sequence[Switch]) -> None:
    """Append what changed."""
    if switches:
        session.execute(
            insert(Decider),
            [
                {"partition": s.partition, "from_offset": s.from_offset, **asdict(s.deciding)}
                for s in switches
            ],
        )


def latest(session: Session, partitions: Iterable[int]) -> dict[int, Deciding]:
    """What decided last in each partition; those that nothing decided in yet are left out."""
    rows = session.scalars(
        select(Decider)
        .where(Decider.partition.in_(sorted(partitions)))
        .ext(distinct_on(Decider.partition))
        .order_by(Decider.partition, Decider.from_offset.desc())
    )
    return {row.partition: _deciding(row) for row in rows}


def of_partition(session: Session, partition: int) -> list[Switch]:
    """All switches of a partition, in order."""
    rows = session.scalars(
        select(Decider).where(Decider.partition == partition).order_by(Decider.from_offset)
    )
    return [Switch(partition, row.from_offset, _deciding(row)) for row in rows]


def _deciding(row: Decider) -> Deciding:
    return Deciding(
        row.features_version,
        row.policy_id,
        row.model_id,
        row.challenger_id,
        row.profile_version,
    )
