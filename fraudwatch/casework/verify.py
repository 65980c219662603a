"""Promise 1, proved from the database: every offset read is a row, a dead letter or empty, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from fraudwatch.casework.archive_files import Spans, fault_of, unpack_spans
from fraudwatch.casework.archive_rows import read_archives
from fraudwatch.casework.ledger_tables import LedgerTable, hold, midnight, read_tables, spans_of
from fraudwatch.casework.models import ArchivedOffsets
from fraudwatch.casework.repeats import CONFLICT_HOURS


@dataclass(frozen=True, slots=True)
class PartitionProof:
    """The account of one input partition. `read` offsets were taken in, from first to next.

    `rows` are ledger rows (or labels), `empty` offsets hold no message, `expired` were gone
    before they could be read and nobody has acknowledged it, `acknowledged` the same where somebody
    has. `missing` and `doubled` count offsets and must be 0;
    `beyond` counts rows outside of what was read and must be 0 too.
    """

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    read: int
    rows: int
    dead_letters: int
    empty: int
    expired: int
    acknowledged: int
    missing: int
    doubled: int
    beyond: int
    unpublished: int
    ok: bool

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Proof:
    """All partitions, and what must hold across them.

    `archived_rows` of the rows are in files of the archive, `deleted_rows` were in files that have
    been deleted for their age; `archive_faults` names files that are missing or damaged, and what
    to do.
    """

    partitions: tuple[PartitionProof, ...]
    doubled_transactions: int
    unpublished_outbox: int
    archived_rows: int
    deleted_rows: int
    archive_faults: tuple[str, ...]
    ok: bool

    def as_dict(self) -> dict[str, object]:
        return {
            "ok": self.ok,
            "doubled_transactions": self.doubled_transactions,
            "unpublished_outbox": self.unpublished_outbox,
            "archived_rows": self.archived_rows,
            "deleted_rows": self.deleted_rows,
            "archive_faults": list(self.archive_faults),
            "partitions": [partition.as_dict() for partition in self.partitions],
        }


# Pieces of the input besides the ledger's rows, as ranges of offsets; a label covers one.
_PIECES = text(
    """
    SELECT "offset" AS a, "offset" + 1 AS b, 'rows' AS kind FROM labels
     WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT "offset", next_offset, 'dead_letters' FROM dead_letters
     WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT first_offset, next_offset,
           CASE WHEN acknowledged_at IS NULL THEN reason ELSE 'acknowledged' END FROM stream_gaps
     WHERE topic = :topic AND partition = :partition
    """
)
_KINDS = ("rows", "dead_letters", "empty", "expired", "acknowledged")


def verify(session: Session, input_topic: str) -> Proof:
    """Account for every offset of every input partition.

    Takes one consistent reading (REPEATABLE READ), so it may run while workers write; no table goes
    into the archive meanwhile. Reads the primary keys of one table after the other, and the whole
    of each archived file for its hash.
    """
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    hold(session)
    session.execute(text("SET LOCAL statement_timeout = 0"))
    tables = read_tables(session)
    held = _held(session, tables)
    partitions = []
    for offsets in session.execute(
        text(
            "SELECT topic, partition, first_offset, next_offset, published_offset"
            " FROM stream_offsets ORDER BY topic, partition"
        )
    ).all():
        is_input = offsets.topic == input_topic
        found = _account(
            held.pop(offsets.partition, []) if is_input else [],
            session.execute(
                _PIECES, {"topic": offsets.topic, "partition": offsets.partition}
            ).all(),
            offsets.first_offset,
            offsets.next_offset,
        )
        partitions.append(
            PartitionProof(
                offsets.topic,
                offsets.partition,
                offsets.first_offset,
                offsets.next_offset,
                offsets.next_offset - offsets.first_offset,
                **found,
                unpublished=offsets.next_offset - offsets.published_offset if is_input else 0,
                ok=not any(found[name] for name in ("missing", "doubled", "beyond", "expired")),
            )
        )
    # Rows of partitions that no offset row speaks of have no owner: they cannot be accounted for.
    strays = sum(_count(spans) for of_partition in held.values() for spans in of_partition)
    doubled = _doubled_transactions(session, tables)
    waiting = session.scalar(text("SELECT count(*) FROM outbox WHERE published_at IS NULL"))
    everything = read_archives(session)
    archives = [archived for archived in everything if archived.deleted_at is None]
    in_files = sum(archived.rows for archived in archives)
    faults = tuple(fault for fault in map(fault_of, archives) if fault is not None)
    ok = all(p.ok for p in partitions) and not (doubled or strays or faults)
    return Proof(
        tuple(partitions),
        doubled + strays,
        int(waiting or 0),
        in_files,
        sum(archived.rows for archived in everything) - in_files,
        faults,
        ok,
    )


def _held(session: Session, tables: list[LedgerTable]) -> dict[int, list[Spans]]:
    """By partition the offsets that have a row: of each table, online or archived."""
    held: dict[int, list[Spans]] = {}
    for table in tables:
        for partition, spans in spans_of(session, table.name).items():
            held.setdefault(partition, []).append(spans)
    for row in session.execute(select(ArchivedOffsets.partition, ArchivedOffsets.spans)):
        held.setdefault(row.partition, []).append(unpack_spans(row.spans))
    return held


def _count(spans: Spans) -> int:
    return int((spans[:, 1] - spans[:, 0]).sum())


def _account(
    held: list[Spans], pieces: Sequence[Row[Any]], first: int, following: int
) -> dict[str, int]:
    """How many offsets are of each kind, missing, doubled, or outside of what was read.

    Sorted by start, each piece must begin where the furthest end so far lies: a later start leaves
    offsets missing, an earlier one doubles them.
    """
    found = dict.fromkeys(_KINDS, 0)
    found["rows"] = sum(map(_count, held))
    for piece in pieces:
        found[piece.kind] += piece.b - piece.a
    others = np.array([(piece.a, piece.b) for piece in pieces], dtype=np.int64).reshape(-1, 2)
    spans = np.concatenate([others, *held])
    spans = spans[np.lexsort((spans[:, 1], spans[:, 0]))]
    a, b = spans[:, 0], spans[:, 1]
    reached = np.maximum.accumulate(np.concatenate([[first], b]))
    # What begins before the first offset read is beyond it, not doubled.
    seen = reached[:-1]
    seen[:1] = first
    missing = int(np.maximum(a - seen, 0).sum()) + max(following - int(reached[-1]), 0)
    doubled = int(np.maximum(np.minimum(b, seen) - np.maximum(a, first), 0).sum())
    before = np.minimum(b, first) - np.minimum(a, first)
    after = np.maximum(b, following) - np.maximum(a, following)
    return found | {
        "missing": missing,
        "doubled": doubled,
        "beyond": int((before + after).sum()),
    }


def _doubled_transactions(session: Session, tables: Sequence[LedgerTable]) -> int:
    """Rows under an id that another row has within `CONFLICT_HOURS`: farther apart, the same id
    counts as another transaction (`fraudwatch.casework.repeats`).

    Each table by itself, then what lies around its border with the one before it.
    """
    near = timedelta(hours=CONFLICT_HOURS)
    doubled = 0
    for table in tables:
        # From the index alone. Only what comes more than once is looked at more closely.
        twice = session.scalars(
            text(
                f'SELECT ledger_hash(transaction_id) FROM "{table.name}"'  # noqa: S608
                " GROUP BY 1 HAVING count(*) > 1"
            )
        ).all()
        if twice:
            inside = "ledger_hash(transaction_id) = ANY(:twice)"
            doubled += _pairs(session, f'"{table.name}"', inside, {"twice": list(twice)})
        border = midnight(table.first)
        doubled += _pairs(
            session,
            "ledger",
            f"event_time >= '{(border - near).isoformat()}'"
            f" AND event_time < '{(border + near).isoformat()}'",
            {"border": border},
        )
    return doubled


def _pairs(session: Session, table: str, inside: str, values: dict[str, Any]) -> int:
    across = "AND before < :border AND event_time >= :border" if "border" in values else ""
    return int(
        session.scalar(
            text(
                "SELECT count(*) FROM (SELECT event_time, lag(event_time) OVER ("  # noqa: S608
                " PARTITION BY ledger_hash(transaction_id), transaction_id ORDER BY event_time)"
                f" AS before FROM {table} WHERE {inside}) AS pairs"
                f" WHERE event_time - before <= make_interval(hours => :hours) {across}"
            ),
            {"hours": CONFLICT_HOURS, **values},
        )
        or 0
    )
