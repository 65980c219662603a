"""What a reader may see of personal data and of the machine's judgement.

Two decisions live here.

**Personal data.** Without `personal:read`, ids of account, device, customer and counterparty and
the address show as `acc-…123~4f9a01bc27`: a hint for people and a keyed pseudonym, equal for equal
values, so that links between rows stay visible. Nobody can go back from it, the API neither: a
reader reaches a masked account through its cases, or with the id itself where they know it from
elsewhere. Places are rounded to a tenth of a degree (about 11 km), and the institution's own texts
are hidden, since nobody knows what is in them.

**The blind-spot sample** only measures what analysts miss while it looks like other work. A draw
was cleared, with a low risk: one look at the risk would give it away. So readers without
`policies:read` see no risks, rules or anomaly scores at all, but the outcome as a band, in which a
draw is a `review`; its label's source shows as `analyst`. Reasons are shown: people need the
evidence, and their weights are shares, not sizes. Services are no analysts and see the outcome as
it was published.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from fraudwatch.domain.access import Actor, Permission
from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.domain.label import LabelSource

HIDDEN = "…"


@dataclass(frozen=True, slots=True)
class Lens:
    """How one actor sees things; `key` is the secret of the pseudonyms.

    `shown` gathers the ids that were shown as they are: a look at these persons' data.
    """

    actor: Actor
    key: bytes
    judge_first: frozenset[str] = frozenset()  # queues: see `fraudwatch.casework.judgements`
    shown: set[str] = field(default_factory=set, compare=False, repr=False)

    @property
    def personal(self) -> bool:
        """Whether personal data are shown as they are."""
        return self.actor.may(Permission.PERSONAL_READ)

    @property
    def steers(self) -> bool:
        """Whether risks and rules are shown."""
        return self.actor.may(Permission.POLICIES_READ)

    def id(self, value: str) -> str:
        """An id, masked where the reader may not see it."""
        if not self.personal:
            return masked(value, self.key)
        self.shown.add(value)
        return value

    def optional_id(self, value: str | None) -> str | None:
        """An id that may be missing."""
        return None if value is None else self.id(value)

    def pseudonym(self, value: str) -> str:
        """What stands for an id where nothing of it may be seen."""
        return pseudonym(value, self.key)

    def pseudonyms(self) -> list[str]:
        """Of the ids that were shown."""
        return sorted(map(self.pseudonym, self.shown))

    def place(self, degrees: float | None) -> float | None:
        """A latitude or longitude."""
        return degrees if degrees is None or self.personal else round(degrees, 1)

    def attributes(self, values: Mapping[str, float | str]) -> dict[str, float | str]:
        """The institution's own values: numbers are shown, texts only with the personal data."""
        if self.personal:
            return dict(values)
        return {k: HIDDEN if isinstance(v, str) else v for k, v in values.items()}

    def outcome(self, outcome: int, rule: int) -> str:
        """The machine's outcome as this reader may know it."""
        if rule == Rule.BLIND_SPOT and not self.steers and self.actor.person:
            return Outcome.REVIEW.word
        return Outcome(outcome).word

    def risk(self, risk: float | None) -> float | None:
        """A risk."""
        return risk if self.steers else None

    def rule(self, rule: int) -> str | None:
        """The policy's rule that gave the outcome."""
        return Rule(rule).name.lower() if self.steers else None

    def source(self, source: str) -> str:
        """The source of a label."""
        if source == LabelSource.BLIND_SPOT and not self.steers:
            return LabelSource.ANALYST.value
        return source


def masked(value: str, key: bytes) -> str:
    """A hint of the value and its pseudonym. Short values give no hint."""
    head = value[:4] if len(value) >= 12 else ""
    tail = value[-3:] if len(value) >= 8 else ""
    return f"{head}{HIDDEN}{tail}~{pseudonym(value, key)}"


def pseudonym(value: str, key: bytes) -> str:
    """Stands for a value where nothing of it may be seen; equal for equal values."""
    return hmac.digest(key, b"pseudonym:" + value.encode(), hashlib.sha256).hex()[:10]
