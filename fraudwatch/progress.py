"""How far a batch moves each of its partitions, and what must be written down about the way."""

from __future__ import annotations

from collections.abc import Sequence

from fraudwatch.casework.checkpoint import Checkpoint
from fraudwatch.casework.deciders import Deciding, Switch
from fraudwatch.casework.offsets import Advance, Gap
from fraudwatch.casework.scored import Scored
from fraudwatch.domain.transaction import Transaction
from fraudwatch.memory import Memory
from streams.arrivals import Arrivals
from streams.source import RecordBatch


def checkpoint(
    topic: str,
    memory: Memory,
    fresh: Sequence[RecordBatch],
    arrivals: Sequence[Arrivals[Transaction]],
    scored: Scored,
) -> Checkpoint:
    """Where the partitions move to, which offsets gave no row, and what decides anew from here.

    `memory` still stands before the batches and is only read.
    """
    moves: list[Advance] = []
    gaps: list[Gap] = []
    switches: list[Switch] = []
    deciding = Deciding(
        scored.features_version,
        scored.versions.policy_id,
        scored.versions.model_id,
        scored.challenger_id,
        scored.versions.profile_version,
    )
    for batch in fresh:
        before = memory[batch.partition]
        move, missing = before.move_to(batch)
        moves.append(move)
        gaps += missing
        if before.decided_by != deciding:
            switches.append(Switch(move.partition, move.expected, deciding))
    rejected = [r for arrived in arrivals for r in arrived.rejected]
    return Checkpoint(topic, moves, rejected, gaps, switches)
