"""One decision, computed once more for somebody who asks years later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, text
from typer.testing import CliRunner

from fraudwatch.casework.models import LedgerRow
from fraudwatch.cli import app
from fraudwatch.errors import NotFound
from fraudwatch.replay import Replay
from tests.pipeline.worlds import KEY, PARTITIONS, Installation, batches

Install = Callable[[], Installation]
TOPIC = "transactions"


def decided(install: Install) -> Installation:
    """An installation whose worker has decided a stream, with a model from its second batch on."""
    here = install()
    worker = here.worker()
    worker.assign(frozenset(range(PARTITIONS)))
    for number, polled in enumerate(batches(here.trained.messages, np.random.default_rng(1), 400)):
        if number == 1:
            here.register()
            worker.idle()
            worker = here.worker()
            worker.assign(frozenset(range(PARTITIONS)))
        worker.process(polled)
    return here


def test_any_decision_comes_out_equal_and_a_changed_one_does_not(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = decided(install)
    with here.sessions() as session:
        rows = session.scalars(select(LedgerRow).order_by(LedgerRow.partition, LedgerRow.offset))
        all_rows = rows.all()
    alert = next(row for row in reversed(all_rows) if row.reasons)
    chosen = [all_rows[0], all_rows[-1], alert]
    assert (chosen[0].model_id, chosen[1].model_id) == (None, 1)
    for row in chosen:
        with here.sessions() as session:
            one = Replay(session, TOPIC, here.open_model, KEY).decision(row.transaction_id)
        assert one.differences == []
        assert (one.partition, one.offset) == (row.partition, row.offset)
        assert one.recorded == one.computed
        assert np.array(list(one.features.values()), dtype="<f8").tobytes() == row.features
        before = [r for r in all_rows if r.account_id == row.account_id and r.offset < row.offset]
        assert one.earlier == len(before)
    with here.sessions() as session, pytest.raises(NotFound):
        Replay(session, TOPIC, here.open_model, KEY).decision("no such transaction")

    data = tmp_path / "data"
    data.mkdir()
    (data / "models").symlink_to(here.trained.models_dir)
    for name, value in {
        "DATA_DIR": str(data),
        "DATABASE_URL": here.engine.url.render_as_string(False),
        "SECRET_KEY": KEY.decode(),
    }.items():
        monkeypatch.setenv(f"FRAUDWATCH_{name}", value)
    shown = CliRunner().invoke(app, ["replay", alert.transaction_id])
    assert (shown.exit_code, shown.stdout.splitlines()[-1]) == (0, "equal bit for bit")
    for part in (alert.account_id, "amount", "first, SHA-256", "policy"):
        assert part in shown.stdout
    with here.sessions.begin() as session:
        session.execute(text("ALTER TABLE ledger DISABLE TRIGGER ALL"))
        for name in session.scalars(
            text("SELECT relid::regclass::text FROM pg_partition_tree('ledger') WHERE isleaf")
        ):
            session.execute(text(f"ALTER TABLE {name} DISABLE TRIGGER ALL"))
        session.execute(
            text("UPDATE ledger SET risk = risk + 1e-15 WHERE transaction_id = :id"),
            {"id": alert.transaction_id},
        )
    shown = CliRunner().invoke(app, ["replay", alert.transaction_id])
    assert (shown.exit_code, shown.stdout.splitlines()[-1]) == (1, "NOT EQUAL")
    assert shown.stdout.count("DIFFERS") == 1
