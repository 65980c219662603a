"""What benchmarks start: a broker, a database, a model of the simulator's world, messages."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from kafka import KafkaAdminClient
from sqlalchemy import Engine

from fraudwatch.casework import db, models_registry
from fraudwatch.casework.embedded import start_embedded, stop_embedded
from fraudwatch.clock import SystemClock
from fraudwatch.detectors import bundle, training
from fraudwatch.detectors.model import Model
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.offline import compute_features
from fraudwatch.settings import Settings, load_settings
from streams.simulator.config import WorldConfig
from streams.simulator.live import transaction_messages
from streams.simulator.world import World
from streams.source import Message
from tests.kafka_broker import Broker

SEED = 1
START = datetime(2026, 3, 2, tzinfo=UTC)
TRAINING_DAYS = 20
KEY = b"k" * 32


@dataclass(frozen=True)
class Parts:
    """Servers that run, and the settings that name them. Without a broker, streams are files."""

    settings: Settings
    engine: Engine
    broker: Broker | None

    @property
    def bootstrap(self) -> str:
        """The broker's address. Raises `RuntimeError` where there is none."""
        if self.broker is None:
            raise RuntimeError("these parts have no broker")
        return self.broker.bootstrap


@contextmanager
def running(*, kafka: bool = True, **overrides: object) -> Iterator[Parts]:
    """An embedded database and, unless told, a broker, in a temporary folder, for the block."""
    with tempfile.TemporaryDirectory(prefix="fraudwatch-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "data").mkdir()
        stream_url, broker = "", None
        if kafka:
            broker = Broker(folder / "kafka")
            broker.start()
            stack.callback(broker.stop)
            stream_url = f"kafka://{broker.bootstrap}"
        url = start_embedded(folder / "data").set(drivername="postgresql+psycopg")
        stack.callback(stop_embedded, folder / "data")
        engine = db.open_engine(url)
        stack.callback(engine.dispose)
        db.migrate(engine)
        settings = load_settings(
            data_dir=folder / "data",
            database_url=url.render_as_string(hide_password=False),
            stream_url=stream_url,
            secret_key=KEY.decode(),
            **overrides,
        )
        yield Parts(settings, engine, broker)


def make_champion(parts: Parts, customers: int) -> World:
    """Train a model without labels on the world's first days and let it decide."""
    world, model = trained(customers)
    promote(parts, model)
    return world


def trained(customers: int, hot: str = "") -> tuple[World, Model]:
    """A world, and a model of its first days, without labels.

    If `hot` names an account, every third payment is its, so that to the model it is usual.
    """
    world = World(WorldConfig(seed=SEED, customers=customers))
    frame = world.generate(START, START + timedelta(days=TRAINING_DAYS))
    if hot:
        frame.loc[frame.index[::3], "account_id"] = hot
    spec = FeatureSpec()
    features = compute_features(frame, spec).values
    split = int(len(features) * 0.7)
    return world, training.fit(features[:split], features[split:], spec, seed=SEED, name="first")


def promote(parts: Parts, model: Model) -> None:
    """Let the model decide."""
    folder = parts.settings.models_dir / "first"
    folder.parent.mkdir(parents=True, exist_ok=True)
    sha256 = bundle.save(model, folder)
    now = SystemClock().now()
    with db.session_factory(parts.engine).begin() as session:
        row = models_registry.register(session, "first", sha256, {}, now)
        models_registry.promote(session, row.id, "benchmark", now)


def stream_of(world: World, rows: int) -> list[Message]:
    """So many messages of the days after the training window, in order of time."""
    return list(islice(payments(world), rows))


def payments(world: World) -> Iterator[Message]:
    """Messages of the days after the training window, in order of time, without an end."""
    begin = START + timedelta(days=TRAINING_DAYS)
    while True:
        end = begin + timedelta(days=1)
        yield from transaction_messages(world.generate(begin, end))
        begin = end


def make_topics(bootstrap: str, names: Sequence[str], partitions: int) -> None:
    """Topics besides those of the settings."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.create_topics(
            {name: {"num_partitions": partitions, "replication_factor": 1} for name in names},
            wait_for_metadata=True,
        )


def set_heap_aside() -> None:
    """Let the garbage collector pass over what the benchmark itself holds.

    A few hundred thousand messages that wait for their round doubled what a bare `poll()` seemed to
    cost, since its records make the collector look at all of them again and again.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
