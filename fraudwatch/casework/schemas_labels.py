"""What the API gives of late truth."""

from __future__ import annotations

from datetime import datetime

from fraudwatch.casework.schemas import Answer, shown


class LabelsTaken(Answer):
    """`new` labels were kept, `known` were there before; `raised` are the cases whose decision the
    new ones contradict."""

    model_config = shown(new=1, known=0, raised=[17])
    new: int
    known: int
    raised: list[int]


class LabelRecord(Answer):
    """One label of a transaction's history. `counts`: it has the highest precedence, and is the
    latest of those. `by` is the person or service that gave it; null: the topic or a file."""

    model_config = shown(
        fraud=True,
        source="chargeback",
        known_at="2026-03-02T10:00:00Z",
        recorded_at="2026-03-02T12:04:00Z",
        case_id=None,
        by="acquirer",
        counts=True,
    )
    fraud: bool
    source: str
    known_at: datetime
    recorded_at: datetime
    case_id: int | None = None
    by: str | None = None
    counts: bool


class LabelHistory(Answer):
    """All labels of a transaction, the first recorded first."""

    labels: list[LabelRecord]
