"""Promise 1, proved from the database: every offset read is a row, a dead letter or empty, once."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

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
    """All partitions, and what must hold across them."""

    partitions: tuple[PartitionProof, ...]
    doubled_transactions: int
    unpublished_outbox: int
    ok: bool

    def as_dict(self) -> dict[str, object]:
        return {
            "ok": self.ok,
            "doubled_transactions": self.doubled_transactions,
            "unpublished_outbox": self.unpublished_outbox,
            "partitions": [partition.as_dict() for partition in self.partitions],
        }


# Every piece of the input as a range of offsets; a ledger row or label covers one.
_PIECES = """
    SELECT "offset" AS a, "offset" + 1 AS b, 'rows' AS kind FROM ledger
     WHERE :is_input AND partition = :partition
    UNION ALL
    SELECT "offset", "offset" + 1, 'rows' FROM labels
     WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT "offset", next_offset, 'dead_letters' FROM dead_letters
     WHERE topic = :topic AND partition = :partition
    UNION ALL
    SELECT first_offset, next_offset,
           CASE WHEN acknowledged_at IS NULL THEN reason ELSE 'acknowledged' END FROM stream_gaps
     WHERE topic = :topic AND partition = :partition
"""

# Sorted by start, each piece must begin where the furthest end so far lies: a later start leaves
# offsets missing, an earlier one doubles them.
_ACCOUNT = text(
    f"""
    WITH pieces AS ({_PIECES}),
    walked AS (
        SELECT a, b, kind,
               max(b) OVER (ORDER BY a, b ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS seen
          FROM pieces
    )
    SELECT coalesce(sum(b - a) FILTER (WHERE kind = 'rows'), 0) AS rows,
           coalesce(sum(b - a) FILTER (WHERE kind = 'dead_letters'), 0) AS dead_letters,
           coalesce(sum(b - a) FILTER (WHERE kind = 'empty'), 0) AS empty,
           coalesce(sum(b - a) FILTER (WHERE kind = 'expired'), 0) AS expired,
           coalesce(sum(b - a) FILTER (WHERE kind = 'acknowledged'), 0) AS acknowledged,
           coalesce(sum(greatest(a - coalesce(seen, :first), 0)), 0)
             + greatest(:next - coalesce(max(b), :first), 0) AS missing,
           coalesce(sum(greatest(least(b, coalesce(seen, :first)) - a, 0)), 0) AS doubled,
           coalesce(sum(b - a) FILTER (WHERE a < :first OR b > :next), 0) AS beyond
      FROM walked
    """  # noqa: S608 - joined from constants above
)


def verify(session: Session, input_topic: str) -> Proof:
    """Account for every offset of every input partition.

    Takes one consistent reading (REPEATABLE READ), so it may run while workers write.
    """
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    session.execute(text("SET LOCAL statement_timeout = 0"))
    partitions = []
    for offsets in session.execute(
        text(
            "SELECT topic, partition, first_offset, next_offset, published_offset"
            " FROM stream_offsets ORDER BY topic, partition"
        )
    ).all():
        is_input = offsets.topic == input_topic
        found = session.execute(
            _ACCOUNT,
            {
                "is_input": is_input,
                "topic": offsets.topic,
                "partition": offsets.partition,
                "first": offsets.first_offset,
                "next": offsets.next_offset,
            },
        ).one()
        partitions.append(
            PartitionProof(
                offsets.topic,
                offsets.partition,
                offsets.first_offset,
                offsets.next_offset,
                offsets.next_offset - offsets.first_offset,
                int(found.rows),
                int(found.dead_letters),
                int(found.empty),
                int(found.expired),
                int(found.acknowledged),
                int(found.missing),
                int(found.doubled),
                int(found.beyond),
                offsets.next_offset - offsets.published_offset if is_input else 0,
                not (found.missing or found.doubled or found.beyond or found.expired),
            )
        )
    doubled = session.scalar(
        # Farther apart, the same id counts as another transaction: `fraudwatch.casework.repeats`.
        text(
            "SELECT count(*) FROM (SELECT event_time - lag(event_time) OVER (PARTITION BY"
            " transaction_id ORDER BY event_time) AS apart FROM ledger) AS pairs"
            " WHERE apart <= make_interval(hours => :hours)"
        ),
        {"hours": CONFLICT_HOURS},
    )
    waiting = session.scalar(text("SELECT count(*) FROM outbox WHERE published_at IS NULL"))
    # Rows of partitions that no offset row speaks of have no owner: they cannot be accounted for.
    strays = session.scalar(
        text(
            "SELECT count(*) FROM ledger l WHERE NOT EXISTS (SELECT FROM stream_offsets s"
            " WHERE s.topic = :topic AND s.partition = l.partition)"
        ),
        {"topic": input_topic},
    )
    ok = all(p.ok for p in partitions) and not doubled and not strays
    return Proof(tuple(partitions), int(doubled or 0) + int(strays or 0), int(waiting or 0), ok)
