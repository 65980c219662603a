"""The forward path: from bytes on the stream to decisions, cases and what is published.

One batch, step by step (`ForwardPath.process`):

 1. Publish what an earlier failure left unpublished; read what steers (policy, models, profiles).
 2. Decode. What cannot be used is rejected with its reason; repeats are found in the ledger.
 3. Features, per partition in offset order: each row against its account's past, then it joins.
 4. Score with the champion, and beside it with the challenger, which decides nothing.
 5. Policy: risk becomes an outcome. Reasons for the few rows that go to people.
 6. ONE database transaction: compare-and-set of the offsets, ledger rows, dead letters, gaps,
    cases. When it commits, the batch has happened; until then, nothing has.
 7. Publish the decisions. Should that fail, or the process die here, they are published again
    from the ledger: consumers see repeats (same transaction id), never gaps.

Memory of accounts moves on in step 3, before the commit. That is safe because it never outlives a
failure: a batch that waits for the database keeps its computed result and is written as it is;
fenced partitions are dropped and loaded anew; any other error ends the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch import progress
from fraudwatch.casework import intake, ledger, offsets, outbox, replies, steering
from fraudwatch.casework.checkpoint import Checkpoint
from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.kept_connections import KeptConnections
from fraudwatch.casework.ledger_tables import LedgerTables
from fraudwatch.casework.repeats import reject_repeats
from fraudwatch.casework.scored import Scored
from fraudwatch.clock import Clock
from fraudwatch.domain.decision import Outcome, Reason, Versions
from fraudwatch.domain.transaction import Transaction, decode
from fraudwatch.errors import Fenced, Unavailable
from fraudwatch.features.columns import Columns, from_transactions
from fraudwatch.features.state import FeatureBatch
from fraudwatch.memory import Memory
from fraudwatch.placement import Placement
from fraudwatch.policy.rules import Outcomes, Policy, decide
from fraudwatch.scorers import Scorers
from fraudwatch.settings import Settings
from fraudwatch.telemetry import (
    BATCH_ROWS,
    DETECTOR_FAILURES,
    PUBLISH_BACKLOG,
    STAGE_SECONDS,
    TRANSACTIONS,
)
from streams.arrivals import Arrivals, read
from streams.source import Publisher, RecordBatch

log = logging.getLogger(__name__)

_STEERING_SECONDS = 1.0
_MARK_SECONDS = 1.0
_RELAY_SECONDS = 0.1
_REASONS = 5

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch computed and not yet committed."""

    batches: tuple[tuple[int, int, int], ...]
    scored: Scored
    alerts: Sequence[intake.NewAlert]
    checkpoint: Checkpoint
    asked: Mapping[tuple[int, int], str]  # who waits for a reply (`replies.asked`)


class ForwardPath:
    """The `Handler` of the transactions topic. One owner calls it, from one thread."""

    def __init__(
        self,
        *,
        sessions: sessionmaker[Session],
        publisher: Publisher,
        memory: Memory,
        scorers: Scorers,
        settings: Settings,
        key: bytes,
        clock: Clock,
        monotonic: Callable[[], float] = perf_counter,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._sessions = sessions
        self._publisher = publisher
        self.memory = memory
        self._scorers = scorers
        self._settings = settings
        self._key = key
        self._clock = clock
        self._monotonic = monotonic
        self._alive = alive
        self._topic = settings.topic_transactions
        self._tables = LedgerTables(sessions, clock)
        self._kept = KeptConnections(sessions)
        self._placement = Placement(self._topic, key, monotonic)
        self._prepared: Prepared | None = None
        self._policy: Policy | None = None
        self._steering_read = -np.inf
        self._marked = -np.inf
        self._relayed = -np.inf

    def assign(self, partitions: frozenset[int]) -> Mapping[int, int]:
        """Load account state from the newest snapshot and the ledger rows after it."""
        self._read_steering()
        with connect_errors(), self._sessions.begin() as session:
            return self.memory.load(session, partitions, self._scorers.spec)

    def revoke(self, partitions: frozenset[int]) -> None:
        if self._prepared and any(p in partitions for p, _, _ in self._prepared.batches):
            self._abandon()
        self.memory.drop(partitions)
        for partition in partitions:
            PUBLISH_BACKLOG.remove(str(partition))

    def process(self, batches: Sequence[RecordBatch]) -> None:
        """Take the batches in, once. See the steps at the top of this file."""
        wanted = tuple((b.partition, b.first_offset, b.next_offset) for b in batches)
        partitions = frozenset(partition for partition, _, _ in wanted)
        if self._prepared and self._prepared.batches != wanted:
            self._abandon()
        self.publish_backlog()
        if self._prepared is None:
            policy = self._read_steering()
            if unfit := self.memory.unfit(partitions, self._scorers.spec):
                raise Fenced(unfit)
            self._prepared = self._prepare(wanted, batches, policy)
        prepared = self._prepared
        try:
            self._commit(prepared)
        except (Fenced, ledger.AlreadyDecided) as error:
            # Fenced: another worker moved an offset. Decided: another partition's worker wrote one
            # of these transactions between our look and our commit; computed anew, the repeat is
            # found and put aside. Memory of all these partitions is ahead of the database.
            log.warning("batch given up: %s", error)
            self._abandon()
            self._tables.forget()
            raise Fenced(partitions) from error
        self._prepared = None
        self._committed(prepared)

    def idle(self) -> None:
        """Publish what is left, tell the database so, relay the outbox, write due snapshots."""
        self.publish_backlog()
        if self._monotonic() - self._marked >= _MARK_SECONDS:
            self._mark()
        if self._monotonic() - self._relayed >= _RELAY_SECONDS:
            self._relay()
        if self._prepared is None:
            self._read_steering(_STEERING_SECONDS / 2)  # here, where nobody waits
            self._snapshot(self.memory.due(self._settings.snapshot_rows))

    def close(self) -> None:
        """After the last batch: leave a snapshot, so that the next start need not replay."""
        self._relay()
        if self._prepared is None:
            self._mark()
            self._snapshot(self.memory.unsaved())
        self._kept.close()

    # -- computing a batch ------------------------------------------------------------------

    def _prepare(
        self,
        wanted: tuple[tuple[int, int, int], ...],
        batches: Sequence[RecordBatch],
        policy: Policy,
    ) -> Prepared:
        """Steps 2 to 5. Nothing is written; memory moves on in step 3."""
        started = self._monotonic()
        now = self._clock.now()
        fresh = [b for b in batches if b.next_offset > self.memory[b.partition].next_offset]
        arrivals = self._arrivals(fresh, now)
        transactions = [t for arrived in arrivals for t in arrived.items]
        started = self._stage("decode", started)

        batch, parts = self._features(arrivals)
        features = batch.values
        started = self._stage("features", started)

        scores = self._scorers.score(features)
        unscored = int(np.isnan(scores.risk).sum())
        if unscored and self._scorers.champion is not None:
            DETECTOR_FAILURES.inc(unscored)
        started = self._stage("score", started)

        outcomes = decide(
            policy,
            self._key,
            risk=scores.risk,
            amount=np.concatenate([np.empty(0), *(c.amount_e4 / 10_000 for _, c in parts)]),
            history_count=batch.history_count,
            late_us=batch.late_us,
            transaction_ids=[t.transaction_id for t in transactions],
        )
        scored = Scored(
            [a.partition for a in arrivals for _ in a.offsets],
            [offset for a in arrivals for offset in a.offsets],
            transactions,
            np.concatenate([np.empty(0, dtype=np.int64), *(c.time_us for _, c in parts)]),
            [payload for a in arrivals for payload in a.payloads],
            features,
            self._scorers.spec.version,
            scores.anomaly,
            scores.risk,
            scores.challenger_risk,
            outcomes.outcome,
            outcomes.rule,
            self._reasons(features, parts, outcomes),
            Versions(scores.model_id, policy.policy_id, self._scorers.profiles.version),
            scores.challenger_id,
            now,
        )
        alerts = intake.new_alerts(scored, policy, self._key, self._settings.unit_attribute)
        self._stage("policy", started)
        checkpoint = progress.checkpoint(self._topic, self.memory, fresh, arrivals, scored)
        return Prepared(wanted, scored, alerts, checkpoint, replies.asked(fresh))

    def _arrivals(self, fresh: Sequence[RecordBatch], now: datetime) -> list[Arrivals[Transaction]]:
        """The transactions not taken in yet; what cannot be used, or comes twice, is rejected."""
        settings = self._settings

        def decoded(value: bytes) -> Transaction:
            return decode(
                value,
                now=now,
                max_bytes=settings.max_message_bytes,
                max_future_seconds=settings.max_future_seconds,
            )

        arrivals = [read(b, self.memory[b.partition].next_offset, decoded) for b in fresh]
        BATCH_ROWS.observe(sum(len(a.offsets) for a in arrivals))
        with self._kept.alone() as session:
            reject_repeats(session, arrivals, self._tables)
        for arrived in arrivals:
            self.memory[arrived.partition].guard.observe(arrived.offsets, arrived.rejected)
        return arrivals

    def _features(
        self, arrivals: Sequence[Arrivals[Transaction]]
    ) -> tuple[FeatureBatch, list[tuple[int, Columns]]]:
        """Features of all rows, and each partition's rows."""
        spec = self._scorers.spec
        batches, parts = [FeatureBatch.empty(spec)], []
        for arrived in arrivals:
            columns = from_transactions(arrived.items, spec)
            found = self.memory[arrived.partition].state.extend(columns, self._scorers.profiles)
            self._look_at_places(arrived, found)
            batches.append(found)
            parts.append((arrived.partition, columns))
        return FeatureBatch.joined(batches), parts

    def _look_at_places(self, arrived: Arrivals[Transaction], found: FeatureBatch) -> None:
        """Do accounts that are new to the partition belong to it?"""
        layout = self.memory.layout
        if layout is None or self._settings.key_hash != "murmur2":
            return
        new = np.flatnonzero(found.history_count == 0).tolist()
        if new:
            self._placement.check(
                arrived.partition,
                layout.partitions,
                [arrived.items[row].account_id for row in new],
                [arrived.offsets[row] for row in new],
            )

    def _reasons(
        self, features: FloatArray, parts: Sequence[tuple[int, Columns]], outcomes: Outcomes
    ) -> dict[int, tuple[Reason, ...]]:
        """Reasons for the rows that go to people, with what is normal for their accounts."""
        chosen = outcomes.to_people()
        champion = self._scorers.champion
        if champion is None or not len(chosen):
            return {}
        low, high = [], []
        begin = 0
        for partition, columns in parts:
            end = begin + len(columns)
            rows = chosen[(chosen >= begin) & (chosen < end)] - begin
            bounds = self.memory[partition].state.normal_range(rows)
            low.append(bounds[0])
            high.append(bounds[1])
            begin = end
        found = champion.reasons(
            features[chosen], np.concatenate(low), np.concatenate(high), top=_REASONS
        )
        return dict(zip(chosen.tolist(), found, strict=True))

    # -- the one transaction ----------------------------------------------------------------

    def _commit(self, prepared: Prepared) -> None:
        started = self._monotonic()
        now = prepared.scored.scored_at
        self._tables.prepare(
            ledger.days_of(prepared.scored.time_us),
            [(move.partition, move.expected, move.new) for move in prepared.checkpoint.moves],
        )
        with self._kept.transaction() as session:
            prepared.checkpoint.write(
                session, dead_letter_topic=self._settings.topic_dead_letters, now=now
            )
            ledger.write(session, prepared.scored, self._tables)
            intake.open_cases(session, prepared.alerts, now)
            replies.notify(session, prepared.asked, prepared.checkpoint.rejected)
        self._stage("commit", started)

    def _committed(self, prepared: Prepared) -> None:
        started = self._monotonic()
        prepared.checkpoint.tell()
        for switch in prepared.checkpoint.switches:
            self.memory[switch.partition].decided_by = switch.deciding
        outcome, count = np.unique(prepared.scored.outcome, return_counts=True)
        for value, rows in zip(outcome.tolist(), count.tolist(), strict=True):
            TRANSACTIONS.labels(Outcome(value).word).inc(rows)
        rows_of: dict[int, int] = {}
        for partition in prepared.scored.partitions:
            rows_of[partition] = rows_of.get(partition, 0) + 1
        for move in prepared.checkpoint.moves:
            self.memory[move.partition].advanced(move.new, rows_of.get(move.partition, 0))
        messages = ledger.decisions(prepared.scored)
        try:
            self._publisher.publish_all(self._settings.topic_decisions, messages)
            for move in prepared.checkpoint.moves:
                self.memory[move.partition].published_offset = move.new
        except Unavailable as error:
            # The batch is committed: it must not be processed again. What is left is published
            # from the ledger before the next batch is taken.
            log.warning("decisions wait to be published: %s", error)
        self._stage("publish", started)

    # -- between batches --------------------------------------------------------------------

    def publish_backlog(self) -> None:
        """Publish committed decisions that were not published. Raises `Unavailable`."""
        for partition, memory in self.memory.items():
            behind = memory.next_offset - memory.published_offset
            PUBLISH_BACKLOG.labels(str(partition)).set(behind)
            if not behind:
                continue
            with connect_errors(), self._sessions() as session:
                for reached, messages in ledger.unpublished(
                    session, partition, memory.published_offset, memory.next_offset
                ):
                    if messages:
                        self._publisher.publish(self._settings.topic_decisions, partition, messages)
                    memory.published_offset = reached
                    self._alive()

    def _mark(self) -> None:
        published = self.memory.unmarked()
        if published:
            with self._kept.alone() as session:
                offsets.mark_published(session, self._topic, published)
            self.memory.mark(published)
        self._marked = self._monotonic()

    def _relay(self) -> None:
        """Send what waits in the outbox; while something waits still, look again at once."""
        with self._kept.alone() as session:
            waits = outbox.waits(session)
        with connect_errors():
            if not waits or not outbox.relay(self._sessions, self._publisher):
                self._relayed = self._monotonic()

    def _snapshot(self, wanted: Mapping[int, Sequence[int]]) -> None:
        for partition, parts in wanted.items():
            started = self._monotonic()
            with connect_errors(), self._sessions.begin() as session:
                self.memory.save(session, partition, parts)
            self._stage("snapshot", started)

    def _read_steering(self, seconds: float = _STEERING_SECONDS) -> Policy:
        """The policy; also looks for new models and profiles, if they are older than that.

        They take effect at a batch's border; every ledger row names what decided it.
        """
        if self._policy and self._monotonic() - self._steering_read < seconds:
            return self._policy
        with self._kept.alone() as session:
            found = steering.read(session)
            self._scorers.follow(session, found)
        self._policy = found.policy
        self._steering_read = self._monotonic()
        return self._policy

    def _abandon(self) -> None:
        """Give up a computed batch: memory of its partitions is ahead, so it goes too."""
        if self._prepared:
            self.memory.drop(partition for partition, _, _ in self._prepared.batches)
            self._prepared = None

    def _stage(self, name: str, started: float) -> float:
        now = self._monotonic()
        STAGE_SECONDS.labels(name).observe(now - started)
        return now
