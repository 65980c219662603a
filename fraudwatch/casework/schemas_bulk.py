"""What the API gives of acts on many cases, and of views that people keep."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from fraudwatch.casework.bodies_bulk import ViewFilter
from fraudwatch.casework.problems import Problem
from fraudwatch.casework.schemas import Answer, shown


class BulkItemOut(Answer):
    model_config = shown(case_id=17, done=True, version=4, problem=None)
    case_id: int
    done: bool
    version: int | None = Field(None, description="Of the case, after the act.")
    problem: Problem | None = Field(
        None, description="Why not. Null beside `done: false`: undone because another one failed."
    )


class BulkOut(Answer):
    """What became of each case, in the order asked for."""

    model_config = shown(
        done=1, failed=0, items=[{"case_id": 17, "done": True, "version": 4, "problem": None}]
    )
    done: int
    failed: int
    items: list[BulkItemOut]


class ViewOut(Answer):
    model_config = shown(
        id=3,
        name="Late business cases",
        filter={"queue": "business", "late": True},
        shared=True,
        owner="ada",
        mine=True,
        changed_at="2026-03-02T12:00:00Z",
    )
    id: int
    name: str
    filter: ViewFilter
    shared: bool
    owner: str
    mine: bool
    changed_at: datetime
