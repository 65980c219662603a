"""Dead letters for people: look for them, look into them, replay them after a fix.

A replay puts the message on its topic again, into the partition it came from, so that its account
stays where it is, or, when partitions were added since, into the one where its account lives now;
it is processed after what has come since. It goes through the outbox in the
commit that marks it, once: it can neither be lost nor be sent twice. What becomes of it shows in
`Chain`: the ledger row or label that it gave, or the next dead letter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement, Select, and_, func, insert, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session, defer

from fraudwatch.casework import audit, layouts, ledger
from fraudwatch.casework.audit import By
from fraudwatch.casework.ledger_tables import near
from fraudwatch.casework.models import (
    DeadLetter,
    DeadLetterReplay,
    LabelRow,
    LedgerRow,
    OutboxRow,
)
from fraudwatch.domain.label import decode_label
from fraudwatch.errors import InputError, NotFound
from fraudwatch.settings import Settings
from streams.dead_letters import HARMLESS, replay_id
from streams.kafka_records import recover
from streams.partitioner import partitions_of
from streams.source import MAX_MESSAGE_BYTES

CHUNK = 1000
_HEADER_ROOM = 100
_FAR_FUTURE = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters; a field left out does not choose. `since <= created_at < until`."""

    topic: str | None = None
    partition: int | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    offset: int | None = None
    replayed: bool | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """As SQL over `DeadLetter` joined, from the outside, with `DeadLetterReplay`."""
        found: list[ColumnElement[bool]] = []
        for name in ("topic", "partition", "reason", "offset"):
            value = getattr(self, name)
            if value is not None:
                found.append(getattr(DeadLetter, name) == value)
        if self.since is not None:
            found.append(DeadLetter.created_at >= self.since)
        if self.until is not None:
            found.append(DeadLetter.created_at < self.until)
        if self.replayed is not None:
            sent = DeadLetterReplay.replayed_at.is_not(None)
            found.append(sent if self.replayed else ~sent)
        return found

    def as_dict(self) -> dict[str, object]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Chain:
    """How a dead letter goes on: in the partition `goes_on_in`, its own or, after partitions were
    added, that of its account. There `decided_at` is the offset whose ledger row or label holds
    the message, `next_dead_letter` that of its replay put aside again."""

    replay_of: int | None
    replayed_at: datetime | None
    replayed_by: str | None
    why: str | None
    goes_on_in: int
    decided_at: int | None
    next_dead_letter: int | None


@dataclass(slots=True)
class Replayed:
    """What a replay did, or in a dry run would do: messages sent, dead letters refused by cause."""

    dead_letters: int = 0
    messages: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    last: tuple[str, int, int] | None = None
    """The last one looked at; None when there are no more."""


def page(
    session: Session,
    wanted: Selection,
    *,
    after: tuple[str, int, int] | None = None,
    limit: int = 50,
) -> tuple[list[tuple[DeadLetter, DeadLetterReplay | None]], bool]:
    """Newest first, without raw bytes; whether there are more. `after` is the last one seen."""
    keys = (DeadLetter.created_at, DeadLetter.topic, DeadLetter.partition, DeadLetter.offset)
    query = _joined(wanted).options(defer(DeadLetter.raw, raiseload=True))
    if after is not None:
        topic, partition, offset = after
        last = select(*keys).where(
            DeadLetter.topic == topic,
            DeadLetter.partition == partition,
            DeadLetter.offset == offset,
        )
        query = query.where(tuple_(*keys) < last.scalar_subquery())
    rows = session.execute(query.order_by(*(key.desc() for key in keys)).limit(limit + 1)).all()
    return [(row[0], row[1]) for row in rows[:limit]], len(rows) > limit


def counts(session: Session, wanted: Selection) -> list[tuple[str, str, str, int]]:
    """Topic, reason, field and how many of them, the most frequent first."""
    number = func.count()
    rows = session.execute(
        select(DeadLetter.topic, DeadLetter.reason, DeadLetter.field, number)
        .outerjoin(DeadLetterReplay, _SAME)
        .where(*wanted.conditions())
        .group_by(DeadLetter.topic, DeadLetter.reason, DeadLetter.field)
        .order_by(number.desc(), DeadLetter.topic, DeadLetter.reason, DeadLetter.field)
    )
    return [(topic, reason, name, count) for topic, reason, name, count in rows]


def get(session: Session, topic: str, partition: int, offset: int) -> DeadLetter:
    """One of them, raw bytes and all. Raises `NotFound`."""
    row = session.get(DeadLetter, (topic, partition, offset))
    if row is None:
        raise NotFound(f"there is no dead letter at {topic} {partition} {offset}")
    return row


def chain(session: Session, settings: Settings, letter: DeadLetter) -> Chain:
    """What it was a replay of, whether it was replayed, and what came of it."""
    replay = session.get(DeadLetterReplay, (letter.topic, letter.partition, letter.offset))
    for partition in dict.fromkeys((letter.partition, _Places(session, settings).of(letter))):
        decided = _decided_at(session, settings, letter, partition)
        following = session.scalar(
            select(DeadLetter.offset).where(
                DeadLetter.topic == letter.topic,
                DeadLetter.partition == partition,
                DeadLetter.replay_of == letter.offset,
                # The same offset of another partition may have been replayed into this one too.
                DeadLetter.raw == letter.raw,
            )
        )
        if decided is not None or following is not None:
            break
    return Chain(
        letter.replay_of,
        replay.replayed_at if replay else None,
        replay.replayed_by if replay else None,
        replay.why if replay else None,
        partition,
        decided,
        following,
    )


def reveal(session: Session, letter: DeadLetter, by: By, now: datetime) -> bytes:
    """The raw bytes, which may be personal data: who looked, and why, goes into the audit log."""
    audit.append(
        session,
        at=now,
        actor=by.actor,
        action="dead-letter.reveal",
        subject=f"dead-letter:{_name(letter)}",
        data={"by": by.name, "why": by.why},
    )
    return letter.raw


def replay(
    session: Session,
    settings: Settings,
    wanted: Selection,
    by: By,
    now: datetime,
    *,
    after: tuple[str, int, int] | None = None,
    dry_run: bool = False,
    limit: int = CHUNK,
) -> Replayed:
    """Put dead letters that were not replayed yet on their topic again, in the order they came in.

    Looks at up to `limit` of them; go on with `after=last` until `last` is None. A dry run
    writes nothing.
    """
    key = (DeadLetter.topic, DeadLetter.partition, DeadLetter.offset)
    query = _joined(wanted).where(DeadLetterReplay.offset.is_(None))
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*after))
    letters = [letter for letter, _ in session.execute(query.order_by(*key).limit(limit))]
    done = Replayed()
    if len(letters) == limit:
        done.last = letters[-1].place
    rows: list[dict[str, object]] = []
    places = _Places(session, settings)
    for letter in letters:
        messages = _messages(settings, letter)
        if isinstance(messages, str):
            done.refused[messages] += 1
        elif dry_run or _mark(session, letter, by, now):
            done.dead_letters += 1
            done.messages += len(messages)
            rows += [
                _outbox_row(letter, places.of(letter, message_key, value), message_key, value, now)
                for message_key, value in messages
            ]
    if rows and not dry_run:
        session.execute(insert(OutboxRow), rows)
        audit.append(
            session,
            at=now,
            actor=by.actor,
            action="dead-letters.replay",
            subject="dead-letters",
            data={
                "by": by.name,
                "why": by.why,
                "wanted": wanted.as_dict(),
                "dead_letters": done.dead_letters,
                "messages": done.messages,
                "first": _name(letters[0]),
                "last": _name(letters[-1]),
            },
        )
    return done


_SAME = and_(
    DeadLetterReplay.topic == DeadLetter.topic,
    DeadLetterReplay.partition == DeadLetter.partition,
    DeadLetterReplay.offset == DeadLetter.offset,
)


def _joined(wanted: Selection) -> Select[DeadLetter, DeadLetterReplay]:
    return (
        select(DeadLetter, DeadLetterReplay)
        .outerjoin(DeadLetterReplay, _SAME)
        .where(*wanted.conditions())
    )


def _messages(settings: Settings, letter: DeadLetter) -> Sequence[tuple[bytes | None, bytes]] | str:
    """Key and value of each message to send, or why it cannot be."""
    if letter.topic not in (settings.topic_transactions, settings.topic_labels):
        return "its topic is not read any more"
    if letter.reason in HARMLESS:
        return "duplicate: it was decided already"
    if letter.reason == "damaged":
        return recover(letter.raw, letter.offset, letter.next_offset)
    if letter.size is not None and letter.size > len(letter.raw):
        return "oversized: only its first bytes were kept; have the sender send it again"
    if len(letter.raw) + len(letter.key or b"") > MAX_MESSAGE_BYTES - _HEADER_ROOM:
        return "oversized: no broker would take it"
    return [(letter.key, letter.raw)]


def _mark(session: Session, letter: DeadLetter, by: By, now: datetime) -> bool:
    """Whether this call, and no other at the same moment, replays it."""
    marked = session.scalar(
        upsert(DeadLetterReplay)
        .values(
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            replayed_at=now,
            replayed_by=by.name,
            why=by.why,
        )
        .on_conflict_do_nothing()
        .returning(DeadLetterReplay.offset)
    )
    return marked is not None


def _outbox_row(
    letter: DeadLetter, partition: int, key: bytes | None, value: bytes, now: datetime
) -> dict[str, object]:
    return {
        "topic": letter.topic,
        "partition": partition,
        "key": _text_key(key),
        "message_id": replay_id(letter.offset),
        "payload": value,
        "created_at": now,
    }


def _text_key(key: bytes | None) -> str | None:
    """The key as the outbox keeps it. One that is no text is left out: the partition is named."""
    if key is None or b"\x00" in key:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


class _Places:
    """Where replays go: the partition a message came from, unless the topic of transactions has
    more of them since. Then accounts have moved to where their keys belong (`fraudwatch grow`
    wants producers that hash as Kafka does), and a message that names its account follows it."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self._topic = settings.topic_transactions
        self._layout = layouts.current(session, self._topic)

    def of(self, letter: DeadLetter, key: bytes | None = None, value: bytes | None = None) -> int:
        """The partition of a replay, or of one message in it: `key` and `value` are the letter's
        own if they are left out."""
        layout = self._layout
        if layout is None or letter.topic != self._topic:
            return letter.partition
        if letter.offset >= layout.bases.get(letter.partition, 0):
            return letter.partition  # it came when there were as many as now
        account = _account(letter.raw if value is None else value)
        owner = account or (letter.key if value is None else key)
        return int(partitions_of([owner], layout.partitions)[0]) if owner else letter.partition


def _account(value: bytes) -> bytes | None:
    """The account that a message names, even if the message is of no use for another reason."""
    try:
        named = _ACCOUNTS.decode(value).account_id
        return named.encode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


class _Named(msgspec.Struct):
    account_id: str


_ACCOUNTS = msgspec.json.Decoder(_Named)


def _decided_at(
    session: Session, settings: Settings, letter: DeadLetter, partition: int
) -> int | None:
    # Where it moved to, offsets begin anew: all that it has there came later.
    since = letter.offset if partition == letter.partition else -1
    try:
        if letter.topic == settings.topic_transactions:
            sent = ledger.stored(letter.raw)
            return session.scalar(
                select(func.min(LedgerRow.offset)).where(
                    near({sent.transaction_id: sent.event_time}, timedelta(0)),
                    LedgerRow.partition == partition,
                    LedgerRow.offset > since,
                )
            )
        known = decode_label(
            letter.raw, _FAR_FUTURE, max_bytes=len(letter.raw), max_future_seconds=0
        ).transaction_id
    except InputError:
        return None
    return session.scalar(
        select(func.min(LabelRow.offset)).where(
            LabelRow.transaction_id == known,
            LabelRow.topic == letter.topic,
            LabelRow.partition == partition,
            LabelRow.offset > since,
        )
    )


def _name(letter: DeadLetter) -> str:
    return ":".join(map(str, letter.place))
