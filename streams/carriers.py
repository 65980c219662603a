"""Which carrier is used: `FRAUDWATCH_STREAM_URL` says."""

from __future__ import annotations

from pathlib import Path

from fraudwatch.clock import Clock
from fraudwatch.settings import Settings
from streams.files import FilePublisher, FileSource
from streams.kafka import KafkaSource
from streams.kafka_publisher import KafkaPublisher
from streams.kafka_security import kafka_security
from streams.source import Publisher, Source


def open_source(settings: Settings, topic: str, group: str) -> Source:
    """A member of `group` that reads `topic`.

    Raises `ConfigurationError` for an unknown topic, wrong settings or a missing right,
    `Unavailable` when the carrier is away.
    """
    carrier, place = settings.stream
    if carrier == "kafka":
        return KafkaSource(
            place,
            topic,
            group,
            security=kafka_security(settings),
            worker_id=settings.worker_id,
            max_rows=settings.batch_rows,
            session_seconds=settings.session_seconds,
        )
    return FileSource(Path(place), topic, group, max_rows=settings.batch_rows)


def open_publisher(settings: Settings, clock: Clock) -> Publisher:
    """A publisher to any topic; connects on first use."""
    carrier, place = settings.stream
    if carrier == "kafka":
        return KafkaPublisher(place, clock, security=kafka_security(settings))
    return FilePublisher(Path(place), clock)
