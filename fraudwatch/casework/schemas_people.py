"""What the API gives of people: users, their sessions, tokens and second factor."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from fraudwatch.casework.models import ApiToken, User, UserSession
from fraudwatch.casework.schemas import Answer, shown
from fraudwatch.casework.tokens import Made

_SESSION = {
    "id": 41,
    "begun_at": "2026-03-02T08:01:00Z",
    "seen_at": "2026-03-02T11:58:00Z",
    "ends_at": "2026-03-02T18:01:00Z",
    "address": "192.0.2.17",
    "browser": "Mozilla/5.0 (X11; Linux x86_64)",
    "method": "password",
    "this_one": True,
}
_TOKEN = {
    "id": 12,
    "name": "nightly export",
    "permissions": ["transactions:read"],
    "created_at": "2026-03-02T08:01:00Z",
    "ends_at": "2026-04-01T08:01:00Z",
    "last_used_at": None,
}
_USER = {
    "id": 7,
    "name": "sam",
    "display_name": "Sam S.",
    "kind": "person",
    "role": "senior",
    "units": ["north"],
    "disabled": False,
    "must_change_password": True,
    "second_factor": False,
    "provider": None,
    "created_at": "2026-03-02T08:01:00Z",
}


class SessionOut(Answer):
    """A browser that is signed in."""

    model_config = shown(**_SESSION)
    id: int
    begun_at: datetime
    seen_at: datetime = Field(description="Exact to a minute.")
    ends_at: datetime
    address: str
    browser: str
    method: str
    this_one: bool


class TokenOut(Answer):
    """An API token; the token itself is shown when it is made, and never again."""

    model_config = shown(**_TOKEN)
    id: int
    name: str
    permissions: list[str] | None = Field(description="null: all that its owner has.")
    created_at: datetime
    ends_at: datetime
    last_used_at: datetime | None


class NewTokenOut(TokenOut):
    model_config = shown(**_TOKEN, token="fwt_q8…")  # noqa: S106 - an example
    token: str


class SecondFactorOut(Answer):
    """Whether the second factor is set up."""

    model_config = shown(active=True, since="2026-03-02T08:01:00Z", recovery_codes_left=9)
    active: bool
    since: datetime | None
    recovery_codes_left: int


class OfferOut(Answer):
    """A secret for an authenticator app, as text, as URI and as a QR code (SVG)."""

    model_config = shown(
        secret="JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",  # noqa: S106 - an example
        uri="otpauth://totp/fraudwatch:sam?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=fraudwatch",
        qr_svg="<svg …/>",
    )
    secret: str
    uri: str
    qr_svg: str


class RecoveryCodesOut(Answer):
    """Codes that each stand in once for the second factor. Shown this once."""

    model_config = shown(recovery_codes=["2k3f9-x7mqt-4w8hb"])
    recovery_codes: list[str]


class UserOut(Answer):
    model_config = shown(**_USER)
    id: int
    name: str
    display_name: str
    kind: str
    role: str
    units: list[str] | None = Field(description="Whose cases they see; null: all.")
    disabled: bool
    must_change_password: bool
    second_factor: bool
    provider: str | None = Field(description="Issuer that signs them in instead of a password.")
    created_at: datetime


class NewUserOut(UserOut):
    model_config = shown(**_USER, one_time_password="2k3f-x7mq-4w8h")  # noqa: S106 - an example
    one_time_password: str | None = Field(
        description="Good for 72 hours and for choosing another; null for a service."
    )


class OneTimePasswordOut(Answer):
    model_config = shown(one_time_password="2k3f-x7mq-4w8h")  # noqa: S106 - an example
    one_time_password: str


def session_out(row: UserSession, this_id: int | None) -> SessionOut:
    """A session as its owner or an administrator sees it."""
    return SessionOut(
        id=row.id,
        begun_at=row.created_at,
        seen_at=row.seen_at,
        ends_at=row.expires_at,
        address=row.source,
        browser=row.agent,
        method=row.method,
        this_one=row.id == this_id,
    )


def token_out(row: ApiToken) -> TokenOut:
    """A token without its secret."""
    return TokenOut(
        id=row.id,
        name=row.name,
        permissions=row.permissions,
        created_at=row.created_at,
        ends_at=row.expires_at,
        last_used_at=row.last_used_at,
    )


def new_token_out(made: Made) -> NewTokenOut:
    """A token with its secret: shown this once."""
    return NewTokenOut(**token_out(made.row).model_dump(), token=made.token)


def user_out(user: User) -> UserOut:
    """A user without secrets."""
    return UserOut(
        id=user.id,
        name=user.name,
        display_name=user.display_name,
        kind=user.kind,
        role=user.role,
        units=user.units,
        disabled=user.disabled,
        must_change_password=user.must_change_password,
        second_factor=user.totp_secret is not None,
        provider=user.provider,
        created_at=user.created_at,
    )
