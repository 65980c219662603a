"""What the API takes and gives about dead letters."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from fraudwatch.casework.bodies import NoteText, Text

TopicName = Annotated[Text, Field(min_length=1, max_length=249)]
Partition = Annotated[int, Field(ge=0, le=2**31 - 1)]
Offset = Annotated[int, Field(ge=0, le=2**62)]
ReasonName = Annotated[Text, Field(min_length=1, max_length=64)]

_LETTER: dict[str, Any] = {
    "topic": "transactions",
    "partition": 0,
    "offset": 4711,
    "next_offset": 4712,
    "reason": "unknown_currency",
    "field": "currency",
    "detail": "must be an ISO 4217 code",
    "size": 212,
    "created_at": "2026-03-02T12:00:00Z",
    "replayed_at": "2026-03-03T09:00:00Z",
}


def _shown(*, takes: bool = False, **values: Any) -> ConfigDict:
    return ConfigDict(
        json_schema_extra={"examples": [values]},
        frozen=True,
        extra="forbid" if takes else "ignore",
    )


class DeadLetterOut(BaseModel):
    """A message put aside, without its content. `size` is null for a damaged range."""

    model_config = _shown(**_LETTER)
    topic: str
    partition: int
    offset: int
    next_offset: int
    reason: str
    field: str
    detail: str
    size: int | None
    created_at: datetime
    replayed_at: datetime | None = None


class DeadLetterDetail(DeadLetterOut):
    """The same with what became of it.

    `replay_of` is the offset of the dead letter that this one was a replay of, `decided_at` the
    offset whose ledger row or label holds the message, `next_dead_letter` the offset at which its
    replay was put aside again: the last two in the partition `goes_on_in`, which is another one
    only where partitions were added since.
    """

    model_config = _shown(
        **_LETTER,
        replay_of=None,
        replayed_by="olga",
        why="XAD has been added to the currencies",
        goes_on_in=0,
        decided_at=5102,
        next_dead_letter=None,
    )
    replay_of: int | None
    replayed_by: str | None
    why: str | None
    goes_on_in: int
    decided_at: int | None
    next_dead_letter: int | None


class WhyIn(BaseModel):
    """Why: it goes into the audit log."""

    model_config = _shown(takes=True, why="The sender asks what is wrong with this payment.")
    why: Annotated[NoteText, Field(min_length=1)]


class RevealOut(BaseModel):
    """The bytes of key and message in base64. `complete` is false where they were cut."""

    model_config = _shown(key="YWNjLTE=", raw="e30=", complete=True)
    key: str | None
    raw: str
    complete: bool


class ReplayIn(WhyIn):
    """Which dead letters to replay: all that fit and were not replayed. `dry_run` only counts."""

    model_config = _shown(
        takes=True,
        why="XAD has been added to the currencies",
        topic="transactions",
        reason="unknown_currency",
        since="2026-03-02T00:00:00Z",
        dry_run=True,
    )
    topic: TopicName | None = None
    partition: Partition | None = None
    reason: ReasonName | None = None
    since: datetime | None = None
    until: datetime | None = None
    dry_run: bool = False
    cursor: Annotated[Text, Field(max_length=600)] | None = None


class ReplayOut(BaseModel):
    """How many dead letters go, as how many messages, and how many are refused for which cause.

    At most 1,000 are looked at in one request: go on with `next_cursor` until it is null.
    """

    model_config = _shown(
        dead_letters=17,
        messages=17,
        refused={"duplicate: it was decided already": 3},
        next_cursor=None,
    )
    dead_letters: int
    messages: int
    refused: dict[str, int]
    next_cursor: str | None = None
