"""What the API takes of people, their sign-in and their tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from fraudwatch.casework.bodies import Text, example
from fraudwatch.domain.access import Permission, Role

Password = Annotated[str, Field(max_length=1000)]
Code = Annotated[Text, Field(min_length=6, max_length=40)]
Name = Annotated[Text, Field(min_length=1, max_length=100)]
Units = Annotated[list[Name], Field(min_length=1, max_length=50)]


class CodeIn(BaseModel):
    """Six digits of the authenticator app, or a recovery code."""

    model_config = example(code="492039")
    code: Code


class ConfirmIn(BaseModel):
    """The caller's password, to confirm a change of their account.

    Empty for people of a provider, who must have signed in within the last 15 minutes.
    """

    model_config = example(password="four quiet green lamps")  # noqa: S106 - an example
    password: Password = ""


class TokenIn(BaseModel):
    model_config = example(
        name="nightly export",
        days=30,
        permissions=["transactions:read"],
        password="four quiet green lamps",  # noqa: S106 - an example
    )
    name: Name
    days: int = Field(30, ge=1, le=366)
    permissions: list[Permission] | None = Field(
        None, description="Of the owner's; null: all that the owner has."
    )
    password: Password = ""


class ServiceTokenIn(BaseModel):
    model_config = example(name="scrape", days=90, permissions=["metrics:read"])
    name: Name
    days: int = Field(90, ge=1, le=366)
    permissions: list[Permission] | None = Field(
        None, description="Of the service's; null: all that it has."
    )


class UserIn(BaseModel):
    model_config = example(name="sam", role="senior", display_name="Sam S.", units=["north"])
    name: Name
    role: Role
    display_name: Annotated[Text, Field(max_length=200)] = ""
    units: Units | None = Field(None, description="Whose cases they see; null: all.")


class UserChange(BaseModel):
    """What is absent stays. `units` null opens all units."""

    model_config = example(role="analyst", units=["north", "south"])
    role: Role | None = None
    display_name: Annotated[Text, Field(min_length=1, max_length=200)] | None = None
    units: Units | None = None
    disabled: bool | None = None
