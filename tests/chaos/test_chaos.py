"""Promise 1 under faults: nothing lost, nothing doubled, the same answers as without any."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.chaos.campaign import Log, run, summary
from tests.chaos.coverage import LONG
from tests.kafka_broker import BrokerMissing, fetch_jars
from tests.parts import skip_or_fail

SEED = int(os.environ.get("CHAOS_SEED", "1"))
SOAK_FAULTS = int(os.environ.get("CHAOS_FAULTS", "1000"))
SOAK_LOG = os.environ.get("CHAOS_LOG", "")


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")


def check(log: Log, count: int) -> None:
    figures = summary(log)
    tell(json.dumps({"seed": SEED, **figures}))
    wrong = {
        number: (entry["found"]["wrong"], entry["crashes"])
        for number, entry in log.done.items()
        if not entry["ok"]
    }
    assert wrong == {}, f"seed {SEED}"
    assert figures["faults"] == count
    assert figures["outcomes"] > 0
    if count >= LONG:
        assert figures["decided_under_faults"] > 0
        assert figures["never_hit"] == []


@pytest.fixture(autouse=True)
def _needs_a_broker() -> None:
    try:
        fetch_jars()
    except BrokerMissing as missing:
        skip_or_fail("kafka", str(missing))


@pytest.mark.kafka
def test_forty_faults_lose_and_double_nothing() -> None:
    check(run(40, SEED, tell, per_round=20, long_freezes=0, file_rounds=(1,)), 40)


@pytest.mark.kafka
@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_a_thousand_faults_lose_and_double_nothing() -> None:
    """`CHAOS_SEED`, `CHAOS_FAULTS`, and `CHAOS_LOG` to go on where a run stopped."""
    log = Path(SOAK_LOG) if SOAK_LOG else None
    check(run(SOAK_FAULTS, SEED, tell, log=log), SOAK_FAULTS)
