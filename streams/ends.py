"""How far the topic of transactions reaches, for those who do not read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kafka import TopicPartition
from kafka.admin import OffsetSpec

from fraudwatch.errors import Unavailable
from fraudwatch.settings import Settings
from streams.file_lines import LineIndex, partition_count, partition_path
from streams.kafka_client import CONNECT_MS, kafka_errors, open_admin
from streams.kafka_security import kafka_security

Ends = Callable[[], dict[int, int]]
"""For each partition the offset after its last message, now. Raises `Unavailable`."""


@contextmanager
def open_ends(settings: Settings, partitions: int) -> Iterator[Ends]:
    """Looks as often as it is called while the block runs. Raises `Unavailable`."""
    carrier, place = settings.stream
    topic = settings.topic_transactions
    if carrier == "kafka":
        asked = {TopicPartition(topic, number): OffsetSpec.LATEST for number in range(partitions)}
        with open_admin(place, kafka_security(settings)) as admin:

            def ends() -> dict[int, int]:
                with kafka_errors(place, doing=f"Describe on topic {topic}"):
                    found = admin.list_partition_offsets(asked, timeout_ms=CONNECT_MS)
                return {at.partition: int(end.offset) for at, end in found.items()}

            yield ends
    else:
        folder = Path(place)
        indexes = [
            LineIndex(partition_path(folder, topic, number))
            for number in range(min(partitions, partition_count(folder, topic)))
        ]

        def lines() -> dict[int, int]:
            try:
                return {number: index.end() for number, index in enumerate(indexes)}
            except OSError as error:
                raise Unavailable(f"the stream folder {place}: {error.strerror}") from error

        yield lines
