"""All that is in a topic, of either carrier, read by the carrier's own source."""

from __future__ import annotations

import time
import uuid
from contextlib import closing
from dataclasses import dataclass

from fraudwatch.settings import Settings
from streams.carriers import open_source
from streams.source import Headers

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Record:
    """A message as it lies in a topic."""

    offset: int
    key: bytes | None
    value: bytes
    headers: Headers

    def header(self, name: str) -> str:
        return dict(self.headers)[name].decode()


def contents(settings: Settings, topic: str) -> dict[int, tuple[int, list[Record]]]:
    """For each partition the offset after its last message, and its messages in order."""
    found: dict[int, tuple[int, list[Record]]] = {}
    deadline = time.monotonic() + PATIENCE
    reader = settings.model_copy(update={"worker_id": "", "batch_rows": 50_000})
    with closing(open_source(reader, topic, f"contents-{uuid.uuid4().hex}")) as source:
        while True:
            changes = source.changes()
            if changes.assigned:
                source.start(dict.fromkeys(changes.assigned, 0))
                found |= {partition: (0, []) for partition in changes.assigned}
            for batch in source.poll(0.2):
                headers = batch.headers or [()] * len(batch)
                rows = zip(batch.offsets, batch.keys, batch.values, headers, strict=True)
                end, records = found[batch.partition]
                records += [Record(*row) for row in rows]
                found[batch.partition] = (max(end, batch.next_offset), records)
            if len(found) == settings.partitions and all(
                found[partition][0] >= end for partition, end in source.ends().items()
            ):
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} could not be read to its end")
