"""The end of a trial against the end of its reference run, and against the promises.

Left out of the comparison, because it tells of the clock or of the order in which rows of
different partitions were written, and of nothing else: ids of cases, alerts, events, labels and
outbox rows; `scored_at` and every other moment at which something was done; `version` of a case,
which counts commits, and `status_when_joined`, which tells whether two alerts came in one. Cases
are compared by account, their alerts by partition and offset, their events in the order in which
they were written. `tests.chaos.tables` has all other tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import ledger
from fraudwatch.casework.models import (
    Alert,
    Case,
    CaseEvent,
    DeadLetter,
    LabelRow,
    LedgerRow,
    OutboxRow,
    OutcomeRow,
    Snapshot,
    StreamGap,
    StreamOffset,
)
from fraudwatch.casework.verify import verify
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.memory import Memory, PartitionMemory
from fraudwatch.settings import Settings
from tests.chaos import tables
from tests.chaos.contents import Record, contents

MOMENTS = frozenset(
    {
        "scored_at",
        "decided_at",
        "created_at",
        "opened_at",
        "updated_at",
        "due_at",
        "added_at",
        "published_at",
        "resolved_at",
        "lease_until",
        "first_look_at",
        "queued_at",
        "promised_at",
        "warn_at",
        "rank",  # falls with the moment of opening
        "at",
    }
)
ROW_IDS = frozenset({"id", "case_id", "version", "status_when_joined"})
SHOWN = 5

Delivery = tuple[str, bytes | None, bytes]
"""A message's id, key and value."""


@dataclass(frozen=True)
class End:
    """What is left when all has been taken in. `decisions`: without repeats, per partition."""

    ledger: Mapping[object, object]
    cases: Mapping[object, object]
    labels: Mapping[object, object]
    dead_letters: Mapping[object, object]
    gaps: Mapping[object, object]
    outbox: Mapping[object, object]
    outcomes: Mapping[object, object]
    acts: Mapping[object, object]
    others: Mapping[object, object]
    offsets: Mapping[object, object]
    states: Mapping[object, object]
    decisions: Mapping[object, object]


@dataclass(frozen=True)
class Found:
    """Figures of a trial, and what is wrong with it: nothing, one hopes."""

    wrong: list[str]
    transactions: int
    dead_letters: int
    labels: int
    cases: int
    outcomes: int
    repeats: int
    snapshots: int


def _row(row: Any, *, without: frozenset[str] = MOMENTS | ROW_IDS) -> dict[str, object]:
    return {
        column.key: getattr(row, column.key)
        for column in type(row).__mapper__.columns
        if column.key not in without
    }


def _cases(session: Session) -> dict[object, object]:
    cases = {case.id: (case.account_id, _row(case)) for case in session.scalars(select(Case))}
    found: dict[object, object] = {}
    alerts: dict[int, list[object]] = {}
    for alert in session.scalars(select(Alert).order_by(Alert.partition, Alert.offset)):
        alerts.setdefault(alert.case_id, []).append(_row(alert))
    events: dict[int, list[object]] = {}
    for event in session.scalars(select(CaseEvent).order_by(CaseEvent.id)):
        events.setdefault(event.case_id, []).append(_row(event))
    for case_id, (account, row) in cases.items():
        assert account not in found, "two cases of one account: whose case is decided pays no more"
        found[account] = (row, alerts.get(case_id), events.get(case_id))
    return found


def _labels(session: Session) -> dict[object, object]:
    """Those from outside by where they were read, a person's by transaction and without moment."""
    found: dict[object, object] = {}
    for label in session.scalars(select(LabelRow)):
        if label.topic is None:
            key = ("person", label.transaction_id, label.source)
            assert key not in found, "two decisions on one transaction: nobody reopens any here"
            found[key] = _row(label, without=MOMENTS | ROW_IDS | {"known_at"})
        else:
            found[label.topic, label.partition, label.offset] = _row(label)
    return found


def _outbox(session: Session, settings: Settings) -> dict[object, object]:
    """What was to be sent. An outcome's message is named by numbers of one run."""
    found: dict[object, object] = {}
    for row in session.scalars(select(OutboxRow)):
        payload = _timeless(row.payload)
        if row.topic == settings.topic_outcomes:
            name: object = ("outcome", payload["transaction_id"])
        else:
            name = row.message_id
        assert name not in found, f"two messages {name}"
        found[name] = (row.key, row.partition, payload)
    return found


def _outcomes(session: Session) -> dict[object, object]:
    found: dict[object, object] = {}
    for row in session.scalars(select(OutcomeRow)):
        assert row.transaction_id not in found, "decided twice"
        found[row.transaction_id] = _row(row)
    return found


def _gaps(session: Session) -> dict[object, object]:
    """Gaps, those that touch joined: a cut between two batches may lie in one."""
    found: dict[tuple[str, int, str], list[list[int]]] = {}
    order = (StreamGap.topic, StreamGap.partition, StreamGap.first_offset)
    for gap in session.scalars(select(StreamGap).order_by(*order)):
        spans = found.setdefault((gap.topic, gap.partition, gap.reason), [])
        if spans and spans[-1][1] == gap.first_offset:
            spans[-1][1] = gap.next_offset
        else:
            spans.append([gap.first_offset, gap.next_offset])
    return dict(found.items())


def _without_repeats(records: Iterable[Record]) -> list[Record]:
    first: dict[str, Record] = {}
    for record in records:
        first.setdefault(record.header("transaction_id"), record)
    return list(first.values())


def _timeless(value: bytes) -> dict[str, object]:
    body: dict[str, object] = json.loads(value)
    return {name: told for name, told in body.items() if name not in MOMENTS | ROW_IDS}


class Reader:
    """Reads one side of the comparison."""

    def __init__(
        self, sessions: sessionmaker[Session], settings: Settings, spec: FeatureSpec
    ) -> None:
        self.sessions = sessions
        self.settings = settings
        self._spec = spec
        self.published = contents(settings, settings.topic_decisions)

    def end(self) -> End:
        inputs = (self.settings.topic_transactions, self.settings.topic_labels)
        with self.sessions() as session:
            return End(
                {(r.partition, r.offset): _row(r) for r in session.scalars(select(LedgerRow))},
                _cases(session),
                _labels(session),
                {
                    (r.topic, r.partition, r.offset): _row(r)
                    for r in session.scalars(select(DeadLetter))
                },
                _gaps(session),
                _outbox(session, self.settings),
                _outcomes(session),
                tables.acts(session),
                tables.others(session),
                {
                    (r.topic, r.partition): (r.first_offset, r.next_offset)
                    for r in session.scalars(
                        select(StreamOffset).where(StreamOffset.topic.in_(inputs))
                    )
                },
                self.states(session),
                {
                    partition: [(r.key, _timeless(r.value)) for r in _without_repeats(records)]
                    for partition, (_, records) in self.published.items()
                },
            )

    def states(self, session: Session) -> dict[object, object]:
        """Account state of each partition, from the ledger alone: no snapshot has a part in it."""
        session.execute(delete(Snapshot))
        states: dict[object, object] = {
            partition: held.state.dump() for partition, held in self._load(session).items()
        }
        session.rollback()
        return states

    def _load(self, session: Session) -> dict[int, PartitionMemory]:
        memory = Memory(self.settings.topic_transactions, share=1, consecutive=1)
        memory.load(session, range(self.settings.partitions), self._spec)
        return dict(memory.items())

    def bad_snapshots(self, expected: Mapping[object, object]) -> tuple[list[str], int]:
        """Each snapshot, the newest first: is it sound, and does it lead to the same state as the
        ledger alone?"""
        wrong, count = [], 0
        with self.sessions() as session:
            while newest := _newest(session):
                for partition, memory in self._load(session).items():
                    if memory.state.dump() != expected[partition]:
                        wrong.append(f"snapshot of {partition} at {newest} misleads")
                    if partition in newest and newest[partition] not in memory.part_offsets:
                        wrong.append(f"snapshot of {partition} at {newest} is not used")
                for partition, offset in newest.items():
                    count += 1
                    session.execute(
                        delete(Snapshot).where(
                            Snapshot.partition == partition, Snapshot.next_offset == offset
                        )
                    )
            session.rollback()
        return wrong, count

    def repeats(self) -> int:
        return sum(
            len(records) - len(_without_repeats(records)) for _, records in self.published.values()
        )

    def broken_promises(self) -> list[str]:
        """What must hold of every run, whatever another run gave."""
        wrong = []
        with self.sessions() as session:
            proof = verify(session, self.settings.topic_transactions)
            if (
                not proof.ok
                or proof.unpublished_outbox
                or any(p.unpublished for p in proof.partitions)
            ):
                wrong.append(f"verify: {proof.as_dict()}")
        with self.sessions() as session:
            for partition, (_, records) in sorted(self.published.items()):
                wrong += self._decisions(session, partition, records)
            for topic in (self.settings.topic_dead_letters, self.settings.topic_outcomes):
                wrong += self._deliveries(session, topic)
            wrong += tables.broken_chains(session)
        return wrong

    def _deliveries(self, session: Session, topic: str) -> list[str]:
        """The topic, repeats removed, is what the outbox tells: all of it, nothing else, and those
        of a key in their order; and a repeat repeats."""
        records = [
            (r.header("message_id"), r.key, r.value)
            for _, found in contents(self.settings, topic).values()
            for r in found
        ]
        told = list(dict.fromkeys(records))
        expected = [
            (row.message_id, None if row.key is None else row.key.encode(), bytes(row.payload))
            for row in session.scalars(
                select(OutboxRow).where(OutboxRow.topic == topic).order_by(OutboxRow.id)
            )
        ]
        wrong = [f"outbox row {m[0]} was never delivered" for m in expected if m not in told]
        wrong += [f"{topic}: {m[0]} is not in the outbox" for m in told if m not in expected]
        if not wrong and _by_key(told) != _by_key(expected):
            wrong.append(f"{topic}: messages of a key are in another order")
        return wrong

    def _decisions(self, session: Session, partition: int, records: list[Record]) -> list[str]:
        """The topic, repeats removed, is what the ledger tells, byte for byte and in order; and
        a repeat repeats."""
        end = session.scalar(
            select(func.max(LedgerRow.offset)).where(LedgerRow.partition == partition)
        )
        expected = [
            message
            for _, messages in ledger.unpublished(session, partition, 0, (end or 0) + 1)
            for message in messages
        ]
        found = _without_repeats(records)
        first = {r.header("transaction_id"): r.value for r in found}
        wrong = [
            f"decisions {partition}: {r.header('transaction_id')} came again with other content"
            for r in records
            if first[r.header("transaction_id")] != r.value
        ]
        told = [(r.key, r.value, r.headers) for r in found]
        if told != [(m.key, m.value, m.headers) for m in expected]:
            missing = {m.value for m in expected} - {r.value for r in found}
            extra = {r.value for r in found} - {m.value for m in expected}
            wrong.append(
                f"decisions {partition}: {len(missing)} of {len(expected)} missing, {len(extra)} of"
                f" which the ledger knows nothing"
                + ("" if missing or extra else ", and another order")
            )
        return wrong


def _by_key(messages: Iterable[Delivery]) -> dict[bytes, list[str]]:
    found: dict[bytes, list[str]] = {}
    for message_id, key, _ in messages:
        if key is not None:
            found.setdefault(key, []).append(message_id)
    return found


def _newest(session: Session) -> dict[int, int]:
    """The offset of each partition's newest snapshot."""
    newest = func.max(Snapshot.next_offset).label("newest")
    rows = session.execute(select(Snapshot.partition, newest).group_by(Snapshot.partition))
    return {row.partition: row.newest for row in rows}


def compare(mine: Reader, reference: Reader) -> Found:
    """The trial against its reference run and against the promises."""
    found, expected = mine.end(), reference.end()
    wrong = [f"reference run: {fault}" for fault in reference.broken_promises()]
    wrong += mine.broken_promises()
    for name in End.__dataclass_fields__:
        wrong += _differences(name, getattr(found, name), getattr(expected, name))
    misleading, snapshots = mine.bad_snapshots(expected.states)
    return Found(
        wrong + misleading,
        len(found.ledger),
        len(found.dead_letters),
        len(found.labels),
        len(found.cases),
        len(found.outcomes),
        mine.repeats(),
        snapshots,
    )


def _differences(
    name: str, found: Mapping[Any, object], expected: Mapping[Any, object]
) -> list[str]:
    keys = sorted(found.keys() | expected.keys(), key=str)
    different = [key for key in keys if found.get(key) != expected.get(key)]
    told = [
        f"{name} {key}: {_brief(found.get(key))} not {_brief(expected.get(key))}"
        for key in different[:SHOWN]
    ]
    if len(different) > SHOWN:
        told.append(f"{name}: {len(different)} of {len(keys)} differ")
    return told


def _brief(value: object) -> str:
    return "nothing" if value is None else repr(value)[:200]
