"""Geometry of the small charts; templates draw it as SVG with attributes only.

Coordinates are in the units of the chart's `viewBox`, y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fraudwatch.casework.console.words import money
from fraudwatch.casework.schemas import ReasonOut, TransactionOut

RANGE_WIDTH = 240
_RANGE_MARGIN = 8
_THINNEST = 3.0

TIMELINE_WIDTH = 720
TIMELINE_HEIGHT = 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 14, 14, 26


@dataclass(frozen=True, slots=True)
class RangeChart:
    """A value against its normal range on one line."""

    band_x: float
    band_width: float
    value_x: float
    outside: bool


def range_chart(reason: ReasonOut) -> RangeChart | None:
    """None where there is no value or no range to stand against."""
    value, low, high = reason.value, reason.normal_low, reason.normal_high
    if value is None or low is None or high is None:
        return None
    if not (math.isfinite(value) and math.isfinite(low) and math.isfinite(high)):
        return None
    begin, end = min(value, low), max(value, high)
    if begin >= end:
        begin, end = begin - 1.0, end + 1.0
    if begin > 0 and begin < (end - begin):
        begin = 0.0  # zero is on the line where it is near: lengths then compare honestly

    def x(at: float) -> float:
        return _RANGE_MARGIN + (at - begin) / (end - begin) * (RANGE_WIDTH - 2 * _RANGE_MARGIN)

    width = max(_THINNEST, x(high) - x(low))
    band_x = min(x(low), RANGE_WIDTH - _RANGE_MARGIN - width)
    return RangeChart(
        round(band_x, 1), round(width, 1), round(x(value), 1), not low <= value <= high
    )


@dataclass(frozen=True, slots=True)
class Mark:
    """One payment in the chart."""

    x: float
    y: float
    alert: bool
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid with its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Amounts over time, in one currency. `left_out`: payments in other currencies."""

    currency: str
    marks: Sequence[Mark]
    amounts: Sequence[Tick]
    times: Sequence[Tick]
    left_out: int

    @property
    def alerts(self) -> int:
        """How many marks are alerts of the case."""
        return sum(mark.alert for mark in self.marks)


def timeline(
    history: Iterable[TransactionOut], alerts: Iterable[TransactionOut]
) -> Timeline | None:
    """The account's payments over time, those of the case marked. None for fewer than two.

    The currency is that of the newest alert, or of the newest payment.
    """
    marked = {row.transaction_id: row for row in alerts}
    rows = {row.transaction_id: row for row in history} | marked
    by_time = sorted(rows.values(), key=lambda row: (row.event_time, row.transaction_id))
    if not by_time:
        return None
    leading = [row for row in by_time if row.transaction_id in marked] or by_time
    currency = leading[-1].currency
    shown = [row for row in by_time if row.currency == currency]
    if len(shown) < 2:
        return None
    top = _round_up(max(float(row.amount) for row in shown))
    first, last = shown[0].event_time, shown[-1].event_time
    seconds = (last - first).total_seconds() or 1.0

    def x(at: datetime) -> float:
        share = (at - first).total_seconds() / seconds
        return round(_LEFT + share * (TIMELINE_WIDTH - _LEFT - _RIGHT), 1)

    def y(amount: float) -> float:
        return round(TIMELINE_HEIGHT - _BOTTOM - amount / top * _height(), 1)

    marks = [
        Mark(
            x(row.event_time),
            y(float(row.amount)),
            row.transaction_id in marked,
            f"{money(row.amount)} {row.currency}, {row.event_time:%d %b %Y %H:%M}",
        )
        for row in shown
    ]
    marks.sort(key=lambda mark: mark.alert)  # alerts are drawn last, above the others
    return Timeline(
        currency,
        marks,
        [Tick(y(top * part), f"{top * part:,.4g}") for part in (0.0, 0.5, 1.0)],
        [Tick(x(at), f"{at.day} {at:%b %H:%M}") for at in (first, last)],
        len(by_time) - len(shown),
    )


def _height() -> float:
    return TIMELINE_HEIGHT - _TOP - _BOTTOM


def _round_up(amount: float) -> float:
    """The next 1, 2, 4, 6, 8 or 10 times a power of ten."""
    if amount <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(amount))
    return next(step * power for step in (1, 2, 4, 6, 8, 10, 20) if step * power >= amount)
