"""What the API gives of queues, the people in them, and the board."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from fraudwatch.casework.bodies_queues import QUEUE, QueueIn
from fraudwatch.casework.schemas import Answer, shown

WAITING: dict[str, Any] = {
    "name": "business",
    "title": "Business accounts, large amounts",
    "mine": True,
    "skills": ["business"],
    "open": 31,
    "waiting": 24,
    "late": 1,
    "oldest_at": "2026-03-02T08:11:00Z",
}
WORKER: dict[str, Any] = {
    "user_id": 7,
    "name": "ada",
    "skills": ["business", "french"],
    "queues": {"business": "worker"},
    "most_open": 3,
    "own_accounts": ["acc-…111~2f"],
    "away_from": None,
    "away_until": None,
    "away": False,
}


class QueueOut(Answer):
    """A queue, with what is in it now."""

    model_config = shown(**WAITING)
    name: str
    title: str
    mine: bool = Field(description="Whether `next` gives the caller cases of it.")
    skills: list[str]
    open: int
    waiting: int = Field(description="Held by nobody, and not put aside.")
    late: int = Field(description="Past the due time.")
    oldest_at: datetime | None = Field(None, description="When the oldest that waits opened.")


class QueueRulesOut(Answer):
    """One version of the rules; the newest holds."""

    model_config = shown(
        id=2,
        queues=[QUEUE, {"name": "rest", "title": "All other cases"}],
        most_open=5,
        comment="Business accounts have a team of their own from June on.",
        set_by="sia",
        set_at="2026-06-01T10:00:00Z",
    )
    id: int
    queues: list[QueueIn]
    most_open: int | None = None
    comment: str
    set_by: str | None = None
    set_at: datetime


class MembersOut(Answer):
    """Who belongs to a queue; nobody: it is for everybody."""

    model_config = shown(queue="business", members={"ada": "worker", "sia": "lead"})
    queue: str
    members: dict[str, str]


class WorkerOut(Answer):
    """A person as queues see them."""

    model_config = shown(**WORKER)
    user_id: int
    name: str
    skills: list[str]
    queues: dict[str, str] = Field(description="Queues that they belong to, with their role.")
    most_open: int | None = None
    own_accounts: list[str] = Field(description="Masked for who may not see personal data.")
    away_from: datetime | None = None
    away_until: datetime | None = None
    away: bool
