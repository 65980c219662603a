"""What goes through a trial: a simulated bank's payments, with repeats, conflicts and garbage."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np

from fraudwatch.detectors import bundle
from fraudwatch.domain.transaction import decode, encode
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import from_transactions
from fraudwatch.features.offline import compute_features
from fraudwatch.features.profiles import MerchantProfiles, build_profiles, day_table
from fraudwatch.warm_up import warm_up as worker_warm_up
from fraudwatch.warm_up import warm_up_model
from streams.mapping import frame_to_transactions
from streams.simulator.config import WorldConfig
from streams.simulator.live import label_message, transaction_messages
from streams.simulator.world import World
from streams.source import Message
from tests.pipeline.worlds import save_model

# Long ago enough that no clock of a trial, wrong as it may be, is before it.
START = datetime(2025, 1, 6, tzinfo=UTC)
LIVE = START + timedelta(days=14)
STRETCH = timedelta(days=4)
NEVER_OLD = "2199-12-31"
"""The profiles' version: no event day is after it, so workers make no newer ones. Which version
a transaction meets depends on when it comes, and would differ between two runs."""
WORLD = World(WorldConfig(seed=11, customers=80))
MODEL = "chaos"

REMEMBERED = 300
GARBAGE, REPEATED, CHANGED, CHARGED = 0.02, 0.03, 0.01, 0.05


@dataclass(frozen=True)
class Trained:
    """A model bundle in `models_dir`, and the profiles that transactions meet."""

    models_dir: Path
    sha256: str
    spec: FeatureSpec
    profiles: MerchantProfiles


def train(models_dir: Path) -> Trained:
    """A small model of the two weeks before the traffic begins."""
    frame = WORLD.generate(START, LIVE)
    spec = FeatureSpec()
    sha256 = save_model(frame, spec, models_dir / MODEL)
    # Once here, and not in each worker at the same time.
    warm_up_model(bundle.load(models_dir / MODEL, sha256))
    table = day_table(from_transactions(list(frame_to_transactions(frame)), spec))
    profiles = build_profiles(LIVE.date(), [table])
    return Trained(models_dir, sha256, spec, dataclasses.replace(profiles, version=NEVER_OLD))


def warm_up() -> None:
    """Compile what a worker needs, so that forks of this process have it."""
    worker_warm_up()
    features = compute_features(WORLD.generate(START, START + timedelta(days=2)), FeatureSpec())
    assert np.isfinite(features.values).any()


@dataclass(frozen=True)
class Chunk:
    """Messages of the two input topics, sent together."""

    transactions: list[Message]
    labels: list[Message]


def traffic(seed: str, rows: int) -> Iterator[Chunk]:
    """Chunks of about that many transactions without end, the same for each seed.

    A message may be repeated or contradicted at once, or `REMEMBERED` messages later. A repeat
    comes under its own account's key, so that it lands in the partition of the first: which of two
    partitions is read first would be a matter of chance.
    """
    rng = random.Random(seed)
    payments = _payments()
    past: deque[Message] = deque(maxlen=REMEMBERED)
    while True:
        yield _with_trouble(list(itertools.islice(payments, rows)), past, rng)


def _payments() -> Iterator[Message]:
    start = LIVE
    while True:
        yield from transaction_messages(WORLD.generate(start, start + STRETCH))
        start += STRETCH


def _with_trouble(messages: list[Message], past: deque[Message], rng: random.Random) -> Chunk:
    transactions, labels = [], []
    for message in messages:
        transactions.append(message)
        past.append(message)
        earlier = rng.choice(past)
        if rng.random() < REPEATED:
            transactions.append(earlier)
        if rng.random() < CHANGED:
            transactions.append(_changed(earlier))
        if rng.random() < GARBAGE:
            transactions.append(Message(message.key, rng.randbytes(rng.randrange(1, 60))))
        if rng.random() < CHARGED:
            transaction = decode(message.value, now=datetime.now(UTC))
            known_at = transaction.event_time + timedelta(days=5)
            labels.append(label_message(transaction.transaction_id, known_at))
            if rng.random() < 0.2:
                labels.append(Message(labels[-1].key, b'{"fraud": "perhaps"}'))
    return Chunk(transactions, labels)


def _changed(message: Message) -> Message:
    transaction = decode(message.value, now=datetime.now(UTC))
    return Message(message.key, encode(msgspec.structs.replace(transaction, merchant_id="other")))
