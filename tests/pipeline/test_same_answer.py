"""Promise 2: batches, restarts and snapshots change no score, reason, decision or state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import select, text

from fraudwatch.casework.models import LedgerRow, ModelRow, Snapshot
from fraudwatch.errors import Fenced
from fraudwatch.features.offline import compute_features
from tests.pipeline.worlds import NOW, PARTITIONS, Installation, batch, batches, later_frame

Install = Callable[[], Installation]
ALL = frozenset(range(PARTITIONS))


@pytest.mark.parametrize(("seed", "most"), [(2, 1), (3, 17), (4, 2000)])
def test_batches_and_restarts_change_nothing(install: Install, seed: int, most: int) -> None:
    here, reference = install(), install()
    for installation in (here, reference):
        installation.register()
    messages = here.trained.messages if most > 1 else here.trained.messages[:250]
    rng = np.random.default_rng(seed)
    worker = here.worker()
    worker.assign(ALL)
    for found in batches(messages, rng, most):
        if rng.random() < 0.1:
            if rng.random() < 0.5:
                worker.close()
            worker = here.worker()
            worker.assign(ALL)
        worker.process(found)

    other = reference.worker()
    other.assign(ALL)
    for found in batches(messages, np.random.default_rng(99), 700):
        other.process(found)
    assert here.ledger() == reference.ledger()
    assert here.cases() == reference.cases()
    assert here.states(worker) == reference.states(other)


def test_features_on_the_row_equal_those_computed_offline(install: Install) -> None:
    """Training reads features from files: they must be the ones that decided."""
    here = install()
    here.register()
    worker = here.worker()
    worker.assign(ALL)
    for found in batches(here.trained.messages, np.random.default_rng(5), 300):
        worker.process(found)
    frame = later_frame()
    offline = compute_features(frame, here.trained.spec)
    # No profiles were stored here: those columns are compared where profiles are built.
    columns = [i for i, n in enumerate(here.trained.spec.names) if "merchant_" not in n]
    with here.sessions() as session:
        stored = {
            row.transaction_id: np.frombuffer(row.features, dtype="<f8")
            for row in session.execute(select(LedgerRow.transaction_id, LedgerRow.features))
        }
    live = np.array([stored[t] for t in frame["transaction_id"]])
    np.testing.assert_array_equal(live[:, columns], offline.values[:, columns])


def test_a_restart_reads_the_snapshot_instead_of_the_ledger(install: Install) -> None:
    here = install()
    worker = here.worker()
    worker.assign(ALL)
    for found in batches(here.trained.messages, np.random.default_rng(5), 300):
        worker.process(found)
    worker.close()
    again = here.worker()
    again.assign(ALL)
    assert all(memory.rows_since_snapshot == 0 for _, memory in again.memory.items())
    assert here.states(again) == here.states(worker)


@pytest.mark.parametrize("damage", ["data = data || 'x'", "sha256 = repeat('0', 64)"])
def test_a_damaged_snapshot_is_found_and_the_past_replayed(install: Install, damage: str) -> None:
    here = install()
    worker = here.worker()
    worker.assign(ALL)
    polled = list(batches(here.trained.messages, np.random.default_rng(5), 300))
    for found in polled[: len(polled) // 2]:
        worker.process(found)
    worker.close()
    for found in polled[len(polled) // 2 :]:
        worker.process(found)
    worker.close()
    with here.sessions.begin() as session:
        assert len(session.scalars(select(Snapshot.next_offset)).all()) > PARTITIONS
        session.execute(
            text(
                f"UPDATE snapshots s SET {damage} WHERE next_offset ="
                " (SELECT max(next_offset) FROM snapshots t WHERE t.partition = s.partition)"
            )
        )
    again = here.worker()
    again.assign(ALL)
    assert all(memory.rows_since_snapshot > 0 for _, memory in again.memory.items())
    assert here.states(again) == here.states(worker)


def test_nothing_is_cleared_without_a_model(install: Install) -> None:
    here = install()
    worker = here.worker()
    worker.assign(ALL)
    worker.process([batch(0, 0, here.trained.messages[:20])])
    assert {(row["outcome"], row["rule"], row["model_id"]) for row in here.ledger()} == {
        (1, 1, None)
    }


def test_a_bundle_that_was_changed_decides_nothing(install: Install) -> None:
    here = install()
    here.register(sha256="0" * 64)
    worker = here.worker()
    worker.assign(ALL)
    worker.process([batch(0, 0, here.trained.messages[:20])])
    assert {(row["outcome"], row["rule"], row["model_id"]) for row in here.ledger()} == {
        (1, 1, None)
    }


def test_a_bundle_put_right_decides_again(install: Install) -> None:
    here = install()
    here.register("plain", here.trained.plain_sha256)
    manifest = here.trained.models_dir / "plain" / "manifest.json"
    good = manifest.read_bytes()
    moment = [0.0]
    worker = here.worker(monotonic=lambda: moment[0])
    try:
        manifest.write_bytes(good + b" ")
        worker.assign(ALL)
        worker.process([batch(0, 0, here.trained.messages[:10])])
    finally:
        manifest.write_bytes(good)
    moment[0] += 2
    worker.process([batch(0, 10, here.trained.messages[10:20])])
    models = [row["model_id"] is None for row in here.ledger()]
    assert models == [True] * 10 + [False] * 10


def test_a_promoted_model_decides_from_the_next_batch_on(install: Install) -> None:
    here = install()
    moment = [0.0]
    worker = here.worker(monotonic=lambda: moment[0])
    worker.assign(ALL)
    worker.process([batch(0, 0, here.trained.messages[:10])])
    here.register("plain", here.trained.plain_sha256)
    moment[0] += 2
    worker.process([batch(0, 10, here.trained.messages[10:20])])
    models = [row["model_id"] for row in here.ledger()]
    assert models[:10] == [None] * 10
    assert models[10:] == [models[10]] * 10
    assert models[10] is not None


def test_a_model_with_other_features_finds_the_same_past(install: Install) -> None:
    """Memory made for other features would be wrong: it is loaded anew, from the ledger."""
    here = install()
    here.register()
    moment = [0.0]
    worker = here.worker(monotonic=lambda: moment[0])
    worker.assign(ALL)
    worker.process([batch(0, 0, here.trained.messages[:300])])
    here.register("plain", here.trained.plain_sha256)
    moment[0] += 2
    following = [batch(0, 300, here.trained.messages[300:400])]
    with pytest.raises(Fenced):
        worker.process(following)
    assert worker.assign(frozenset({0})) == {0: 300}
    worker.process(following)

    again = here.worker()
    again.assign(ALL)
    assert here.states(again)[0] == here.states(worker)[0]
    assert len({row["features_version"] for row in here.ledger()}) == 2


def test_a_challenger_scores_and_decides_nothing(install: Install) -> None:
    here, reference = install(), install()
    for installation in (here, reference):
        installation.register()
    with here.sessions.begin() as session:
        champion = session.scalars(select(ModelRow)).one()
        session.add(
            ModelRow(
                name="first/../first",
                sha256=champion.sha256,
                status="challenger",
                manifest={},
                created_at=NOW,
            )
        )
    for installation in (here, reference):
        worker = installation.worker()
        worker.assign(ALL)
        worker.process([batch(0, 0, here.trained.messages[:500])])
    same = [name for name in here.ledger()[0] if name not in ("challenger_risk", "challenger_id")]
    mine, theirs = here.ledger(), reference.ledger()
    assert [[r[n] for n in same] for r in mine] == [[r[n] for n in same] for r in theirs]
    assert all(row["challenger_risk"] == row["risk"] for row in mine)
    assert all(row["challenger_risk"] is None for row in theirs)


def test_a_new_policy_is_named_on_every_row_it_decides(install: Install) -> None:
    here = install()
    here.register()
    with here.sessions.begin() as session:
        session.execute(text("UPDATE policies SET review_from = 0.5, high_risk_from = 0.6"))
    worker = here.worker()
    worker.assign(ALL)
    worker.process([batch(0, 0, here.trained.messages[:500])])
    rows = here.ledger()
    assert {row["policy_id"] for row in rows} == {1}
    by_risk = [row for row in rows if row["rule"] == 0]
    assert {row["outcome"] for row in by_risk} == {0, 1, 2}
    assert all(row["outcome"] == (row["risk"] >= 0.5) + (row["risk"] >= 0.6) for row in by_risk)
