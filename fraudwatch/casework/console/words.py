"""How pages put facts into words: outcomes, states, amounts, times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fraudwatch.casework.schemas import money_text
from fraudwatch.casework.schemas_cases import CaseSummary, EventOut
from fraudwatch.domain.reason_codes import REASON_CODES

OUTCOMES = {
    "auto_clear": "Cleared",
    "review": "Review",
    "high_risk": "High risk",
    "hidden": "Not shown yet",
}
LINKS = {
    "device_id": "device",
    "ip": "address",
    "counterparty_id": "counterparty",
    "merchant_id": "merchant",
}
STATUSES = {
    "new": "To be taken",
    "claimed": "Held",
    "waiting": "Put aside",
    "escalated": "Escalated",
    "second_look": "Second look",
    "resolved": "Resolved",
    "reopened": "Reopened",
    "merged": "Merged",
}
ESCALATIONS = {
    "person": "for someone with more experience",
    "disagreement": "two people decided differently",
    "late": "nobody had looked in time",
}
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
    "service": "service",
    "payment_system": "payment system",
    "customer_portal": "customer portal",
}
ACTIONS = {"release": "payments released", "decline": "payments declined"}
SOURCES = {
    "analyst": "analyst",
    "blind_spot": "blind-spot sample",
    "audit_sample": "audit sample",
    "chargeback": "chargeback",
    "appeal": "appeal",
}
EVENTS = {
    "opened": "Case opened",
    "alert_added": "Payment added",
    "claimed": "Claimed",
    "expired": "Claim ran out",
    "released": "Given back",
    "taken_over": "Taken over",
    "seen": "New payments seen",
    "noted": "Note",
    "attached": "File added",
    "briefed": "Brief for the call corrected",
    "called": "Customer called",
    "judged": "First judgement given",
    "put_aside": "Put aside",
    "woken": "Came back",
    "escalated": "Escalated",
    "due_soon": "Due soon, and nobody has looked",
    "late": "Escalated: nobody had looked in time",
    "decided": "Decided; another person looks too",
    "overtaken": "The decision was taken back: a payment was added",
    "disagreed": "Decided differently: a third person decides",
    "reopened": "Reopened",
    "disputed": "The customer objects",
    "brought_back": "Brought back for another person to look at",
    "payment_left": "A payment went into case",
    "payment_came": "A payment came from case",
    "raised": "Contradicted by later truth",
    "upheld": "Decision upheld",
    "linked": "Linked with case",
    "merged": "Went into case",
    "merged_from": "Took in case",
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
    held = "by you" if case.claimed_by_me else f"by {case.claimed_by}"
    if case.status == "claimed":
        return f"Held {held}"
    if case.status == "second_look" and case.claimed_by:
        return f"Second look {held}"
    if case.status == "resolved":
        return f"Resolved: {case.resolution}"
    if case.status == "waiting" and case.wake_at:
        return f"Put aside until {clock(case.wake_at)}"
    if case.status == "merged":
        return f"Merged into case {case.merged_into}"
    return STATUSES[case.status]


_DONE = {
    "opened": "The case is open. Claim it to work on it.",
    "taken": "The case is yours.",
    "taken_over": "The case is yours now.",
    "renewed": "Your claim is renewed.",
    "seen": "Marked as seen.",
    "released": "The case waits again.",
    "noted": "The note is saved.",
    "attached": "The file is added.",
    "briefed": "The brief is kept with the case.",
    "judged": "Your first judgement is kept. The machine's opinion is shown now.",
    "watched": "You watch this case.",
    "unwatched": "You no longer watch this case.",
    "aside": "The case is put aside.",
    "escalated": "The case waits for someone with more experience.",
    "resolved": "Decided. The payment system is being told.",
    "reopened": "The case waits again, reopened.",
    "upheld": "The decision stays.",
    "linked": "The cases are linked.",
    "merged": "The other case is part of this one now.",
}


def done(act: str, case: CaseSummary) -> str:
    """What an act has led to."""
    if act == "resolved" and case.status == "second_look":
        return "Your decision is saved. Another person looks at the case before it counts."
    if act == "resolved" and case.escalation == "disagreement":
        return "You and the first person decided differently: a third person decides."
    return _DONE[act]


def event(found: EventOut) -> str:
    """What happened, in a few words."""
    if found.kind == "resolved":
        return f"Resolved as {found.resolution}"
    said = EVENTS.get(found.kind, found.kind)
    if found.until is not None:
        said += f" until {clock(found.until)}"
    return said if found.other_case is None else f"{said} {found.other_case}"


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
