"""When what happens in the demo's world.

::

    ├── 60 days: trained on ──┬── 14 days: published at once ──┬── 7 days, 60 times as fast ─► now
    training begins           past begins                      live begins

The live stream starts a week ago so that there is much to see and it never passes the clock: after
some three hours it has caught up, and goes on in real time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

SEED = 1
CUSTOMERS = 500
SPEED = 60
LIVE_DAYS = 7
PAST_DAYS = 14
TRAINING_DAYS = 60

# Files in the data folder.
PLAN = "plan.json"
PREPARED = "past-ready"
SIMULATOR_STATE = "simulator.json"


@dataclass(frozen=True, slots=True)
class Moments:
    """The moments above."""

    live_begins: datetime

    @property
    def past_begins(self) -> datetime:
        return self.live_begins - timedelta(days=PAST_DAYS)

    @property
    def training_begins(self) -> datetime:
        return self.past_begins - timedelta(days=TRAINING_DAYS)


def plan(file: Path, now: datetime) -> Moments:
    """The plan that the first start made and wrote to the file."""
    if file.exists():
        return Moments(datetime.fromisoformat(json.loads(file.read_text())["live_begins"]))
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC)
    made = Moments(midnight - timedelta(days=LIVE_DAYS))
    file.write_text(json.dumps({"live_begins": made.live_begins.isoformat()}))
    return made
