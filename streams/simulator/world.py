"""A simulated world: ask it for the transactions of any span of time, always the same ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import xxhash

from fraudwatch.errors import Invalid
from streams.simulator.config import WorldConfig
from streams.simulator.fraud import PATTERNS, fraud_day
from streams.simulator.habits import EPOCH, ordinary_day
from streams.simulator.places import COUNTRIES, CURRENCIES
from streams.simulator.population import populate
from streams.simulator.rows import ATTRIBUTES, DAY_US, Ints, Rows, blank, join
from streams.simulator.trade import CATEGORIES, Channel

PATTERN_NAMES = tuple(pattern.name for pattern in PATTERNS)

_MICROSECOND = timedelta(microseconds=1)
_START = datetime(1970, 1, 1, tzinfo=UTC)


class World:
    """Customers and merchants of one configuration, and all they will ever do.

    The transactions of a day depend on the configuration and the day alone: a stream that goes on
    later continues the history exactly, wherever it was cut.
    """

    def __init__(self, config: WorldConfig) -> None:
        self.config = config
        self._population = populate(config)
        self._latest: tuple[int, Rows] = (-1, blank(0))
        n = config.customers
        self._accounts = _texts([f"acc-{i:06d}" for i in range(n)])
        self._customers = _texts([f"cus-{i:06d}" for i in range(n)])
        self._merchants = _texts(list(self._population.merchants.names))
        self._categories = _texts([c.mcc for c in CATEGORIES])

    def generate(
        self,
        start: datetime,
        end: datetime,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> pd.DataFrame:
        """The transactions with ``start <= event_time < end`` as a canonical frame.

        Besides the canonical columns it has `label` (bool, fraud) and `pattern` (str, empty for
        ordinary payments). `progress` is called with days done and days in all. Raises `Invalid`
        for naive times or times before 1970.
        """
        begin, stop = _microseconds(start), _microseconds(end)
        first, last = begin // DAY_US, -(-stop // DAY_US)
        parts, numbers = [], []
        for day in range(first, last):
            rows = self._day(day)
            inside = (rows["time_us"] >= begin) & (rows["time_us"] < stop)
            parts.append(rows[inside])
            numbers.append(np.flatnonzero(inside))
            if progress is not None:
                progress(day - first + 1, last - first)
        return self._frame(
            join(parts), np.concatenate(numbers) if numbers else np.zeros(0, np.int64)
        )

    def chargebacks(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Late truth about the frauds of a frame: `transaction_id`, `fraud` (always true) and
        `known_at` (datetime64[us, UTC]), sorted by `known_at`.

        Each fraud is reported with probability `reported_share`, after a delay of
        `report_days_min` to `report_days_max` days, most of them in the first half of that span.
        Which ones and when depends on the seed and the transaction id alone.
        """
        frauds = frame.loc[frame["label"], ["transaction_id", "event_time"]]
        draws = (
            np.array(
                [
                    xxhash.xxh3_64_intdigest(f"{self.config.seed}:{name}:{purpose}".encode())
                    for name in frauds["transaction_id"]
                    for purpose in ("reported", "delay")
                ],
                dtype=np.float64,
            ).reshape(-1, 2)
            / 2.0**64
        )
        low, high = self.config.report_days_min, self.config.report_days_max
        days = low + (high - low) * draws[:, 1] ** 2
        delay = pd.to_timedelta((days * DAY_US).astype(np.int64), unit="us").as_unit("us")
        known = pd.DataFrame(
            {
                "transaction_id": frauds["transaction_id"].array,
                "fraud": np.ones(len(frauds), dtype=bool),
                "known_at": (pd.DatetimeIndex(frauds["event_time"]) + delay).as_unit("us"),
            }
        )
        reported = known[draws[:, 0] < self.config.reported_share]
        return reported.sort_values(["known_at", "transaction_id"], ignore_index=True)

    def _day(self, day: int) -> Rows:
        """All rows of a day in order; the latest is kept, for a live stream asks often."""
        latest, rows = self._latest
        if latest == day:
            return rows
        ordinary = ordinary_day(self._population, day)
        rows = join([ordinary, fraud_day(self._population, day, ordinary)])
        order = np.lexsort((rows["cents"], rows["account"], rows["time_us"]))
        self._latest = (day, rows[order])
        return self._latest[1]

    def _frame(self, rows: Rows, number: Ints) -> pd.DataFrame:
        merchant, channel = rows["merchant"], rows["channel"]
        category = np.where(merchant >= 0, self._population.merchants.category[merchant], -1)
        when = rows["time_us"].astype("datetime64[us]")
        scale = np.array([100], dtype=np.int64)  # cents to ten-thousandths
        columns: dict[str, Any] = {
            "transaction_id": pd.array(self._ids(rows["time_us"] // DAY_US, number), dtype="str"),
            "account_id": self._accounts.take(rows["account"]),
            "event_time": pd.DatetimeIndex(when).tz_localize("UTC"),
            "amount_e4": rows["cents"] * scale,
            "currency": _pick(_texts(CURRENCIES), rows["currency"]),
            "merchant_id": _pick(self._merchants, merchant),
            "merchant_category": _pick(self._categories, category),
            "channel": _pick(_texts([c.word for c in Channel]), channel),
            "country": _pick(_texts(COUNTRIES), rows["country"]),
            "device_id": _named(rows["device"], _device),
            "counterparty_id": _named(rows["counterparty"], _counterparty),
            "customer_id": self._customers.take(rows["account"]),
            "ip": _named(rows["ip"], _address),
            "latitude": rows["latitude"].copy(),
            "longitude": rows["longitude"].copy(),
        }
        for name in ATTRIBUTES:
            columns[f"attributes.{name}"] = rows[name].copy()
        columns["label"] = rows["pattern"] > 0
        codes = [0, *(pattern.code for pattern in PATTERNS)]
        columns["pattern"] = _pick(
            _texts(["", *PATTERN_NAMES]), np.searchsorted(codes, rows["pattern"])
        )
        return pd.DataFrame(columns)

    def _ids(self, days: Ints, number: Ints) -> list[str]:
        """`t<seed>-<day>-<number>`: unique within the seed, in the order of time within a day."""
        stems = {
            int(day): f"t{self.config.seed}-{EPOCH + timedelta(days=int(day)):%Y%m%d}-"
            for day in np.unique(days)
        }
        return [
            f"{stems[day]}{i:06d}" for day, i in zip(days.tolist(), number.tolist(), strict=True)
        ]


def _microseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise Invalid("simulator: times must be aware")
    microseconds = (moment - _START) // _MICROSECOND
    if microseconds < 0:
        raise Invalid("simulator: time starts in 1970")
    return microseconds


def _texts(values: Any) -> Any:
    return pd.array(list(values), dtype="str")


def _pick(values: Any, codes: Ints) -> Any:
    """The text of each code; missing for -1."""
    return values.take(codes, allow_fill=True)


def _named(codes: Ints, name: Callable[[int], str]) -> Any:
    """Texts for codes that come from no table; missing for -1."""
    found, position = np.unique(codes, return_inverse=True)
    absent = int((found < 0).sum())
    return _pick(_texts([name(code) for code in found[absent:].tolist()]), position - absent)


def _device(code: int) -> str:
    return f"dev-{_scrambled(code, 1)}"


def _counterparty(code: int) -> str:
    return f"cp-{_scrambled(code, 2)}"


def _scrambled(code: int, kind: int) -> str:
    """Twelve digits that do not show whose code it is."""
    return xxhash.xxh3_64_hexdigest(code.to_bytes(8), seed=kind)[:12]


def _address(code: int) -> str:
    return f"198.{18 + (code >> 16)}.{code >> 8 & 255}.{code & 255}"
