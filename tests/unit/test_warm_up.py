"""A worker compiles before its first batch, and nothing after it."""

from __future__ import annotations

import subprocess
import sys

from fraudwatch.settings import Settings
from streams.kafka_publisher import TIMEOUT_SECONDS

WAY = """
import sys
from datetime import UTC, datetime, timedelta
from numba.core.dispatcher import Dispatcher
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import from_transactions
from fraudwatch.features.profiles import EMPTY_PROFILES
from fraudwatch.features.state import AccountState
from fraudwatch.warm_up import warm_up
from streams.mapping import frame_to_transactions
from streams.simulator.config import WorldConfig
from streams.simulator.world import World
import numpy as np

def compiled():
    found = {
        id(thing): (thing.py_func.__module__, thing.__name__, len(thing.signatures))
        for name, module in list(sys.modules.items())
        if name.startswith(("fraudwatch", "streams"))
        for thing in vars(module).values()
        if isinstance(thing, Dispatcher)
    }
    return set(found.values())

warm_up()
before = compiled()
start = datetime(2026, 1, 1, tzinfo=UTC)
frame = World(WorldConfig(seed=1, customers=30)).generate(start, start + timedelta(days=30))
rows = list(frame_to_transactions(frame))
spec = FeatureSpec()
state = AccountState(spec)
half = len(rows) // 2
state.absorb(from_transactions(rows[:half], spec))
state.extend(from_transactions(rows[half:], spec), EMPTY_PROFILES)
state.normal_range(np.arange(3))
again = AccountState(spec)
for part in range(4):
    again.add(state.dump(part, 4))
again.extend(from_transactions(rows[:1], spec), EMPTY_PROFILES)
assert before
print(sorted(compiled() - before))
"""


def test_nothing_on_the_way_of_accounts_is_compiled_after_the_warm_up() -> None:
    """Writing the first snapshot once compiled for half a minute on a loaded machine: the watchdog
    took it for a hang and ended the worker."""
    done = subprocess.run([sys.executable, "-c", WAY], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_silent_broker_is_given_up_before_the_watchdog_wakes() -> None:
    """A batch may wait for the broker twice (what is left from before, then its own decisions)
    without a sign of life. It once waited for half a minute: when a broker was frozen for a minute,
    workers ended instead of waiting."""
    assert Settings.model_fields["watchdog_seconds"].default > 2 * TIMEOUT_SECONDS
