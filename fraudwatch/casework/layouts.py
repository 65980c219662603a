"""How many partitions a topic has, as the database knows it, and since when.

An account's past lives with its partition. Were partitions added behind our back, Kafka would send
accounts to partitions that know nothing of them. So the number is recorded, a worker that meets
another one refuses, and only `fraudwatch grow` records a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from fraudwatch.casework.models import TopicLayout
from fraudwatch.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Layout:
    """One generation of a topic: for each partition the offset that it begins at."""

    topic: str
    generation: int
    bases: Mapping[int, int]

    @property
    def partitions(self) -> int:
        """How many there are."""
        return len(self.bases)


def history(session: Session, topic: str) -> list[Layout]:
    """All generations, oldest first; none where no worker ever started."""
    bases: dict[int, dict[int, int]] = {}
    for row in session.execute(
        select(TopicLayout.generation, TopicLayout.partition, TopicLayout.base_offset)
        .where(TopicLayout.topic == topic)
        .order_by(TopicLayout.generation, TopicLayout.partition)
    ):
        bases.setdefault(row.generation, {})[row.partition] = row.base_offset
    return [Layout(topic, generation, found) for generation, found in bases.items()]


def current(session: Session, topic: str) -> Layout | None:
    """The layout that counts; None where no worker ever started."""
    found = history(session, topic)
    return found[-1] if found else None


def confirm(session: Session, topic: str, partitions: int) -> Layout:
    """The layout, recorded now if it is the first. Raises `ConfigurationError` where the topic has
    another number of partitions than recorded."""
    first = [
        {"topic": topic, "generation": 0, "partition": partition, "base_offset": 0}
        for partition in range(partitions)
    ]
    found = current(session, topic)
    if found is None:
        # Of workers that start together the first one wins.
        session.execute(upsert(TopicLayout).values(first).on_conflict_do_nothing())
        found = Layout(topic, 0, dict.fromkeys(range(partitions), 0))
    if found.partitions != partitions:
        raise _differs(found, partitions)
    return found


def admit(layout: Layout | None, partitions: Iterable[int]) -> None:
    """Raises `ConfigurationError` when one of the partitions is not of the layout: it was added
    while the worker ran."""
    if layout is not None and (unknown := [p for p in partitions if p not in layout.bases]):
        raise _differs(layout, max(unknown) + 1)


def record(session: Session, layout: Layout) -> None:
    """Append a generation."""
    session.execute(
        insert(TopicLayout),
        [
            {
                "topic": layout.topic,
                "generation": layout.generation,
                "partition": partition,
                "base_offset": base,
            }
            for partition, base in layout.bases.items()
        ],
    )


def _differs(layout: Layout, found: int) -> ConfigurationError:
    topic, recorded = layout.topic, layout.partitions
    if found < recorded:
        return ConfigurationError(
            f"topic {topic} has {found} partitions, and {recorded} were read so far: it was made "
            "anew or lost some. Put it back, or point to a new topic with a new database."
        )
    return ConfigurationError(
        f"topic {topic} has {found} partitions or more, and {recorded} were read so far: accounts "
        "now arrive in partitions that do not know their past. Pause the producers and run "
        "`fraudwatch grow` (docs/same-answer.md tells the steps)."
    )
