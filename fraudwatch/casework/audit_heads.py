"""Heads of the two chains, kept elsewhere: in a topic, in files.

Whoever may write to every row of the database can rewrite a whole chain, and nothing in the
database would show it. A head that left before shows it: rows up to it can only be what they were.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from time import monotonic

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import looks, outbox
from fraudwatch.casework.audit_chain import GENESIS, Head
from fraudwatch.casework.models import AuditRow
from fraudwatch.errors import ConfigurationError, Invalid, Unavailable
from fraudwatch.settings import Settings
from streams.carriers import open_source
from streams.ends import open_ends
from streams.growth import partitions_there

_SILENCE = 20.0  # seconds without a message after which a topic counts as not to be read


class Heads(msgspec.Struct, frozen=True):
    """The newest row of each chain at a moment."""

    at: datetime
    changes: Head
    looks: Head

    def line(self) -> bytes:
        """As one line of a file, as a message of the topic."""
        return msgspec.json.encode(self)


def current(session: Session, now: datetime) -> Heads:
    """The heads as they are; looks that are not linked yet are behind none."""
    newest = select(AuditRow.id, AuditRow.hash).order_by(AuditRow.id.desc()).limit(1)
    row = session.execute(newest).first()
    changes = Head(row.id, row.hash.hex()) if row else Head(0, GENESIS.hex())
    return Heads(now, changes, looks.head(session))


def send(session: Session, settings: Settings, heads: Heads) -> None:
    """Put heads into the outbox: they leave with the commit."""
    outbox.write(
        session,
        topic=settings.topic_audit_heads,
        key=None,
        message_id=f"audit-heads:{heads.changes.id}:{heads.looks.id}",
        payload=msgspec.to_builtins(heads),
        now=heads.at,
    )


def append_to(path: Path, heads: Heads) -> None:
    """Add a line to a file. Raises `ConfigurationError` when that cannot be."""
    try:
        with path.open("ab") as file:
            file.write(heads.line() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigurationError(f"heads of the audit log: {path}: {error.strerror}") from error


def read_file(path: Path) -> list[Heads]:
    """All heads of a file. Raises `Invalid` for a line that is none."""
    try:
        return _decoded(path.read_bytes().splitlines(), str(path))
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error


def read_topic(settings: Settings) -> list[Heads]:
    """All heads that the topic still has. Raises `Unavailable` when its end cannot be reached."""
    topic = settings.topic_audit_heads
    there = settings.model_copy(update={"topic_transactions": topic})
    with open_ends(there, partitions_there(there)) as ends:
        wanted = {partition: end for partition, end in ends().items() if end}
    group = f"{settings.consumer_group}.audit-verify"
    values: list[bytes] = []
    heard = monotonic()
    with closing(open_source(settings, topic, group)) as source:
        while wanted:
            source.start(dict.fromkeys(source.changes().assigned, 0))
            for batch in source.poll(0.5):
                heard = monotonic()
                values += batch.values
                if batch.next_offset >= wanted.get(batch.partition, 0):
                    wanted.pop(batch.partition, None)
            if monotonic() - heard > _SILENCE:
                raise Unavailable(f"{topic} could not be read to its end: partitions {[*wanted]}")
    return _decoded(values, topic)


def _decoded(lines: Iterable[bytes], where: str) -> list[Heads]:
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(msgspec.json.decode(line, type=Heads))
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise Invalid(f"{where}: number {number} is no head of the audit log") from error
    return found


def of_changes(heads: Sequence[Heads]) -> list[Head]:
    """What `fraudwatch.casework.audit.verify` compares with."""
    return sorted({one.changes for one in heads})


def of_looks(heads: Sequence[Heads]) -> list[Head]:
    """What `fraudwatch.casework.looks.verify` compares with."""
    return sorted({one.looks for one in heads})
