"""Every decision can be computed once more from the ledger, and a changed one is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from fraudwatch import cli
from fraudwatch.casework import deciders
from fraudwatch.casework.models import ModelRow
from fraudwatch.errors import Fenced
from fraudwatch.pipeline import ForwardPath
from fraudwatch.profile_keeper import refresh_profiles
from fraudwatch.replay import Replay, Replayed
from streams.source import RecordBatch
from tests.pipeline.worlds import KEY, NOW, PARTITIONS, Installation, batches

Install = Callable[[], Installation]
ALL = frozenset(range(PARTITIONS))
SWITCHES = 6


def replayed(here: Installation) -> Replayed:
    with here.sessions() as session:
        return Replay(session, "transactions", here.open_model, KEY).run()


def switch(here: Installation, number: int) -> None:
    """Something else decides from the next batch on."""
    with here.sessions.begin() as session:
        if number == 1:
            here.register()
        elif number == 2:
            session.execute(text("UPDATE policies SET status = 'retired'"))
            session.execute(
                text(
                    "INSERT INTO policies (status, review_from, high_risk_from, no_history_amount,"
                    " no_history_count, blind_spot_rate, comment, proposed_at)"
                    " VALUES ('active', 0.9, 0.97, 50, 5, 0.05, 'stricter', now())"
                )
            )
        elif number == 3:
            assert refresh_profiles(session, "transactions", NOW)
        elif number == 4:
            session.add(
                ModelRow(
                    name="first/../first",
                    sha256=here.trained.sha256,
                    status="challenger",
                    manifest={},
                    created_at=NOW,
                )
            )
        elif number == 5:
            session.execute(text("UPDATE models SET status = 'retired'"))
        elif number == 6:
            here.register("plain", here.trained.plain_sha256)


def process(worker: ForwardPath, polled: list[RecordBatch]) -> None:
    """As the runner does."""
    try:
        worker.process(polled)
    except Fenced as fenced:
        worker.revoke(fenced.partitions)
        worker.assign(fenced.partitions)
        worker.process(polled)


def switched_stream(here: Installation, seed: int) -> list[int]:
    """A stream in which everything that decides changes, one after the other.

    Returns at how many messages of partition 0 each change took effect.
    """
    moment = [0.0]
    worker = here.worker(monotonic=lambda: moment[0])
    worker.assign(ALL)
    polled = list(batches(here.trained.messages, np.random.default_rng(seed), 60))
    every = len(polled) // (SWITCHES + 1)
    effective = [0]
    for number, found in enumerate(polled):
        if number and number % every == 0 and number // every <= SWITCHES:
            switch(here, number // every)
            moment[0] += 2
            effective.append(worker.memory[0].next_offset)
        process(worker, found)
    return effective


def test_switches_take_effect_at_recorded_offsets_and_replay_finds_the_same(
    install: Install,
) -> None:
    """Model, policy, profiles and challenger change in mid-stream; attributes are features."""
    here = install()
    effective = switched_stream(here, 1)
    rows = here.ledger()
    found = replayed(here)
    assert (found.rows, found.different, found.first) == (len(rows), 0, ())
    with here.sessions() as session:
        switches = deciders.of_partition(session, 0)
    assert [s.from_offset for s in switches] == effective
    first = [row for row in rows if row["partition"] == 0]
    for s, until in zip(switches, [*effective[1:], first[-1]["offset"] + 1], strict=True):
        decided = {
            (r["policy_id"], r["model_id"], r["challenger_id"], r["profile_version"])
            for r in first
            if s.from_offset <= r["offset"] < until
        }
        d = s.deciding
        assert decided == {(d.policy_id, d.model_id, d.challenger_id, d.profile_version)}
    assert len({row["features_version"] for row in rows}) == 2
    assert len([row for row in rows if row["reasons"]]) > 50


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ("risk = risk + 1e-15", "risk"),
        ("outcome = 1 - outcome", "outcome"),
        ("features = set_byte(features, 0, get_byte(features, 0) # 1)", "features"),
        ("reasons = jsonb_set(reasons, '{0,normal_low}', '-0.125')", "reasons"),
    ],
)
def test_a_decision_that_was_changed_is_found(install: Install, change: str, column: str) -> None:
    """By its last bit, with its place and both values."""
    here = install()
    here.register()
    worker = here.worker()
    worker.assign(ALL)
    for found in list(batches(here.trained.messages[:400], np.random.default_rng(1), 200)):
        worker.process(found)
    assert replayed(here).ok
    chosen = next(r for r in here.ledger() if r["reasons"] and r["outcome"] == 1)
    with here.sessions.begin() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(
            text(f'UPDATE ledger SET {change} WHERE partition = :p AND "offset" = :o'),
            {"p": chosen["partition"], "o": chosen["offset"]},
        )
    after = replayed(here)
    assert (after.different, len(after.first)) == (1, 1)
    difference = after.first[0]
    assert (difference.partition, difference.offset) == (chosen["partition"], chosen["offset"])
    assert difference.column == column
    assert difference.computed == chosen[column] != difference.recorded


def test_the_command_says_no_with_exit_code_1(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = install()
    here.register()
    worker = here.worker()
    worker.assign(ALL)
    for found in list(batches(here.trained.messages[:200], np.random.default_rng(1), 200)):
        worker.process(found)
    (tmp_path / "models").symlink_to(here.trained.models_dir)
    monkeypatch.setenv("FRAUDWATCH_DATA_DIR", str(tmp_path))
    monkeypatch.setenv(
        "FRAUDWATCH_DATABASE_URL", here.engine.url.render_as_string(hide_password=False)
    )
    monkeypatch.setenv("FRAUDWATCH_SECRET_KEY", KEY.decode())
    said = CliRunner().invoke(cli.app, ["replay"])
    assert (said.exit_code, "200 decisions computed again, 0 differ; ok" in said.output) == (
        0,
        True,
    )
    with here.sessions.begin() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text("UPDATE ledger SET rule = 3"))
    said = CliRunner().invoke(cli.app, ["replay", "--partition", "1", "--most", "2"])
    assert said.exit_code == 1
    assert "NOT OK" in said.output
