"""Adding partitions to the topic of transactions, so that no answer changes.

With another number of partitions keys go elsewhere, and an account's past must go with them:

1. Nobody reads, producers are paused, every message is decided (`Standstill`, lag 0).
2. The carrier gets its partitions.
3. One database transaction: the next generation of the layout, which begins where each partition
   stands; snapshots of the last generation go; workers that remember it are fenced.
4. Each partition's accounts are put together from the ledger and kept as its first snapshot. That
   only spares the next worker the work: without one it does the same (`fraudwatch.regroup`).

Every step can be done again after a failure.
"""

from __future__ import annotations

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import layouts, offsets
from fraudwatch.casework.archive_rows import require_sound
from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.layouts import Layout
from fraudwatch.casework.models import ModelRow, Snapshot, StreamOffset
from fraudwatch.errors import ConfigurationError
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.memory import Memory
from fraudwatch.settings import Settings
from streams.growth import Standstill, add_partitions, standstill


def grow(
    settings: Settings, sessions: sessionmaker[Session], partitions: int, *, adopt: bool = False
) -> Layout:
    """Give the topics this many partitions; returns the layout that counts from now on.

    `adopt`: the topic has them already, added by other means; what waits in it was sent since.
    Raises `ConfigurationError` and changes nothing while a step's condition does not hold, nor
    does it with an `ArchiveError` for a file of the archive that is missing or damaged.
    """
    if settings.key_hash != "murmur2":
        raise ConfigurationError(
            "FRAUDWATCH_KEY_HASH=other: fraudwatch cannot tell where accounts would live. Use a "
            "new topic with as many partitions as you need."
        )
    topic = settings.topic_transactions
    with standstill(settings) as still:
        with connect_errors(), sessions.begin() as session:
            before = layouts.current(session, topic) or layouts.confirm(
                session, topic, len(still.ends)
            )
            _check(session, before, still, partitions, adopt)
            require_sound(session)  # accounts' pasts come from there: the last step reads them
        add_partitions(settings, partitions)
        with connect_errors(), sessions.begin() as session:
            layout = _next_layout(session, before, partitions)
        _first_snapshots(settings, sessions, layout)
    return layout


def _check(
    session: Session, before: Layout, still: Standstill, partitions: int, adopt: bool
) -> None:
    there, recorded = len(still.ends), before.partitions
    if partitions <= recorded:
        raise ConfigurationError(f"there are {recorded} partitions; only more can be asked for")
    if there not in (recorded, partitions):
        raise ConfigurationError(
            f"{before.topic} has {there} partitions, and {recorded} were read so far: "
            f"only {there} can be asked for"
        )
    reached = offsets.positions(session, before.topic, before.bases)
    unread = {p: still.ends[p] - reached[p].next_offset for p in before.bases}
    early = sum(still.ends[p] for p in range(recorded, there))
    if adopt and there == partitions:
        return
    if any(unread.values()):
        raise ConfigurationError(
            f"{sum(unread.values())} messages of {before.topic} are not decided: pause the "
            "producers, let the workers read to the end, stop them and try again"
            + (_ADDED_BEFORE if there == partitions else "")
        )
    if early:
        raise ConfigurationError(
            f"the added partitions of {before.topic} hold {early} messages" + _ADDED_BEFORE
        )


_ADDED_BEFORE = (
    ". The partitions were added by other means: if all that waits was sent since then, add --adopt"
)


def _next_layout(session: Session, before: Layout, partitions: int) -> Layout:
    """Step 3. The offsets' rows are locked: no batch can be written beside it."""
    offsets.positions(session, before.topic, range(partitions))
    rows = session.execute(
        select(StreamOffset.partition, StreamOffset.next_offset)
        .where(StreamOffset.topic == before.topic)
        .order_by(StreamOffset.partition)
        .with_for_update()
    )
    layout = Layout(
        before.topic, before.generation + 1, {row.partition: row.next_offset for row in rows}
    )
    layouts.record(session, layout)
    session.execute(
        update(StreamOffset)
        .where(StreamOffset.topic == before.topic)
        .values(generation=layout.generation)
    )
    session.execute(delete(Snapshot))
    return layout


def _first_snapshots(settings: Settings, sessions: sessionmaker[Session], layout: Layout) -> None:
    """Step 4."""
    memory = Memory(
        layout.topic,
        share=settings.dead_letter_share,
        consecutive=settings.dead_letter_consecutive,
    )
    with connect_errors(), sessions.begin() as session:
        manifest = session.scalar(select(ModelRow.manifest).where(ModelRow.status == "champion"))
        spec = FeatureSpec.from_dict(manifest["features"]) if manifest else FeatureSpec()
        memory.load(session, layout.bases, spec)
        for partition in layout.bases:
            memory.save(session, partition)
