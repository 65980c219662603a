"""The catalogue's formulas once more, slowly, in plain Python; and transactions to try them on."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from fraudwatch.domain.transaction import Transaction

START = datetime(2024, 2, 27, 22, 30, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RATES = {"USD": 0.9231, "JPY": 0.0061}
WINDOWS = {
    "10m": timedelta(minutes=10),
    "1h": timedelta(hours=1),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
REMEMBERED = {
    "merchant": "merchant_id",
    "category": "merchant_category",
    "channel": "channel",
    "country": "country",
    "device": "device_id",
    "counterparty": "counterparty_id",
}
GAPS = [
    timedelta(0),
    timedelta(microseconds=1),
    timedelta(seconds=40),
    *WINDOWS.values(),
    timedelta(days=30, microseconds=1),
    timedelta(days=37),
    timedelta(days=365),
]


def _optional(*values: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([None, *values])


@st.composite
def transactions(draw: st.DrawFn, *, late: bool = True, most: int = 40) -> list[Transaction]:
    """Transactions as received: ties, gaps of exactly a window, absent parts, late ones."""
    made = []
    moment = START
    for number in range(draw(st.integers(0, most))):
        moment += draw(st.sampled_from(GAPS) | st.timedeltas(timedelta(0), timedelta(days=2)))
        back = draw(st.sampled_from([timedelta(0)] * 3 + GAPS)) if late else timedelta(0)
        located = draw(st.booleans())
        made.append(
            Transaction(
                transaction_id=f"t{number:04d}",
                account_id=draw(st.sampled_from("ab")),
                event_time=moment - back,
                amount=Decimal(draw(st.integers(0, 3_000_000) | st.just(10**16 - 1))).scaleb(-4),
                currency=draw(st.sampled_from(["EUR", "EUR", "USD", "JPY"])),
                merchant_id=draw(_optional("m1", "m2", "m3", "m4")),
                merchant_category=draw(_optional("5411", "7995")),
                channel=draw(_optional("pos", "online")),
                country=draw(_optional("DE", "FR")),
                device_id=draw(_optional("d1", "d2")),
                counterparty_id=draw(_optional("c1")),
                latitude=draw(st.floats(-90, 90)) if located else None,
                longitude=draw(st.floats(-180, 180)) if located else None,
                attributes=draw(st.sampled_from([{}, {"score": 0.5}, {"score": "x"}])),
            )
        )
    return made


def canonical(made: Sequence[Transaction]) -> pd.DataFrame:
    """The canonical frame of transactions."""
    frame = pd.DataFrame(
        {
            "transaction_id": [t.transaction_id for t in made],
            "account_id": [t.account_id for t in made],
            "event_time": pd.Series([t.event_time for t in made], dtype="datetime64[us, UTC]"),
            "amount_e4": pd.Series([int(t.amount.scaleb(4)) for t in made], dtype="int64"),
            "currency": [t.currency for t in made],
            **{field: [getattr(t, field) for t in made] for field in REMEMBERED.values()},
            "latitude": pd.Series([t.latitude for t in made], dtype="float64"),
            "longitude": pd.Series([t.longitude for t in made], dtype="float64"),
            "attributes.score": pd.Series([t.attributes.get("score") for t in made], dtype=object),
        }
    )
    return frame.sort_values(["event_time", "transaction_id"], ignore_index=True)


class Reference:
    """Features of an account's transactions, one at a time, from everything ever received."""

    def __init__(self) -> None:
        self.received: dict[str, list[Transaction]] = defaultdict(list)

    def features(self, t: Transaction) -> dict[str, float]:
        """Features by name, but merchant profiles; `t` joins the past afterwards."""
        everything = self.received[t.account_id]
        latest = max([p.event_time for p in everything] + [t.event_time])
        kept = [p for p in everything if p.event_time > latest - timedelta(days=37)]
        found = self._windows(t, kept) | self._habits(t, kept, everything)
        found |= self._novelty(t, everything, latest) | self._travel(t, everything)
        everything.insert(bisect_right(everything, t.event_time, key=lambda p: p.event_time), t)
        return found

    def _windows(self, t: Transaction, kept: list[Transaction]) -> dict[str, float]:
        found = {"amount": money(t)}
        for name, length in WINDOWS.items():
            rows = [*inside(kept, t, length), t]
            amounts = [money(p) for p in rows]
            found[f"count_{name}"] = len(rows)
            found[f"sum_{name}"] = math.fsum(amounts)
            found[f"mean_{name}"] = math.fsum(amounts) / len(rows)
            found[f"max_{name}"] = max(amounts)
            for what, field in (
                ("merchants", "merchant_id"),
                ("countries", "country"),
                ("devices", "device_id"),
            ):
                found[f"{what}_{name}"] = len({getattr(p, field) for p in rows} - {None})
        return found

    def _habits(
        self, t: Transaction, kept: list[Transaction], everything: list[Transaction]
    ) -> dict[str, float]:
        past, week = inside(kept, t, WINDOWS["30d"]), inside(kept, t, WINDOWS["7d"])
        amounts = [money(p) for p in past]
        n = len(past)
        first = everything[0].event_time if everything else t.event_time
        days = max(timedelta(0), t.event_time - first) / timedelta(days=1)
        count_24h = len(inside(kept, t, WINDOWS["24h"])) + 1
        sum_24h = math.fsum([money(p) for p in inside(kept, t, WINDOWS["24h"])] + [money(t)])
        mean = math.fsum(amounts) / n if n else 0.0
        deviation = 0.0
        if n > 1:
            spread = math.sqrt(math.fsum((a - mean) ** 2 for a in amounts) / (n - 1))
            deviation = (money(t) - mean) / max(spread, mean / 10, 0.01)
        below = sum((a < money(t)) + (a == money(t)) / 2 for a in amounts)
        near = sum(
            min(gap := (p.event_time - t.event_time) % WINDOWS["24h"], WINDOWS["24h"] - gap)
            <= WINDOWS["1h"]
            for p in past
        )
        weekdays = sum(p.event_time.weekday() == t.event_time.weekday() for p in past)
        since = min((t.event_time - p.event_time for p in past), default=WINDOWS["30d"])
        return {
            "amount_ratio_7d": ratio(
                money(t), math.fsum(money(p) for p in week) / max(len(week), 1)
            ),
            "amount_ratio_30d": ratio(money(t), mean),
            "amount_to_max_30d": ratio(money(t), max(amounts, default=0.0)),
            "amount_deviation_30d": min(max(deviation, -1000.0), 1000.0),
            "amount_rank_30d": (below + 0.5) / (n + 1),
            "count_ratio_24h_7d": count_24h * min(max(days, 1), 7) / (len(week) + 1),
            "count_ratio_24h_30d": count_24h * min(max(days, 1), 30) / (n + 1),
            "sum_ratio_24h_30d": ratio(
                sum_24h * min(max(days, 1), 30), math.fsum([*amounts, money(t)])
            ),
            "seconds_since_last": since / timedelta(seconds=1),
            "hour_of_day": t.event_time.hour,
            "night": t.event_time.hour < 7,
            "weekend": t.event_time.weekday() > 4,
            "hour_share_30d": (near + 1 / 12) / (n + 1),
            "weekday_share_30d": (weekdays + 1 / 7) / (n + 1),
            "account_count": len(everything),
            "account_age_days": days,
        }

    def _novelty(
        self, t: Transaction, everything: list[Transaction], latest: datetime
    ) -> dict[str, float]:
        year = [p for p in everything if p.event_time > latest - timedelta(days=365)]
        found: dict[str, float] = {}
        for name, field in REMEMBERED.items():
            value = getattr(t, field)
            new = value is not None and value not in {getattr(p, field) for p in year}
            found[f"first_{name}"] = new and bool(everything)
        return found

    def _travel(self, t: Transaction, everything: list[Transaction]) -> dict[str, float]:
        located = [p for p in everything if p.latitude is not None]
        if t.latitude is None or not located:
            return {"travel_km": 0.0, "travel_speed": 0.0}
        p = located[-1]
        km = haversine(p, t)
        hours = max(abs(t.event_time - p.event_time) / timedelta(hours=1), 1 / 60)
        return {"travel_km": km, "travel_speed": min(km / hours, 10_000.0)}


def money(t: Transaction) -> float:
    """Amount in the reference currency, saturated."""
    e4 = int(t.amount * 10_000)
    if t.currency in RATES:
        e4 = round(min(e4 * RATES[t.currency], 5e14))
    return min(e4, 5 * 10**14) / 10_000


def inside(kept: list[Transaction], t: Transaction, length: timedelta) -> list[Transaction]:
    """Those of the past in (t - length, t]."""
    return [p for p in kept if t.event_time - length < p.event_time <= t.event_time]


def ratio(above: float, below: float) -> float:
    """above / below; 1 where below is 0; at most 1000."""
    return min(above / below, 1000.0) if below else 1.0


def haversine(p: Transaction, t: Transaction) -> float:
    """Distance in km by the angle between two unit vectors (a different way to the same)."""
    one, other = unit(p), unit(t)
    cross = math.dist(
        (0, 0, 0),
        (
            one[1] * other[2] - one[2] * other[1],
            one[2] * other[0] - one[0] * other[2],
            one[0] * other[1] - one[1] * other[0],
        ),
    )
    return 6371.0 * math.atan2(cross, sum(a * b for a, b in zip(one, other, strict=True)))


def unit(t: Transaction) -> tuple[float, float, float]:
    """The place as a point on the unit sphere."""
    latitude, longitude = math.radians(t.latitude or 0.0), math.radians(t.longitude or 0.0)
    return (
        math.cos(latitude) * math.cos(longitude),
        math.cos(latitude) * math.sin(longitude),
        math.sin(latitude),
    )


def by_name(names: Sequence[str], row: Any) -> dict[str, float]:
    """A row of features by name."""
    return dict(zip(names, map(float, row), strict=True))
