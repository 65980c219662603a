"""What is usual of an account, told from its newest payments; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC
from decimal import Decimal

import numpy as np

from fraudwatch.casework.schemas import TransactionOut
from fraudwatch.casework.schemas_details import AmountRange, NormalRange

MOST = 5  # values named of each kind


def usual(history: Sequence[TransactionOut], without: Collection[str]) -> NormalRange:
    """Of the payments that are not among `without`, the ids of those in question."""
    rows = [row for row in history if row.transaction_id not in without]
    amounts: dict[str, list[float]] = {}
    for row in rows:
        amounts.setdefault(row.currency, []).append(float(row.amount))
    return NormalRange(
        payments=len(rows),
        amounts=[_range(currency, amounts[currency]) for currency in sorted(amounts)],
        hours=sorted({row.event_time.astimezone(UTC).hour for row in rows}),
        countries=_most_usual(row.country for row in rows),
        channels=_most_usual(row.channel for row in rows),
        merchant_categories=_most_usual(row.merchant_category for row in rows),
        devices=_most_usual(row.device_id for row in rows),
    )


def _range(currency: str, amounts: Sequence[float]) -> AmountRange:
    low, middle, high = (
        Decimal(f"{value:.2f}") for value in np.percentile(amounts, [10, 50, 90]).tolist()
    )
    return AmountRange(currency=currency, low=low, middle=middle, high=high)


def _most_usual(values: Iterable[str | None]) -> list[str]:
    counted = Counter(value for value in values if value is not None)
    return [value for value, _ in counted.most_common(MOST)]
