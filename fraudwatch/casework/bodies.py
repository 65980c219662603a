"""What the API takes."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fraudwatch.policy.rules import LATE_DAYS


def _storable(value: str) -> str:
    """PostgreSQL text holds no NUL character."""
    if "\x00" in value:
        raise ValueError("must not contain the NUL character")
    return value


Text = Annotated[str, AfterValidator(_storable)]
Key = Annotated[Text, Field(min_length=1, max_length=256)]
NoteText = Annotated[Text, Field(max_length=10_000)]


def example(**values: Any) -> ConfigDict:
    """Unknown fields are refused; the example stands in the description."""
    return ConfigDict(json_schema_extra={"examples": [values]}, extra="forbid", frozen=True)


class SignIn(BaseModel):
    model_config = example(name="ada", password="correct horse battery staple")  # noqa: S106 - an example
    name: Annotated[Text, Field(min_length=1, max_length=100)]
    password: Annotated[str, Field(min_length=1, max_length=1000)]


class NewPassword(BaseModel):
    model_config = example(
        current="correct horse battery staple", new="a longer and better passphrase"
    )
    current: Annotated[str, Field(min_length=1, max_length=1000)]
    new: Annotated[str, Field(min_length=1, max_length=1000)]


class PolicyIn(BaseModel):
    model_config = example(
        review_from=0.99,
        high_risk_from=0.999,
        no_history_amount="1000.00",
        no_history_count=5,
        blind_spot_rate=0.001,
        late_days=30,
        comment="Fewer reviews: precision at the old threshold was 4 %.",
    )
    review_from: float = Field(gt=0, le=1, allow_inf_nan=False)
    high_risk_from: float = Field(gt=0, le=1, allow_inf_nan=False)
    no_history_amount: Decimal = Field(gt=0, max_digits=16, decimal_places=4)
    no_history_count: int = Field(ge=0, le=1_000_000)
    blind_spot_rate: float = Field(ge=0, le=1, allow_inf_nan=False)
    late_days: int = Field(LATE_DAYS, ge=1, le=36_500)
    comment: Annotated[NoteText, Field(min_length=1)]
