"""What the API takes about webhooks."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from fraudwatch.casework.bodies import Text, example

EventName = Annotated[str, Field(pattern=r"^(case|outcome)\.([a-z_]{1,40}|\*)$")]
Events = Annotated[list[EventName], Field(min_length=1, max_length=50)]
Description = Annotated[Text, Field(max_length=200)]


class WebhookIn(BaseModel):
    """`events`: kinds such as `case.resolved` or `outcome.decline`, or `case.*`, `outcome.*`."""

    model_config = example(
        url="https://payments.example.org/hooks/fraud",
        events=["outcome.*", "case.opened"],
        description="Payment switch",
    )
    url: Annotated[Text, Field(min_length=1, max_length=2000)]
    events: Events
    description: Description = ""
    give_up_hours: int = Field(24, ge=1, le=720)


class WebhookChange(BaseModel):
    """What is absent stays."""

    model_config = example(enabled=False)
    events: Events | None = None
    description: Description | None = None
    enabled: bool | None = None


class RotateIn(BaseModel):
    """How long the present secret stays good beside the new one."""

    model_config = example(hours=24)
    hours: int = Field(24, ge=0, le=168)


class ReplayWebhookIn(BaseModel):
    """Ids of dead deliveries; absent: all of the endpoint."""

    model_config = example(deliveries=[4711])
    deliveries: list[Annotated[int, Field(ge=1, le=2**62)]] | None = Field(None, max_length=1000)
