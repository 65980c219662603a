"""What one person finds in a case: for the case, and for transactions that differ from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fraudwatch.domain.reason_codes import REASON_CODES, Resolution
from fraudwatch.errors import Invalid


@dataclass(frozen=True, slots=True)
class Differing:
    """A transaction of the case that is not as the rest."""

    transaction_id: str
    resolution: Resolution
    reason_codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """A resolution with its grounds.

    A case with a fraudulent transaction is resolved as fraud, and names the others as differing:
    so the case's own resolution always tells the worst of it.
    """

    resolution: Resolution
    reason_codes: tuple[str, ...]
    note: str = ""
    differing: tuple[Differing, ...] = ()

    def of(self, transaction_id: str) -> tuple[Resolution, tuple[str, ...]]:
        """What was found of a transaction of the case, and the grounds."""
        for part in self.differing:
            if part.transaction_id == transaction_id:
                return part.resolution, part.reason_codes
        return self.resolution, self.reason_codes

    def agrees(self, other: Finding, transaction_ids: Iterable[str]) -> bool:
        """Whether two people found the same of the case and of each transaction, on whatever
        grounds."""
        return self.resolution is other.resolution and all(
            self.of(each)[0] is other.of(each)[0] for each in transaction_ids
        )


def check(finding: Finding, transaction_ids: Sequence[str]) -> None:
    """Raises `Invalid` where the grounds do not fit, or a transaction is not one of the case."""
    _check_codes(finding.resolution, finding.reason_codes, finding.note)
    ids, known = [part.transaction_id for part in finding.differing], set(transaction_ids)
    if len(set(ids)) != len(ids):
        raise Invalid("each differing transaction at most once")
    for part in finding.differing:
        if part.transaction_id not in known:
            raise Invalid(f"transaction {part.transaction_id!r} is not in this case")
        if part.resolution is finding.resolution:
            raise Invalid("a differing transaction has another resolution than its case")
        if part.resolution is Resolution.FRAUD:
            raise Invalid(
                "a case with a fraudulent transaction is resolved as fraud: name the others instead"
            )
        _check_codes(part.resolution, part.reason_codes, finding.note)
    if finding.differing and known <= set(ids):
        raise Invalid("at least one transaction must be as its case says")


def _check_codes(resolution: Resolution, codes: Sequence[str], note: str) -> None:
    if not codes:
        raise Invalid("a resolution needs at least one reason code")
    if len(set(codes)) != len(codes):
        raise Invalid("each reason code at most once")
    for code in codes:
        known = REASON_CODES.get(code)
        if known is None:
            raise Invalid(f"there is no reason code {code!r}: see /v1/reason-codes")
        if known.resolution is not resolution:
            raise Invalid(f"{code} is a reason for {known.resolution}, not for {resolution}")
        if known.note_required and not note.strip():
            raise Invalid(f"{code} needs a note that says what was found")
