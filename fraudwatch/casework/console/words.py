"""How pages put facts into words: outcomes, states, amounts, times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fraudwatch.casework.schemas import CaseSummary, EventOut, money_text
from fraudwatch.domain.case import REASON_CODES

OUTCOMES = {"auto_clear": "Cleared", "review": "Review", "high_risk": "High risk"}
STATUSES = {"new": "Waiting", "claimed": "Held", "resolved": "Resolved", "reopened": "Reopened"}
RESOLUTIONS = {
    "fraud": "Fraud",
    "legitimate": "Legitimate",
    "inconclusive": "Inconclusive",
}
ROLES = {
    "analyst": "analyst",
    "senior": "senior analyst",
    "risk_officer": "risk officer",
    "auditor": "auditor",
    "admin": "administrator",
}
ACTIONS = {"release": "payments released", "decline": "payments declined"}
SOURCES = {
    "analyst": "analyst",
    "blind_spot": "blind-spot sample",
    "audit_sample": "audit sample",
    "chargeback": "chargeback",
    "appeal": "appeal",
}
_EVENTS = {
    "opened": "Case opened",
    "alert_added": "Payment added",
    "claimed": "Claimed",
    "expired": "Claim ran out",
    "released": "Given back",
    "noted": "Note",
    "reopened": "Reopened",
}
_SECOND = timedelta(seconds=1)
_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def money(amount: Decimal) -> str:
    """Exact, with spaces that keep long amounts readable: `12 500.00`."""
    whole, point, cents = money_text(amount).partition(".")
    return f"{int(whole):,}".replace(",", "\N{NARROW NO-BREAK SPACE}") + point + cents


def number(value: float | None) -> str:
    """Four significant digits at most; whole numbers below a million as they are."""
    if value is None or not math.isfinite(value):
        return "unknown"
    if value == round(value) and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def when(moment: datetime) -> str:
    """`2 Mar 2026, 12:00 UTC`."""
    at = moment.astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def clock(moment: datetime) -> str:
    """The same, short, for tables: `2 Mar 12:00`."""
    at = moment.astimezone(UTC)
    return f"{at.day} {at:%b %H:%M}"


def span(length: timedelta) -> str:
    """The length of a time in its largest unit: `40 s`, `5 min`, `3 h`, `2 d`."""
    seconds = max(0, int(abs(length) / _SECOND))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR} h"
    return f"{seconds // _DAY} d"


def due(case: CaseSummary, now: datetime) -> str:
    """`in 3 h`, or `4 min late`."""
    left = case.due_at - now
    return f"in {span(left)}" if left > timedelta(0) else f"{span(left)} late"


def holder(case: CaseSummary) -> str:
    """The state of a case, and whose it is."""
    if case.status == "claimed":
        return "Held by you" if case.claimed_by_me else f"Held by {case.claimed_by}"
    if case.status == "resolved":
        return f"Resolved: {case.resolution}"
    return STATUSES[case.status]


def event(found: EventOut) -> str:
    """What happened, in a few words."""
    if found.kind == "resolved":
        return f"Resolved as {found.resolution}"
    return _EVENTS.get(found.kind, found.kind)


@dataclass(frozen=True, slots=True)
class Happening:
    """An event, or a run of payments that were added one after the other."""

    event: EventOut
    payments: int = 0

    @property
    def text(self) -> str:
        """What happened, in a few words."""
        return f"{self.payments} payments added" if self.payments > 1 else event(self.event)


def story(events: Sequence[EventOut]) -> list[Happening]:
    """The events, oldest first; runs of added payments become one, at the time of its last."""
    told: list[Happening] = []
    for found in events:
        if found.kind != "alert_added":
            told.append(Happening(found))
        elif told and told[-1].payments:
            told[-1] = Happening(found, told[-1].payments + 1)
        else:
            told.append(Happening(found, 1))
    return told


def reason_title(code: str) -> str:
    """The title of a reason code; one that is no longer in use shows as it is."""
    known = REASON_CODES.get(code)
    return known.title if known else code
