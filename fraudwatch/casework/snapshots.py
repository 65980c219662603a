"""Snapshots of account state in the database, in parts of bounded size.

A part holds the accounts whose id leaves its number as the rest of a division by `PARTS`, as they
stood before one offset. Parts are written in turn and stand at different offsets: a part is whole
in itself, since no account knows of another. Loading takes the newest sound one of each; ledger
rows from a part's offset on then join the accounts of that part.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from fraudwatch.casework.models import Snapshot
from fraudwatch.errors import BundleError
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.state import AccountState

log = logging.getLogger(__name__)

PARTS = 32
KEPT = 2  # of each part: a damaged one is made up for by the one before it
NONE = -1

_BYTES = "SELECT data FROM snapshots WHERE partition = %s AND part = %s AND next_offset = %s"


@dataclass(frozen=True, eq=False)
class Loaded:
    """A partition's accounts as far as snapshots tell of them.

    `starts` int64[PARTS]: the offset that each part stands at, `NONE` for a part without a sound
    snapshot, of which `state` holds nothing. `written` float64[PARTS]: when each was written, in
    seconds since 1970, 0 for never.
    """

    state: AccountState
    starts: NDArray[np.int64]
    written: NDArray[np.float64]

    @property
    def missing(self) -> list[int]:
        return np.flatnonzero(self.starts == NONE).tolist()


def part_of(accounts: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The part that each account (its hash, `features.columns`) is in."""
    return (accounts % np.uint64(PARTS)).astype(np.int64)


def load(session: Session, partition: int, since: int, until: int, spec: FeatureSpec) -> Loaded:
    """The newest sound snapshot of each part that stands at an offset within these two.

    Damaged ones, and parts that are missing beside others, are told in the log.
    """
    found = session.execute(
        select(Snapshot.part, Snapshot.next_offset, Snapshot.sha256, Snapshot.created_at)
        .where(
            Snapshot.partition == partition,
            Snapshot.parts == PARTS,
            Snapshot.next_offset >= since,
            Snapshot.next_offset <= until,
            Snapshot.features_version == spec.version,
        )
        .order_by(Snapshot.part, Snapshot.next_offset.desc())
    ).all()
    state = AccountState(spec)
    starts = np.full(PARTS, NONE, dtype=np.int64)
    written = np.zeros(PARTS)
    for row in found:
        if starts[row.part] == NONE and _added(session, partition, row, state):
            starts[row.part] = row.next_offset
            written[row.part] = row.created_at.timestamp()
    loaded = Loaded(state, starts, written)
    if written.any() and loaded.missing:
        log.error(
            "parts of the snapshot are missing; replaying them from the ledger",
            extra={"data": {"partition": partition, "parts": loaded.missing}},
        )
    return loaded


def _added(
    session: Session, partition: int, row: Row[int, int, str, datetime], state: AccountState
) -> bool:
    """Whether the snapshot is sound; its accounts are in the state then."""
    data = _read(session, partition, row.part, row.next_offset)
    if hashlib.sha256(data).hexdigest() != row.sha256:
        fault = "its hash does not match"
    else:
        try:
            state.add(data)
            return True
        except BundleError as error:
            fault = str(error)
    log.error(
        "damaged snapshot; using the one before it",
        extra={
            "data": {
                "partition": partition,
                "part": row.part,
                "at": row.next_offset,
                "fault": fault,
            }
        },
    )
    return False


def _read(session: Session, partition: int, part: int, next_offset: int) -> bytes:
    """A snapshot's bytes, read as they are: as text they would take twice the time and room."""
    driver = session.connection().connection.driver_connection
    if driver is None:
        raise RuntimeError("the session has no connection")
    with driver.cursor(binary=True) as cursor:
        row = cursor.execute(_BYTES, (partition, part, next_offset)).fetchone()
    return bytes(row[0]) if row else b""


def write(
    session: Session, partition: int, next_offset: int, state: AccountState, parts: Iterable[int]
) -> datetime:
    """Write parts of a partition's accounts as they stand before an offset; returns when.

    Of each part the newest `KEPT` stay.
    """
    rows = []
    for part in parts:
        data = state.dump(part, PARTS)
        rows.append(
            {
                "partition": partition,
                "part": part,
                "parts": PARTS,
                "next_offset": next_offset,
                "features_version": state.spec.version,
                "sha256": hashlib.sha256(data).hexdigest(),
                "data": data,
            }
        )
    statement = upsert(Snapshot)
    replaced = ("parts", "features_version", "sha256", "data")
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[Snapshot.partition, Snapshot.part, Snapshot.next_offset],
            set_={name: statement.excluded[name] for name in replaced} | {"created_at": func.now()},
        ),
        rows,
    )
    place = (
        func.row_number()
        .over(partition_by=Snapshot.part, order_by=Snapshot.next_offset.desc())
        .label("place")
    )
    ranked = (
        select(Snapshot.part, Snapshot.next_offset, place)
        .where(Snapshot.partition == partition)
        .subquery()
    )
    session.execute(
        delete(Snapshot).where(
            Snapshot.partition == partition,
            tuple_(Snapshot.part, Snapshot.next_offset).in_(
                select(ranked.c.part, ranked.c.next_offset).where(ranked.c.place > KEPT)
            ),
        )
    )
    return session.execute(select(func.now())).scalar_one()
