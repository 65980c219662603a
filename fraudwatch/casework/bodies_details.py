"""What the API takes about briefs and first judgements."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fraudwatch.casework.bodies import NoteText, example
from fraudwatch.casework.bodies_cases import ActIn
from fraudwatch.casework.judgements import Judgement
from fraudwatch.domain.call_brief import Language


class BriefIn(ActIn):
    model_config = example(language="en", text="Good day, …", called=True)
    language: Language
    text: Annotated[NoteText, Field(min_length=1)]
    called: bool = Field(False, description="The call was made with it.")


class JudgementIn(ActIn):
    model_config = example(judgement="unsure")
    judgement: Judgement
