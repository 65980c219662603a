"""What a simulated world is made of, and how often each kind of fraud happens in it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from fraudwatch.errors import ConfigurationError
from streams.simulator.places import CITIES
from streams.simulator.trade import CATEGORIES

MIN_MERCHANTS = len(CITIES) * len(CATEGORIES) + len(CATEGORIES)
"""One merchant per category in every city and one online: below that somebody finds no shop."""


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """Everything a world depends on. Two equal configurations give equal transactions.

    The five fraud rates are expected shares: fraudulent transactions of that pattern per ordinary
    transaction. `docs/simulator.md` describes each field and pattern.
    """

    seed: int = 1
    customers: int = 500
    merchants: int = 1200
    payments_per_day: float = 2.0
    trips_per_year: float = 2.5
    card_testing: float = 0.0015
    account_takeover: float = 0.0018
    stolen_abroad: float = 0.0012
    compromised_merchant: float = 0.0020
    slow_drain: float = 0.0010
    reported_share: float = 0.8
    report_days_min: float = 5.0
    report_days_max: float = 40.0

    def __post_init__(self) -> None:
        """Raises `ConfigurationError` naming the field that cannot be."""
        bounds: dict[str, tuple[float, float]] = {
            "seed": (0, 2**31 - 1),
            "customers": (1, 1_000_000),
            "merchants": (MIN_MERCHANTS, 1_000_000),
            "payments_per_day": (0.01, 50),
            "trips_per_year": (0, 50),
            "card_testing": (0, 0.2),
            "account_takeover": (0, 0.2),
            "stolen_abroad": (0, 0.2),
            "compromised_merchant": (0, 0.2),
            "slow_drain": (0, 0.2),
            "reported_share": (0, 1),
            "report_days_min": (0, 365),
            "report_days_max": (self.report_days_min, 365),
        }
        for field in fields(self):
            low, high = bounds[field.name]
            if not low <= getattr(self, field.name) <= high:
                raise ConfigurationError(
                    f"simulator: {field.name} must be between {low:g} and {high:g}"
                )
