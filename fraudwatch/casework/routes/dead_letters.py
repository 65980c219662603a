"""Messages that could not be used: which there are, what is in them, and once more."""

from __future__ import annotations

import base64
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from fraudwatch.casework import dead_letters, queue
from fraudwatch.casework.audit import By
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.dead_letters import Replayed, Selection
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import DeadLetter, DeadLetterReplay
from fraudwatch.casework.params import Cursor, Limit
from fraudwatch.casework.permissions import (
    MayReadDeadLetters,
    MayReplayDeadLetters,
    MayRevealDeadLetters,
)
from fraudwatch.casework.problems import responses
from fraudwatch.casework.schemas import Page
from fraudwatch.casework.schemas_dead_letters import (
    DeadLetterDetail,
    DeadLetterOut,
    Offset,
    Partition,
    ReasonName,
    ReplayIn,
    ReplayOut,
    RevealOut,
    TopicName,
    WhyIn,
)
from fraudwatch.errors import Conflict, Invalid

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])

Place = tuple[str, int, int]


def _place(
    topic: Annotated[TopicName, Path()],
    partition: Annotated[Partition, Path()],
    offset: Annotated[Offset, Path()],
) -> Place:
    """Where a dead letter stood."""
    return topic, partition, offset


def _selection(
    topic: Annotated[TopicName | None, Query()] = None,
    partition: Annotated[Partition | None, Query()] = None,
    reason: Annotated[ReasonName | None, Query()] = None,
    since: datetime | None = None,
    until: datetime | None = None,
    replayed: bool | None = None,
) -> Selection:
    """Which to list."""
    return Selection(topic, partition, reason, since, until, None, replayed)


PlaceDep = Annotated[Place, Depends(_place)]


@router.get(
    "",
    operation_id="listDeadLetters",
    summary="Messages that could not be used",
    responses=responses(401, 403, 422),
)
def list_dead_letters(
    _: MayReadDeadLetters,
    session: SessionDep,
    wanted: Annotated[Selection, Depends(_selection)],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[DeadLetterOut]:
    """Newest first, with the reason and without the content."""
    rows, more = dead_letters.page(session, wanted, after=_read_cursor(cursor), limit=limit)
    return Page[DeadLetterOut](
        items=[DeadLetterOut.model_validate(_facts(*row)) for row in rows],
        next_cursor=_cursor(rows[-1][0].place) if more else None,
    )


@router.post(
    "/replay",
    operation_id="replayDeadLetters",
    summary="Replay dead letters",
    responses=responses(401, 403, 422),
)
def replay_many(
    body: ReplayIn, lens: MayReplayDeadLetters, services: ServicesDep, session: SessionDep
) -> ReplayOut:
    """Puts them on their topic again, each into its partition, in the order they came in.

    Each goes once. What cannot be replayed is counted by its cause.
    """
    wanted = Selection(body.topic, body.partition, body.reason, body.since, body.until)
    done = dead_letters.replay(
        session,
        services.settings,
        wanted,
        _by(lens, body),
        services.clock.now(),
        after=_read_cursor(body.cursor),
        dry_run=body.dry_run,
    )
    return _replayed(done)


@router.get(
    "/{topic}/{partition}/{offset}",
    operation_id="readDeadLetter",
    summary="Read a dead letter",
    responses=responses(401, 403, 404, 422),
)
def read_dead_letter(
    place: PlaceDep, _: MayReadDeadLetters, services: ServicesDep, session: SessionDep
) -> DeadLetterDetail:
    """Why it was put aside and what became of it, without the content."""
    letter = dead_letters.get(session, *place)
    found = dead_letters.chain(session, services.settings, letter)
    return DeadLetterDetail.model_validate(_facts(letter) | asdict(found))


@router.post(
    "/{topic}/{partition}/{offset}/reveal",
    operation_id="revealDeadLetter",
    summary="Look into a dead letter",
    responses=responses(401, 403, 404, 422),
)
def reveal_dead_letter(
    place: PlaceDep,
    body: WhyIn,
    lens: MayRevealDeadLetters,
    services: ServicesDep,
    session: SessionDep,
) -> RevealOut:
    """The bytes as they came, perhaps personal data: who looked and why goes into the audit log."""
    letter = dead_letters.get(session, *place)
    raw = dead_letters.reveal(session, letter, _by(lens, body), services.clock.now())
    return RevealOut(
        key=None if letter.key is None else base64.b64encode(letter.key).decode(),
        raw=base64.b64encode(raw).decode(),
        complete=letter.size == len(raw),
    )


@router.post(
    "/{topic}/{partition}/{offset}/replay",
    operation_id="replayDeadLetter",
    summary="Replay a dead letter",
    responses=responses(401, 403, 404, 409, 422),
)
def replay_one(
    place: PlaceDep,
    body: WhyIn,
    lens: MayReplayDeadLetters,
    services: ServicesDep,
    session: SessionDep,
) -> ReplayOut:
    """Puts it on its topic again, into the partition it came from. It goes once: then 409."""
    letter = dead_letters.get(session, *place)
    wanted = Selection(letter.topic, letter.partition, offset=letter.offset)
    done = dead_letters.replay(
        session, services.settings, wanted, _by(lens, body), services.clock.now()
    )
    if not done.dead_letters and not done.refused:
        raise Conflict("it was replayed before: read it to see when, by whom and what became of it")
    return _replayed(done)


def _facts(letter: DeadLetter, replay: DeadLetterReplay | None = None) -> dict[str, object]:
    names = (name for name in DeadLetterOut.model_fields if name != "replayed_at")
    facts: dict[str, object] = {name: getattr(letter, name) for name in names}
    return facts | {"replayed_at": replay.replayed_at if replay else None}


def _by(lens: Lens, body: WhyIn) -> By:
    return By(lens.actor.name, body.why, lens.actor)


def _replayed(done: Replayed) -> ReplayOut:
    return ReplayOut(
        dead_letters=done.dead_letters,
        messages=done.messages,
        refused=dict(done.refused),
        next_cursor=_cursor(done.last) if done.last else None,
    )


def _cursor(place: Place) -> str:
    topic, partition, offset = place
    return queue.make_cursor(f"{partition}:{offset}:{topic}")


def _read_cursor(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    partition, _, rest = queue.read_text_cursor(cursor).partition(":")
    offset, _, topic = rest.partition(":")
    numbers = (partition, offset)
    if not all(n.isascii() and n.isdigit() and len(n) <= 18 for n in numbers):
        raise Invalid("the cursor is not one of ours: begin without it")
    return topic, int(partition), int(offset)
