"""Filling in a payment: price, place and currency of a merchant; device, address and login."""

from __future__ import annotations

import numpy as np

from streams.simulator.places import CITIES, CURRENCIES, RATES
from streams.simulator.population import NET, Population
from streams.simulator.rows import Bools, Floats, Ints, Rows
from streams.simulator.trade import CATEGORIES, Channel, Ending

_PRICE = np.array([c.price for c in CATEGORIES])
_SPREAD = np.array([c.spread for c in CATEGORIES])
_ENDING = np.array([c.ending for c in CATEGORIES])
_RATE = np.array([RATES[currency] for currency in CURRENCIES])
_SHARED_ADDRESSES = 512  # of mobile carriers
ADDRESSES = 2**17  # 198.18.0.0/15, reserved for benchmarks: nobody's

FOREIGN_CODE = 2**38
"""Codes of devices and counterparties of thieves start here, those of customers end before."""


def usual_price(population: Population, rng: np.random.Generator, who: Ints, shop: Ints) -> Floats:
    """What these customers would spend at these merchants, in the reference currency."""
    kind = population.merchants.category[shop]
    customers = population.customers
    noise = rng.normal(0, 1, len(who)).clip(-2.5, 2.5) * _SPREAD[kind] * customers.spread[who]
    usual = _PRICE[kind] * population.merchants.price[shop] * customers.level[who]
    price: Floats = usual * np.exp(noise)
    return price


def at_merchant(population: Population, rows: Rows, shop: Ints, eur: Floats) -> None:
    """Set merchant, place, country and currency, and the amount with the category's endings."""
    merchants = population.merchants
    rows["merchant"] = shop
    rows["country"] = merchants.country[shop]
    rows["latitude"] = merchants.latitude[shop]
    rows["longitude"] = merchants.longitude[shop]
    rows["currency"] = merchants.currency[shop]
    amount = eur / _RATE[merchants.currency[shop]]
    ending = _ENDING[merchants.category[shop]]
    rounded = np.select(
        [ending == Ending.NINETY_NINE, ending == Ending.HALVES, ending == Ending.TENS],
        [np.ceil(amount) - 0.01, np.ceil(amount * 2) / 2, np.maximum(np.round(amount, -1), 10)],
        amount,
    )
    rows["cents"] = np.maximum(np.round(rounded * 100), 10).astype(np.int64)


def own_device(population: Population, rng: np.random.Generator, who: Ints, day: int) -> Ints:
    """The phone (mostly) or the computer of each customer; both are replaced after their life."""
    customers = population.customers
    slot = (rng.random(len(who)) < 0.2).astype(np.int64)
    age = day + customers.phase[who] + slot * 180
    return who * 4096 + slot * 512 + (age // customers.device_days[who]) % 512


def own_address(rng: np.random.Generator, who: Ints) -> Ints:
    """The address at home, or one of a mobile carrier."""
    home = (who * 40_503 + 977) % ADDRESSES
    return np.where(rng.random(len(who)) < 0.75, home, rng.integers(0, _SHARED_ADDRESSES, len(who)))


def own_session(population: Population, rng: np.random.Generator, rows: Rows, day: int) -> None:
    """Set device, address and login attributes of customers who pay for themselves online."""
    who = rows["account"]
    customers = population.customers
    rows["device"] = own_device(population, rng, who, day)
    rows["ip"] = own_address(rng, who)
    risky = customers.vpn[who] | (rng.random(len(who)) < 0.02)
    rows["ip_risk"] = address_risk(rng, risky)
    days = (day + customers.phase[who]) % customers.credential_days[who]
    hours = days * 24 + (rows["time_us"] // 3_600_000_000) % 24 + rng.random(len(who))
    rows["login_age_hours"] = np.round(hours, 1)
    rows["failed_logins_24h"] = rng.poisson(0.06, len(who))


def address_risk(rng: np.random.Generator, risky: Bools) -> Floats:
    """A network provider's score in [0, 1]; the two kinds of address overlap."""
    low, high = rng.beta(1.3, 9, len(risky)), rng.beta(3, 3, len(risky))
    score: Floats = np.where(risky, high, low).round(3)
    return score


def channel_of(shop_city: Ints, cash: Bools) -> Ints:
    """How a merchant is paid: on the net, by a cash machine, or at the till."""
    return np.where(
        shop_city == NET, Channel.ONLINE, np.where(cash, Channel.ATM, Channel.CARD_PRESENT)
    ).astype(np.int64)


def local_to_utc(hour: Floats, city: Ints) -> Floats:
    """Hours of the sun to UTC hours, wrapped into the day."""
    longitude = np.array([c.longitude for c in CITIES])[city]
    return np.mod(hour - longitude / 15.0, 24.0)
