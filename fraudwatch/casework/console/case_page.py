"""One case on its page: shows it, and carries out what its forms ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Response
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from fraudwatch.casework import detail_views, judgements
from fraudwatch.casework.case_rows import Act, Look, Screen
from fraudwatch.casework.console import charts, forms, words
from fraudwatch.casework.console.forms import Fault, Faulty, Filled
from fraudwatch.casework.console.render import Desk, DeskDep, go
from fraudwatch.casework.context import Services, ServicesDep, SessionDep
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import Case
from fraudwatch.casework.params import IdPath
from fraudwatch.casework.schemas_cases import CaseDetail
from fraudwatch.errors import Conflict, Invalid

ROWS_OF_HISTORY = 10  # shown at once; the others unfold
FULL_ALERTS = 1  # with every reason; the most severe comes first
BRIEF_ALERTS = 4  # with their first reasons; the others unfold
_WHYS = frozenset({"take-over", "wait", "escalate", "reopen", "uphold", "link", "merge"})
_MOST_LOOKS = 200
_LONGEST = 864_000.0  # seconds that a page can have been open for


@dataclass(frozen=True, slots=True)
class CasePage:
    """One case, the person who looks at it, and the session of their request."""

    desk: Desk
    services: Services
    session: Session
    case_id: int

    @property
    def now(self) -> datetime:
        return self.services.clock.now()

    @property
    def lease(self) -> timedelta:
        return timedelta(minutes=self.services.settings.lease_minutes)

    def show(
        self,
        lens: Lens,
        *,
        status: int = 200,
        filled: Filled | None = None,
        conflict: Conflict | None = None,
        done: str = "",
    ) -> Response:
        """The page. After a conflict it says what happened since the person last saw the case."""
        filled = filled or Filled()
        case = detail_views.full_detail(self.session, lens, self.case_id, now=self.now)
        judgements.sight(self.session, lens, case, "page", self.now)
        since = _whole(filled.values.get("seen", [""])[0]) or 0
        return self.desk.page(
            "case.html",
            status,
            case=case,
            chart=_chart(case),
            personal=lens.personal,
            filled=filled,
            conflict=conflict,
            news=[event for event in case.events if event.id > since] if conflict else [],
            done=done,
            story=words.story(case.events),
            shown_history=ROWS_OF_HISTORY,
            full_alerts=FULL_ALERTS,
            brief_alerts=BRIEF_ALERTS,
        )

    def carry_out(
        self, lens: Lens, form: FormData, field: str, done: str, work: Callable[[Act], Case]
    ) -> Response:
        """Do it and go on; or show the page with the input kept and what is wrong beside it."""
        given = forms.texts(form)
        try:
            with self.session.begin_nested():
                work(self._act(lens, given))
        except Faulty as wrong:
            faults = [_placed(fault, field) for fault in wrong.faults]
            return self.show(lens, status=422, filled=Filled(given, faults, field))
        except Invalid as error:
            fault = _placed(Fault(field, forms.sentence(str(error))), field)
            filled = Filled(given, [fault], field)
            return self.show(lens, status=422, filled=filled)
        except Conflict as conflict:
            filled = Filled(given, (), field)
            return self.show(lens, status=409, filled=filled, conflict=conflict)
        return go(f"/cases/{self.case_id}?done={done}")

    def _act(self, lens: Lens, given: dict[str, list[str]]) -> Act:
        """On the version in the form, with what the page says was before the person."""
        version = _whole(_first(given, "version"))
        screen = Screen(
            "case",
            version,
            lens.steers,
            _seconds(_first(given, "dwell")),
            _looks(_first(given, "looks")),
        )
        return Act(lens.actor, self.now, version, screen)


def _placed(fault: Fault, form: str) -> Fault:
    """Several forms of the page ask why: each has a field of its own."""
    return (
        Fault(f"{form}-why", fault.message)
        if fault.field in ("reason", form) and form in _WHYS
        else fault
    )


def _first(given: dict[str, list[str]], name: str) -> str:
    return given.get(name, [""])[0]


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _seconds(text: str) -> float | None:
    """Whole tenths as the page's script writes them; None where it did not run."""
    tenths = _whole(text)
    return None if tenths is None else min(tenths / 10, _LONGEST)


def _looks(text: str) -> tuple[Look, ...]:
    """`reasons:120 history:34`: parts of the page in the order of looks, with tenths of seconds."""
    found = []
    for word in text.split()[:_MOST_LOOKS]:
        part, _, tenths = word.partition(":")
        seconds = _seconds(tenths)
        if part.isidentifier() and len(part) <= 40 and seconds is not None:
            found.append(Look(part, seconds))
    return tuple(found)


def _page(case_id: IdPath, desk: DeskDep, services: ServicesDep, session: SessionDep) -> CasePage:
    return CasePage(desk, services, session, case_id)


CasePageDep = Annotated[CasePage, Depends(_page, scope="function")]


def _chart(case: CaseDetail) -> charts.Timeline | None:
    return charts.timeline(case.history, [alert.transaction for alert in case.alerts])
