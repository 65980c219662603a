"""A world as a stream: its transactions as their time comes, and the chargebacks when known."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import xxhash

from fraudwatch.clock import Clock
from fraudwatch.domain.label import PRECEDENCE, Label, LabelSource, encode_label
from fraudwatch.domain.transaction import encode
from fraudwatch.errors import ConfigurationError, Invalid, Unavailable
from streams.mapping import frame_to_transactions
from streams.simulator.world import World
from streams.source import Message, Publisher

TICK_SECONDS = 1.0
"""How long the stream sleeps when it has caught up, or when the carrier is away."""

STRETCH = timedelta(hours=6)
"""Most simulated time published at once; between two stretches a stop is obeyed."""

_MICROSECOND = timedelta(microseconds=1)
_Pending = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a live stream has come: all transactions up to `position` are published, and all
    chargebacks known up to then; `pending` are those to come, as (known_at, transaction_id).

    `world` identifies the configuration: another world must not go on from here.
    """

    world: str
    position: datetime
    pending: list[_Pending] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        body = {
            "world": self.world,
            "position": self.position.isoformat(),
            "pending": [[known_at.isoformat(), name] for known_at, name in self.pending],
        }
        draft = path.with_name(path.name + ".new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(body, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> Progress | None:
        """The progress in the file, None if there is no file. Raises `ConfigurationError`."""
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                world=body["world"],
                position=datetime.fromisoformat(body["position"]),
                pending=[(datetime.fromisoformat(at), str(name)) for at, name in body["pending"]],
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path} is no progress of a simulated stream; remove it to start anew"
            ) from error


def stream_live(
    world: World,
    start: datetime,
    *,
    speed: float,
    clock: Clock,
    sleep: Callable[[float], None],
    stop: Callable[[], bool],
    publisher: Publisher,
    transactions_topic: str,
    labels_topic: str,
    state_file: Path,
    stretch: timedelta = STRETCH,
    report: Callable[[Progress], None] | None = None,
) -> Progress:
    """Publish the world after `start` until `stop()`; return how far it came.

    Events go out in the order of their time, at `speed` times real time until they have caught up
    with the clock, then in real time; never an event of the future. Transactions are keyed by
    account, labels by transaction id. Labels follow when their `known_at` has come; they exist
    only for transactions of this stream, not for the history up to `start`.

    The progress is written to `state_file` after each publication, so a later call goes on from
    there and ignores `start`; after a kill the last stretch comes again with the same transaction
    ids and nothing is left out. While the carrier is away (`Unavailable`) it keeps trying.
    Raises `Invalid` for a speed that is not above 0 and a naive or pre-1970 `start`, and
    `ConfigurationError` when the file belongs to another world.
    """
    if speed <= 0 or start.tzinfo is None:
        raise Invalid("simulator: speed must be above 0 and start an aware time")
    progress = _resume(world, start, state_file)
    before = clock.now()
    while not stop():
        now = clock.now()
        behind = (now - progress.position).total_seconds()
        step = min((now - before).total_seconds() * speed, behind)
        before = now
        target = progress.position + timedelta(seconds=max(step, 0.0))
        while progress.position < target and not stop():
            upto = min(target, progress.position + stretch)
            frame = world.generate(progress.position + _MICROSECOND, upto + _MICROSECOND)
            known, pending = _split_labels(world, progress, frame, upto)
            messages = {
                transactions_topic: transaction_messages(frame),
                labels_topic: [label_message(name, at) for at, name in known],
            }
            if not _sent(publisher, messages, sleep, stop):
                break
            progress = Progress(progress.world, upto, pending)
            if any(messages.values()):
                progress.save(state_file)
            if report is not None:
                report(progress)
        sleep(TICK_SECONDS)
    return progress


def transaction_messages(frame: pd.DataFrame) -> list[Message]:
    """The rows of a generated frame as messages of the transactions topic, in their order."""
    return [
        Message(transaction.account_id.encode(), encode(transaction))
        for transaction in frame_to_transactions(frame)
    ]


def label_message(transaction_id: str, known_at: datetime) -> Message:
    """A chargeback as a message of the labels topic."""
    source = LabelSource.CHARGEBACK
    label = Label(transaction_id, True, source, known_at, PRECEDENCE[source])
    return Message(transaction_id.encode(), encode_label(label))


def _resume(world: World, start: datetime, state_file: Path) -> Progress:
    settings = json.dumps(asdict(world.config), sort_keys=True)
    identity = xxhash.xxh3_64_hexdigest(settings.encode())
    progress = Progress.load(state_file)
    if progress is None:
        return Progress(identity, start)
    if progress.world != identity:
        raise ConfigurationError(
            f"{state_file} belongs to a simulated world of another configuration; "
            "go on with that one, or remove the file to start anew"
        )
    return progress


def _split_labels(
    world: World, progress: Progress, frame: pd.DataFrame, upto: datetime
) -> tuple[list[_Pending], list[_Pending]]:
    """The chargebacks known by `upto`, in order, and those still to come."""
    new = world.chargebacks(frame)
    times = new["known_at"].dt.to_pydatetime()
    waiting = sorted([*progress.pending, *zip(times, new["transaction_id"], strict=True)])
    due = sum(known_at <= upto for known_at, _ in waiting)
    return waiting[:due], waiting[due:]


def _sent(
    publisher: Publisher,
    messages: Mapping[str, Sequence[Message]],
    sleep: Callable[[float], None],
    stop: Callable[[], bool],
) -> bool:
    """Whether all is durable; tries until it is, False when stopped before."""
    for topic, batch in messages.items():
        while batch:
            try:
                publisher.send(topic, batch)
            except Unavailable:
                if stop():
                    return False
                sleep(TICK_SECONDS)
            else:
                break
    return True
