"""A hash chain of rows, walked: what fits, and what was done to the rows that do not.

`hash = sha256(previous_hash + id + sha256(content))`, the id as 8 bytes, the highest first, the
content as canonical JSON; the first row follows 32 zero bytes. Rows of version 0.1 have
`sha256(previous_hash + canonical JSON with the id)`. No secret is in it: anybody can check a copy,
and who may write to every row can rewrite all of them. That is what heads are for: the id and hash
of a newest row, kept where the database's operator cannot write.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain
from typing import Any, Protocol

GENESIS = bytes(32)

MOST = 20  # faults that are named; the count tells of the others
_NEAR = 1000  # how far from its place a row is looked for
_SEARCHES = 500  # rows that are looked for; all others that do not fit count as changed


class Entry(Protocol):
    """A row of a chain, as the tables have it."""

    id: Any
    at: Any
    actor_id: Any
    actor: Any
    action: Any
    subject: Any
    data: Any
    previous_hash: Any
    hash: Any


@dataclass(frozen=True, slots=True, order=True)
class Head:
    """The newest row of a chain at some moment: all rows up to it hang on its hash."""

    id: int
    hash: str  # hexadecimal


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a chain begins: after rows that were removed for their age, or at the very beginning.
    What stood there last is in the chain of changes."""

    id: int = 0
    hash: bytes = GENESIS


class FaultKind(StrEnum):
    """What was done to a row."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    MOVED = "moved"
    REWRITTEN = "rewritten"


@dataclass(frozen=True, slots=True)
class Fault:
    """A place that is not as it was written; `row` is the id of the row, or of the one missing."""

    row: int
    kind: FaultKind
    detail: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.detail}"


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """Result of walking a chain: `broken_at` is the id of the first row that is not as it was.

    `rows` were walked; `head` and `last` are hash and id of the newest. `expired`: rows up to this
    id were removed for their age. `faults` names the first `MOST` of `found`.
    """

    ok: bool
    rows: int
    head: str  # hexadecimal
    last: int
    expired: int = 0
    broken_at: int | None = None
    found: int = 0
    faults: tuple[Fault, ...] = ()


def digest(
    *,
    at: datetime,
    actor_id: int | None,
    actor: str,
    action: str,
    subject: str,
    data: Mapping[str, object],
) -> bytes:
    """SHA-256 of what a row says, its place left out."""
    content = {"actor_id": actor_id, "actor": actor, "action": action, "subject": subject}
    return hashlib.sha256(_canonical({**content, "at": _moment(at), "data": data})).digest()


def plain(value: object) -> Any:
    """The value as JSON that JSONB gives back unchanged: it rewrites floats, so they are text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return str(value)


def check(rows: Iterable[Entry], anchor: Anchor, heads: Sequence[Head] = ()) -> AuditCheck:
    """Walk rows in the order of their ids and compare them with each other and with heads."""
    walk = _Walk(anchor, heads)
    for row in rows:
        walk.take(row)
    return walk.result()


@dataclass(slots=True)
class _Walk:
    """One walk. A row *fits* a place when its hash is that of its content at this place."""

    anchor: Anchor
    heads: Sequence[Head]
    rows: int = 0
    unlike: list[int] = field(default_factory=list)  # fit no place
    unfollowed: list[int] = field(default_factory=list)  # fit theirs; what follows says otherwise
    moved: dict[int, int] = field(default_factory=dict)  # place where a row fits: where it stands
    gaps: list[tuple[int, int]] = field(default_factory=list)  # first and last id without a row
    rewritten: list[Fault] = field(default_factory=list)
    last: int = 0
    hash: bytes = GENESIS
    highest: int = 0  # place where any row fits
    _sound: bool = True  # the row before fits its place
    _shift: int = 0
    _wanted: dict[int, set[str]] = field(default_factory=dict)
    _agreed: int = 0

    def __post_init__(self) -> None:
        self.last, self.hash = self.anchor.id, self.anchor.hash
        for head in self.heads:
            if head.id <= self.anchor.id:  # of rows that are gone for their age
                continue
            self._wanted.setdefault(head.id, set()).add(head.hash)

    def take(self, row: Entry) -> None:
        self.rows += 1
        if row.id > self.last + 1:
            self.gaps.append((self.last + 1, row.id - 1))
        place = self._place(row)
        self.highest = max(self.highest, place or 0)
        if place is None:
            self.unlike.append(row.id)
        elif place != row.id:
            self.moved[place] = row.id
        elif row.id == self.last + 1 and row.previous_hash != self.hash and self._sound:
            before_all = self.last == self.anchor.id
            self.unfollowed.append(row.id if before_all else self.last)
        self._sound = place == row.id
        self.last = max(self.last, row.id)
        self.hash = row.hash
        self._compare(row.id, row.hash.hex())

    def _place(self, row: Entry) -> int | None:
        """The place near its own where the row fits."""
        fits = _fits(row)
        if fits(row.id):
            return int(row.id)
        if len(self.unlike) + len(self.moved) >= _SEARCHES:
            return None
        near = range(max(1, row.id - _NEAR), row.id + _NEAR + 1)
        for place in chain([row.id + self._shift], near):
            if fits(place):
                self._shift = place - row.id
                return int(place)
        return None

    def _compare(self, place: int, found: str) -> None:
        """With the heads that were kept elsewhere."""
        wanted = self._wanted.pop(place, None)
        if wanted is None:
            return
        if wanted == {found}:
            self._agreed = place
            return
        self.rewritten.append(
            Fault(
                place,
                FaultKind.REWRITTEN,
                f"its hash was {min(wanted)} when it was told: rows were rewritten after row"
                f" {self._agreed}, the last that agrees",
            )
        )

    def result(self) -> AuditCheck:
        faults = sorted(self._faults(), key=lambda fault: fault.row)
        return AuditCheck(
            ok=not faults,
            rows=self.rows,
            head=self.hash.hex(),
            last=self.last,
            expired=self.anchor.id,
            broken_at=faults[0].row if faults else None,
            found=len(faults),
            faults=tuple(faults[:MOST]),
        )

    def _faults(self) -> Iterable[Fault]:
        standing = set(self.moved.values())
        inserted = {
            place
            for place in self.moved.keys() - standing
            if self.anchor.id < place <= self.last
            and not any(first <= place <= last for first, last in self.gaps)
        }
        for row in inserted:
            yield Fault(row, FaultKind.INSERTED, "was inserted: another row stood here")
        for row in {*self.unlike, *self.unfollowed} - inserted:
            yield Fault(row, FaultKind.CHANGED, "was changed")
        for place, stands in self.moved.items():
            # Beyond the highest there is no telling whether there was one.
            if self.anchor.id < stands <= self.highest and stands not in self.moved:
                yield Fault(stands, FaultKind.REMOVED, "was removed: another stands in its place")
            yield Fault(stands, FaultKind.MOVED, f"was moved here: it was row {place}")
        for first, last in self.gaps:
            yield from self._removed(first, last)
        yield from self.rewritten
        beyond = [place for place in self._wanted if place > self.last]
        if beyond:
            yield _removed(self.last + 1, max(beyond))

    def _removed(self, first: int, last: int) -> Iterable[Fault]:
        """A gap, without the places of rows that only stand elsewhere."""
        for place in sorted(p for p in self.moved if first <= p <= last):
            if place > first:
                yield _removed(first, place - 1)
            first = place + 1
        if first <= last:
            yield _removed(first, last)


def _removed(first: int, last: int) -> Fault:
    also = "" if first == last else f", and all up to row {last}"
    return Fault(first, FaultKind.REMOVED, f"was removed{also}")


def _fits(row: Entry) -> Callable[[int], bool]:
    """Tells whether the row's hash is that of its content at a place."""
    content = {
        "at": row.at,
        "actor_id": row.actor_id,
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "data": row.data,
    }
    told, first = digest(**content), content | {"at": _moment(row.at)}

    def fits(place: int) -> bool:
        at = place.to_bytes(8, "big", signed=True)
        return row.hash in (
            hashlib.sha256(row.previous_hash + at + told).digest(),
            hashlib.sha256(row.previous_hash + _canonical(first | {"id": place})).digest(),
        )

    return fits


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _canonical(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
