"""A small simulated world, a model trained on it, and workers run by hand, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import URL, select, text
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import db, models_registry, outbox
from fraudwatch.casework.models import Alert, Case, LedgerRow, OutboxRow
from fraudwatch.casework.steering import Registered
from fraudwatch.clock import FixedClock
from fraudwatch.detectors import bundle
from fraudwatch.detectors.model import Model
from fraudwatch.detectors.training import TrainingConfig, fit
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.offline import compute_features
from fraudwatch.memory import Memory
from fraudwatch.pipeline import ForwardPath
from fraudwatch.scorers import Scorers
from fraudwatch.settings import load_settings
from streams.files import FilePublisher, FileSource
from streams.partitioner import partitions_of
from streams.simulator.config import WorldConfig
from streams.simulator.live import transaction_messages
from streams.simulator.world import World
from streams.source import Message, Publisher, RecordBatch

START = datetime(2026, 3, 2, tzinfo=UTC)
NOW = START + timedelta(days=40)
KEY = b"k" * 32
PARTITIONS = 2
LIVE = START + timedelta(days=14)
WORLD = World(WorldConfig(seed=7, customers=120))


@dataclass(frozen=True)
class Trained:
    """Messages of a stream, and the bundle of a model trained on what came before them."""

    messages: Sequence[Message]
    models_dir: Path
    sha256: str
    plain_sha256: str  # of a model without the institution's attributes, "plain"
    spec: FeatureSpec


def later_frame() -> pd.DataFrame:
    """The days after the training window: what the tests stream."""
    return WORLD.generate(LIVE, LIVE + timedelta(days=4))


def save_model(frame: pd.DataFrame, spec: FeatureSpec, folder: Path) -> str:
    features = compute_features(frame, spec).values
    split = int(len(features) * 0.7)
    model = fit(
        features[:split],
        features[split:],
        spec,
        seed=1,
        config=TrainingConfig(detectors=("pca", "hbos")),
        name=folder.name,
    )
    return bundle.save(model, folder)


def train(folder: Path) -> Trained:
    frame = WORLD.generate(START, LIVE)
    attributes = tuple(
        name.removeprefix("attributes.")
        for name in frame.columns
        if name.startswith("attributes.") and pd.api.types.is_float_dtype(frame[name].dtype)
    )
    spec = FeatureSpec(attributes=attributes)
    sha256 = save_model(frame, spec, folder / "first")
    plain = save_model(frame, FeatureSpec(), folder / "plain")
    return Trained(transaction_messages(later_frame()), folder, sha256, plain, spec)


def batches(
    messages: Sequence[Message], rng: np.random.Generator, most: int
) -> Iterator[list[RecordBatch]]:
    """The messages as two partitions' batches, cut at random."""
    by_partition: list[list[Message]] = [[] for _ in range(PARTITIONS)]
    keys = [message.key or b"" for message in messages]
    for partition, message in zip(partitions_of(keys, PARTITIONS), messages, strict=True):
        by_partition[partition].append(message)
    at = [0] * PARTITIONS
    while any(at[p] < len(by_partition[p]) for p in range(PARTITIONS)):
        polled = []
        for p in range(PARTITIONS):
            size = int(rng.integers(0, most + 1))
            chosen = by_partition[p][at[p] : at[p] + size]
            if chosen:
                polled.append(batch(p, at[p], chosen))
                at[p] += len(chosen)
        if polled:
            yield polled


def batch(partition: int, first: int, messages: Sequence[Message]) -> RecordBatch:
    n = len(messages)
    return RecordBatch(
        "transactions",
        partition,
        first,
        first + n,
        list(range(first, first + n)),
        [message.key for message in messages],
        [message.value for message in messages],
        [0] * n,
    )


class Installation:
    """A database and a folder of stream files, with workers that are called by hand."""

    def __init__(self, url: URL, folder: Path, trained: Trained, clock: FixedClock) -> None:
        self.engine = db.open_engine(url)
        self.sessions: sessionmaker[Session] = db.session_factory(self.engine)
        self.folder = folder
        self.trained = trained
        self.clock = clock
        self.settings = load_settings(dead_letter_consecutive=100)
        self.publisher = FilePublisher(folder, clock)
        for topic in (self.settings.topic_decisions, self.settings.topic_dead_letters):
            for partition in range(PARTITIONS):
                path = folder / topic / f"partition-{partition}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()

    def register(self, name: str = "first", sha256: str | None = None) -> None:
        """Make the trained model the champion."""
        with self.sessions.begin() as session:
            row = models_registry.register(
                session, name, sha256 or self.trained.sha256, {}, self.clock.now()
            )
            models_registry.promote(session, row.id, "test", self.clock.now())

    def open_model(self, registered: Registered) -> Model:
        return bundle.load(self.trained.models_dir / registered.name, registered.sha256)

    def worker(
        self,
        publisher: Publisher | None = None,
        monotonic: Callable[[], float] = perf_counter,
    ) -> ForwardPath:
        settings = self.settings
        return ForwardPath(
            sessions=self.sessions,
            publisher=publisher or self.publisher,
            memory=Memory(
                settings.topic_transactions,
                share=settings.dead_letter_share,
                consecutive=settings.dead_letter_consecutive,
            ),
            scorers=Scorers(self.open_model),
            settings=settings,
            key=KEY,
            clock=self.clock,
            monotonic=monotonic,
        )

    def ledger(self) -> list[dict[str, Any]]:
        """All that was recorded, in order."""
        with self.sessions() as session:
            rows = session.scalars(
                select(LedgerRow).order_by(LedgerRow.partition, LedgerRow.offset)
            )
            return [
                {column.key: getattr(row, column.key) for column in LedgerRow.__mapper__.columns}
                for row in rows
            ]

    def cases(self) -> list[tuple[object, ...]]:
        """Cases and their alerts, without the ids that the order of writing gives."""
        with self.sessions() as session:
            return [
                tuple(row)
                for row in session.execute(
                    select(
                        Case.account_id,
                        Case.outcome,
                        Case.risk,
                        Case.amount,
                        Case.alert_count,
                        Case.priority,
                        Alert.transaction_id,
                        Alert.rule,
                    )
                    .join(Alert, Alert.case_id == Case.id)
                    .order_by(Case.account_id, Alert.transaction_id)
                )
            ]

    def states(self, worker: ForwardPath) -> list[bytes]:
        return [
            memory.state.dump() for _, memory in sorted(worker.memory.items(), key=lambda i: i[0])
        ]

    def published(self, topic: str) -> list[bytes]:
        """Every message of a topic, partition by partition."""
        source = FileSource(self.folder, topic, "test-reader", max_rows=100_000)
        try:
            source.start(dict.fromkeys(source.changes().assigned, 0))
            return [
                value
                for found in sorted(source.poll(0.1), key=lambda b: b.partition)
                for value in found.values
            ]
        finally:
            source.close()

    def published_outbox(self) -> list[bytes]:
        """What the outbox held, after relaying it to its topics."""
        outbox.drain(self.sessions, self.publisher)
        with self.sessions() as session:
            rows = session.scalars(select(OutboxRow).order_by(OutboxRow.id)).all()
        assert all(row.published_at is not None for row in rows)
        return [row.payload for row in rows]

    def close(self) -> None:
        self.engine.dispose()

    def cut_connections(self) -> None:
        """End every connection of the database, as a restart of the server does."""
        with self.engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
