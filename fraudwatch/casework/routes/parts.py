"""What routes about one case have in common: the version in `If-Match`, the case in the answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Header, Response
from sqlalchemy.orm import Session

from fraudwatch.casework import case_views
from fraudwatch.casework.bodies_cases import ActIn
from fraudwatch.casework.case_rows import Act, Screen
from fraudwatch.casework.context import Services, ServicesDep, SessionDep
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import Case
from fraudwatch.casework.params import IdPath
from fraudwatch.casework.problems import responses
from fraudwatch.casework.schemas_cases import CaseDetail
from fraudwatch.errors import Invalid

ACT = responses(401, 403, 404, 409, 422, 428, 503)


def _if_match(
    if_match: Annotated[
        str | None,
        Header(description='The version seen: the `ETag` of the case, e.g. `"3"`. Required.'),
    ] = None,
) -> int | None:
    """The version in `If-Match: "3"`; none without the header, or for `*`, which names none."""
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Invalid("If-Match must be the ETag of the case: its version in quotes")
    return int(text)


def set_etag(response: Response, version: int) -> None:
    """Let the answer say which version it shows."""
    response.headers["ETag"] = f'"{version}"'


@dataclass(frozen=True, slots=True)
class Call:
    """One request about one case."""

    case_id: int
    services: Services
    session: Session
    response: Response
    version: int | None

    @property
    def now(self) -> datetime:
        return self.services.clock.now()

    @property
    def lease(self) -> timedelta:
        return timedelta(minutes=self.services.settings.lease_minutes)

    def act(self, lens: Lens, body: ActIn | None = None) -> Act:
        """What the services take: who, when, on which version, with what before them."""
        screen = body.screen.seen() if body is not None and body.screen is not None else Screen()
        return Act(lens.actor, self.now, self.version, screen)

    def show(self, lens: Lens, case: Case) -> CaseDetail:
        """The case as it is now: the answer of every act."""
        set_etag(self.response, case.version)
        return case_views.case_detail(self.session, lens, case.id, now=self.now)


def _call(
    case_id: IdPath,
    services: ServicesDep,
    session: SessionDep,
    response: Response,
    version: Annotated[int | None, Depends(_if_match)],
) -> Call:
    return Call(case_id, services, session, response, version)


CallDep = Annotated[Call, Depends(_call, scope="function")]
