"""What the API takes for acts on many cases, and for views that people keep."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from fraudwatch.casework.bodies import Key, NoteText, example
from fraudwatch.casework.bodies_cases import ActIn
from fraudwatch.domain.case import CaseStatus
from fraudwatch.domain.queues import NAME


class BulkItemIn(BaseModel):
    model_config = example(case_id=17, version=3)
    case_id: int = Field(ge=1, le=2**62)
    version: int = Field(ge=1, le=2_000_000_000, description="That the caller has seen.")


class BulkIn(ActIn):
    """One act on up to 100 cases. Deciding is not one: each case is decided by itself."""

    model_config = example(
        action="note",
        items=[{"case_id": 17, "version": 3}, {"case_id": 18, "version": 1}],
        text="One merchant's terminal was tampered with: see case 15.",
        all_or_none=False,
    )
    action: Literal["claim", "release", "note", "wait", "escalate"]
    items: Annotated[list[BulkItemIn], Field(min_length=1, max_length=100)]
    text: NoteText = Field("", description="The note, or the reason of `wait` and `escalate`.")
    until: AwareDatetime | None = Field(None, description="Of `wait`.")
    all_or_none: bool = Field(False, description="True: where one fails, nothing is done.")


class ViewFilter(BaseModel):
    """As the parameters of `GET /v1/cases`."""

    model_config = example(queue="business", status=["new"], late=True)
    queue: Annotated[str, Field(pattern=NAME)] | None = None
    status: list[CaseStatus] = Field(default_factory=list, max_length=8)
    outcome: Literal["review", "high_risk"] | None = None
    claimed_by: Literal["me"] | None = None
    late: bool | None = None
    raised: bool | None = None


class ViewIn(BaseModel):
    model_config = example(
        name="Late business cases", filter={"queue": "business", "late": True}, shared=False
    )
    name: Annotated[Key, Field(max_length=100)]
    filter: ViewFilter
    shared: bool = Field(False, description="Whether everybody sees it; only its owner changes it.")
