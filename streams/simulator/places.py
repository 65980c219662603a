"""Where simulated people live, shop and travel.

Country codes, currencies and rough positions are real, so that codes validate and distances make
sense; cities are points without a name. Most of the world pays in the reference currency.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REFERENCE_CURRENCY = "EUR"

RATES: dict[str, float] = {"EUR": 1.0, "GBP": 1.16, "CHF": 1.04, "USD": 0.92}
"""Reference currency per unit, constant in simulated worlds: the rates to give to the features."""

CURRENCIES = tuple(RATES)


@dataclass(frozen=True, slots=True)
class City:
    """A place with shops. `people` is its share of customers' homes (0: abroad, only visited),
    `visitors` its share of journeys, `thieves` its share of stolen cards' use."""

    country: str
    currency: str
    latitude: float
    longitude: float
    people: float = 0.0
    visitors: float = 0.0
    thieves: float = 0.0


CITIES: tuple[City, ...] = (
    City("DE", "EUR", 52.4, 13.3, people=5),
    City("DE", "EUR", 53.5, 9.9, people=3),
    City("DE", "EUR", 50.1, 8.7, people=3),
    City("DE", "EUR", 48.2, 11.5, people=3),
    City("DE", "EUR", 51.3, 6.9, people=3),
    City("DE", "EUR", 51.1, 13.8, people=1),
    City("AT", "EUR", 48.2, 16.3, people=1.5),
    City("NL", "EUR", 52.3, 4.9, people=1.5),
    City("FR", "EUR", 48.8, 2.4, visitors=2, thieves=1),
    City("ES", "EUR", 39.6, 2.7, visitors=4, thieves=1),
    City("IT", "EUR", 45.4, 12.2, visitors=3, thieves=1),
    City("GR", "EUR", 37.9, 23.7, visitors=2, thieves=1),
    City("PT", "EUR", 38.7, -9.2, visitors=1, thieves=0.5),
    City("GB", "GBP", 51.5, -0.2, visitors=1.5, thieves=1.5),
    City("CH", "CHF", 47.3, 8.6, visitors=1, thieves=0.3),
    City("US", "USD", 40.7, -73.9, visitors=1, thieves=2),
    City("TH", "EUR", 13.7, 100.6, visitors=0.7, thieves=1),
    City("BR", "EUR", -23.5, -46.7, visitors=0.2, thieves=2),
)

COUNTRIES = tuple(sorted({city.country for city in CITIES}))
HOME_CITIES = tuple(i for i, city in enumerate(CITIES) if city.people > 0)


def distances_km(latitude: float, longitude: float) -> NDArray[np.float64]:
    """Great-circle distance of each city from a place (haversine formula, Earth as a sphere)."""
    there = np.radians([(city.latitude, city.longitude) for city in CITIES])
    phi, lam = np.radians((latitude, longitude))
    half = (
        np.sin((there[:, 0] - phi) / 2) ** 2
        + np.cos(phi) * np.cos(there[:, 0]) * np.sin((there[:, 1] - lam) / 2) ** 2
    )
    distance: NDArray[np.float64] = 2 * 6371.0 * np.arcsin(np.sqrt(half))
    return distance
