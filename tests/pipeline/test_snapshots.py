"""Snapshots in parts: each stands at its own offset, and any of them may be damaged or missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import func, select, text

from fraudwatch import memory as memories
from fraudwatch.casework.models import Snapshot
from fraudwatch.casework.snapshots import KEPT, PARTS
from fraudwatch.pipeline import ForwardPath
from fraudwatch.telemetry import REGISTRY
from tests.pipeline.worlds import PARTITIONS, Installation, batches

Install = Callable[[], Installation]
ALL = frozenset(range(PARTITIONS))


@pytest.fixture
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the partitions had many accounts: a part or two are written at a time."""
    monkeypatch.setattr(memories, "_TURN_ACCOUNTS", 2)


def worked(here: Installation, rows: int) -> ForwardPath:
    """A worker that took all messages in, writing snapshots in turn on the way."""
    worker = here.worker()
    worker.assign(ALL)
    for found in batches(here.trained.messages, np.random.default_rng(5), 60):
        worker.process(found)
        for partition, parts in worker.memory.due(rows).items():
            with here.sessions.begin() as session:
                worker.memory.save(session, partition, parts)
    return worker


def offsets_of(here: Installation, partition: int) -> dict[int, list[int]]:
    with here.sessions() as session:
        found = session.execute(
            select(Snapshot.part, Snapshot.next_offset)
            .where(Snapshot.partition == partition)
            .order_by(Snapshot.part, Snapshot.next_offset.desc())
        ).all()
    return {part: [row.next_offset for row in found if row.part == part] for part, _ in found}


@pytest.mark.usefixtures("few_at_a_time")
def test_parts_at_different_offsets_give_the_whole_past(install: Install) -> None:
    """Rows join the parts that do not know of them yet, and no others."""
    here = install()
    worker = worked(here, rows=300)
    stands = offsets_of(here, 0)
    assert len({offsets[0] for offsets in stands.values()}) > PARTS // 4
    assert all(len(offsets) <= KEPT for offsets in stands.values())
    again = here.worker()
    again.assign(ALL)
    assert here.states(again) == here.states(worker)
    for partition, held in again.memory.items():
        known = worker.memory[partition]
        np.testing.assert_array_equal(held.part_rows, known.part_rows)
        np.testing.assert_array_equal(held.part_offsets, known.part_offsets)


@pytest.mark.usefixtures("few_at_a_time")
@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM snapshots WHERE part % 3 = 0",
        "DELETE FROM snapshots WHERE part = 7",
        "UPDATE snapshots SET sha256 = repeat('0', 64) WHERE part % 2 = 0",
        "UPDATE snapshots SET data = substr(data, 1, 60), sha256 = encode(sha256(substr(data, 1,"
        " 60)), 'hex') WHERE part % 2 = 1",
        "UPDATE snapshots SET data = data || 'x' WHERE next_offset ="
        " (SELECT max(next_offset) FROM snapshots t"
        "  WHERE t.partition = snapshots.partition AND t.part = snapshots.part)",
        "UPDATE snapshots SET features_version = 'other' WHERE part % 4 = 1",
        "UPDATE snapshots SET parts = 16 WHERE part < 16",
    ],
)
def test_damaged_and_missing_parts_are_made_up_for(install: Install, damage: str) -> None:
    """The part before, or the ledger: the state is the same in the end."""
    here = install()
    worker = worked(here, rows=300)
    with here.sessions.begin() as session:
        session.execute(text(damage))
    again = here.worker()
    again.assign(ALL)
    assert here.states(again) == here.states(worker)


@pytest.mark.usefixtures("few_at_a_time")
def test_a_turn_is_small_and_every_part_has_one(install: Install) -> None:
    """However many accounts there are, a worker never stops for more than a part or two; and no
    part waits longer than the setting says."""
    here = install()
    worker = here.worker()
    worker.assign(ALL)
    rows = 320
    for found in batches(here.trained.messages, np.random.default_rng(5), 10):
        worker.process(found)
        for partition, turn in worker.memory.due(rows).items():
            held = worker.memory[partition]
            assert 1 <= len(turn) <= max(1, 2 * PARTS // max(1, len(held.state)))
            longest = held.part_rows[turn].min()
            assert longest == np.sort(held.part_rows)[-len(turn) :].min()
            with here.sessions.begin() as session:
                worker.memory.save(session, partition, turn)
    for partition in ALL:
        held = worker.memory[partition]
        assert held.rows_since_snapshot < max(rows, len(held.state)) + 10 * PARTS


def test_a_stop_leaves_everything_in_snapshots_and_small_partitions_are_written_whole(
    install: Install,
) -> None:
    here = install()
    worker = worked(here, rows=300)
    assert {len(set(map(tuple, offsets_of(here, p).values()))) for p in ALL} == {1}
    worker.close()
    assert worker.memory.unsaved() == {}
    with here.sessions() as session:
        newest = session.execute(
            select(Snapshot.partition, func.max(Snapshot.next_offset)).group_by(Snapshot.partition)
        ).all()
    assert dict(newest) == {p: m.next_offset for p, m in worker.memory.items()}


def test_how_old_snapshots_are_is_told(install: Install) -> None:
    here = install()
    worker = worked(here, rows=300)
    held = worker.memory[0]
    worker.memory.due(10**9)

    def told(name: str) -> float | None:
        return REGISTRY.get_sample_value(f"fraudwatch_snapshot_{name}", {"partition": "0"})

    assert told("behind_rows") == held.rows_since_snapshot > 0
    assert told("offset") == held.next_offset - held.rows_since_snapshot
    assert told("timestamp_seconds") == held.part_written.min() > 0
    worker.close()
    assert told("behind_rows") == 0
    assert told("offset") == held.next_offset
