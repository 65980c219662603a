"""A stream of files and a worker that decides what is asked, for tests of the API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fraudwatch.casework.steering import Registered
from fraudwatch.clock import Clock
from fraudwatch.detectors.model import Model
from fraudwatch.domain.transaction import decode
from fraudwatch.errors import BundleError
from fraudwatch.features.columns import from_transactions
from fraudwatch.features.state import AccountState
from fraudwatch.memory import Memory
from fraudwatch.pipeline import ForwardPath
from fraudwatch.scorers import Scorers
from fraudwatch.settings import Settings
from streams.file_lines import decode_line, partition_path
from streams.files import FilePublisher, FileSource
from streams.runner import Runner
from streams.source import Headers, Message
from tests.api.conftest import Api

PARTITIONS = 2
PAYMENT: dict[str, Any] = {
    "transaction_id": "t-1",
    "account_id": "acc-1",
    "event_time": "2026-03-02T11:59:00+01:00",
    "amount": "12.50",
    "currency": "EUR",
}


def payment(**values: object) -> dict[str, Any]:
    """A transaction as a program writes it."""
    return PAYMENT | values


class Stream:
    """The topics in a folder; `worker` decides what is on them while its block runs."""

    def __init__(self, api: Api, folder: Path) -> None:
        self.folder = folder
        self._api = api
        self.settings = api.services.settings
        for topic in (
            self.settings.topic_transactions,
            self.settings.topic_decisions,
            self.settings.topic_dead_letters,
        ):
            for number in range(PARTITIONS):
                path = partition_path(folder, topic, number)
                path.parent.mkdir(exist_ok=True)
                path.touch()

    @property
    def clock(self) -> Clock:
        return self._api.clock

    def publish(self, transaction: dict[str, Any]) -> None:
        """As a payment system does that does not wait."""
        publisher = FilePublisher(self.folder, self.clock)
        message = json.dumps(transaction).encode()
        publisher.send(
            self.settings.topic_transactions,
            [Message(transaction["account_id"].encode(), message)],
        )

    def messages(self, topic: str) -> list[tuple[bytes, Headers]]:
        """Value and headers of all messages of a topic."""
        found = []
        for number in range(PARTITIONS):
            for line in partition_path(self.folder, topic, number).read_bytes().splitlines(True):
                _, value, headers, _ = decode_line(line)
                found.append((value, headers))
        return found

    def asked(self) -> int:
        """How many messages are on the topic of transactions."""
        return len(self.messages(self.settings.topic_transactions))

    @contextmanager
    def worker(self, settings: Settings | None = None) -> Iterator[None]:
        """A worker on the topic, in a thread of its own."""
        settings = settings or self.settings
        stop = threading.Event()
        services = self._api.services
        scorers = Scorers(_no_model)
        _compile(scorers)
        path = ForwardPath(
            sessions=services.sessions,
            publisher=FilePublisher(self.folder, self.clock),
            memory=Memory(settings.topic_transactions, share=1.0, consecutive=1000),
            scorers=scorers,
            settings=settings,
            key=b"k" * 32,
            clock=self.clock,
        )
        runner = Runner(
            FileSource(self.folder, settings.topic_transactions, "test"), path, stop=stop
        )
        thread = threading.Thread(target=runner.run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _compile(scorers: Scorers) -> None:
    """Kernels are compiled on first use, which may take longer than anybody waits."""
    transaction = decode(json.dumps(PAYMENT).encode(), now=datetime.now(UTC))
    columns = from_transactions([transaction], scorers.spec)
    AccountState(scorers.spec).extend(columns, scorers.profiles)


def _no_model(registered: Registered) -> Model:
    raise BundleError(f"there is no model {registered.name}")
