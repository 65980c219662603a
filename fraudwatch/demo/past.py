"""The demo's past: a model is trained on it, and the stream has seen it before it goes live.

Run by `fraudwatch demo` as a process of its own (``python -m fraudwatch.demo.past``), because the
detectors take seconds to import and are needed at the first start only. What a start has done, the
next one skips: it goes on where one that was killed has stopped.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from datetime import datetime, timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import db, models_registry, profile_store
from fraudwatch.clock import Clock, SystemClock
from fraudwatch.demo.plan import (
    CUSTOMERS,
    PAST_DAYS,
    PLAN,
    PREPARED,
    SEED,
    SIMULATOR_STATE,
    TRAINING_DAYS,
    Moments,
    plan,
)
from fraudwatch.demo.supervisor import follow_parent
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import from_frame
from fraudwatch.features.profiles import build_profiles, day_table
from fraudwatch.learning import Workshop
from fraudwatch.settings import Settings, load_settings
from streams.carriers import open_publisher
from streams.simulator import World, WorldConfig
from streams.simulator.live import Progress as StreamProgress
from streams.simulator.live import stream_live

_PUBLISHED_AT_ONCE = timedelta(days=1)


def train_first_model(
    settings: Settings,
    sessions: sessionmaker[Session],
    world: World,
    moments: Moments,
    clock: Clock,
    tell: Callable[[str, float], None],
) -> None:
    """Train on the simulated past, without labels, and let the model decide."""
    history = world.generate(
        moments.training_begins,
        moments.past_begins,
        progress=lambda done, of: tell(f"simulating {TRAINING_DAYS} days", done / of),
    ).drop(columns="label")
    # Merchants as they are known when the stream begins; the worker takes over from there.
    tables = [day_table(from_frame(history, FeatureSpec()))]
    with sessions.begin() as session:
        profile_store.save(session, build_profiles(moments.past_begins.date(), tables))
    workshop = Workshop(sessions, settings, clock, "demo", seed=SEED, days=TRAINING_DAYS)
    workshop.train_from_frame(history, progress=tell)


class _PastClock:
    """Says twice that the past ends: `stream_live` then takes all up to there as due."""

    def __init__(self, past_ends: datetime) -> None:
        self._moments = [past_ends - timedelta(seconds=1)]
        self._past_ends = past_ends

    def now(self) -> datetime:
        return self._moments.pop() if self._moments else self._past_ends


def publish_past(
    settings: Settings, world: World, moments: Moments, tell: Callable[[str, float], None]
) -> None:
    """Publish the days before the stream goes live, as fast as they can be written."""
    reached = StreamProgress.load(settings.data_dir / SIMULATOR_STATE)
    position = reached.position if reached else moments.past_begins
    whole = moments.live_begins - moments.past_begins

    def report(progress: StreamProgress) -> None:
        nonlocal position
        position = progress.position
        tell(f"publishing {PAST_DAYS} days", (position - moments.past_begins) / whole)

    if position >= moments.live_begins:
        return
    publisher = open_publisher(settings, SystemClock())
    try:
        stream_live(
            world,
            moments.past_begins,
            speed=whole.total_seconds() + 1,
            clock=_PastClock(moments.live_begins),
            sleep=lambda _: None,
            stop=lambda: position >= moments.live_begins,
            publisher=publisher,
            transactions_topic=settings.topic_transactions,
            labels_topic=settings.topic_labels,
            state_file=settings.data_dir / SIMULATOR_STATE,
            stretch=_PUBLISHED_AT_ONCE,
            report=report,
        )
    finally:
        publisher.close()


def main() -> None:
    """Do what is not done yet, with a progress bar."""
    settings = load_settings()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    follow_parent()
    clock = SystemClock()
    sessions = db.open_sessions(settings)
    world = World(WorldConfig(seed=SEED, customers=CUSTOMERS))
    moments = plan(settings.data_dir / PLAN, clock.now())
    columns = (
        TextColumn("  {task.description:<28}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console()) as bars:
        first_model, past = (
            bars.add_task(what, total=1.0) for what in ("first model", "simulated past")
        )

        with sessions() as session:
            champion = models_registry.champion(session)
        if champion is None:
            stages = {"simulating": 0.0, "computing": 0.1, "": 0.25}

            def training_step(stage: str, share: float) -> None:
                word = stage.split(maxsplit=1)[0]
                begin = stages.get(word, stages[""])
                end = min((s for s in stages.values() if s > begin), default=1.0)
                done = begin + share * (end - begin)
                bars.update(first_model, description=stage, completed=done)

            train_first_model(settings, sessions, world, moments, clock, training_step)
        bars.update(first_model, description="first model trained", completed=1.0)

        publish_past(
            settings,
            world,
            moments,
            lambda stage, share: bars.update(past, description=stage, completed=share),
        )
        bars.update(past, description="simulated past published", completed=1.0)
    (settings.data_dir / PREPARED).touch()


if __name__ == "__main__":
    main()
