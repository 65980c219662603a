"""Fraud, by pattern. Each campaign's randomness is its own: seed, pattern, day it began, number.

So the fraud of a day can be computed without any other day. `docs/simulator.md` describes the
signature of each pattern and how far detection can go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from streams.simulator.habits import moments, transfers, whereabouts
from streams.simulator.payments import (
    ADDRESSES,
    FOREIGN_CODE,
    address_risk,
    at_merchant,
    channel_of,
    local_to_utc,
    usual_price,
)
from streams.simulator.places import CITIES, COUNTRIES, distances_km
from streams.simulator.population import NET, Population
from streams.simulator.rows import HOUR_US, Floats, Ints, Rows, blank, choose, join
from streams.simulator.trade import CASH, CATEGORIES, Channel


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind of fraud. `code` marks its rows and its randomness; `payments` is the expected
    number in a campaign, by which the configured rate becomes a number of campaigns."""

    name: str
    code: int
    payments: float
    day: Callable[[Population, Pattern, int, Rows], Rows]


_CHEAP = np.array([i for i, c in enumerate(CATEGORIES) if c.cheap_online])
_SELLS = np.array([i for i, c in enumerate(CATEGORIES) if c.sells_easily])
_SELLS_ONLINE = np.array([i for i in _SELLS if CATEGORIES[i].online >= 0.25])
_SELLS_AT_TILLS = np.array([i for i in (*_SELLS, CASH) if CATEGORIES[i].online < 0.9])
_PRICE = np.array([c.price for c in CATEGORIES])
_THIEVES = np.array([c.thieves for c in CITIES])
_TOO_NEAR_KM = 700.0  # one could have come by road
_COUNTRY = np.array([COUNTRIES.index(c.country) for c in CITIES])

_COMPROMISED_DAYS = (14, 28)  # long enough for chargebacks to come while it lasts
_COMPROMISED_PAYMENTS = 3.0  # a day
_DRAIN_DAYS = (15, 35)
_DAY_OF_CAMPAIGN = 32  # added to the pattern's code: the randomness of one day of a campaign


def fraud_day(population: Population, day: int, ordinary: Rows) -> Rows:
    """All fraudulent payments of a day, whose ordinary payments are given."""
    return join([pattern.day(population, pattern, day, ordinary) for pattern in PATTERNS])


def started(population: Population, pattern: Pattern, day: int) -> int:
    """How many campaigns of the pattern begin on that day."""
    if day < 0:
        return 0
    share = float(getattr(population.config, pattern.name))
    expected = share * population.expected_per_day / pattern.payments
    return int(population.rng(pattern.code, day).poisson(expected))


def _card_testing(population: Population, pattern: Pattern, day: int, _: Rows) -> Rows:
    """8 to 25 payments below 5 (reference currency) within minutes at one or two online shops."""
    parts = []
    for number in range(started(population, pattern, day)):
        rng = population.rng(pattern.code, day, number + 1)
        count = int(rng.integers(8, 26))
        who = np.repeat(_victim(population, rng), count)
        kind = np.full(2, rng.choice(_CHEAP))
        shops = population.merchants.pick(rng, np.full(2, NET), kind)
        shop = np.where(rng.random(count) < 0.8, shops[0], shops[1])
        length = rng.uniform(3, 20) / 60
        hour = rng.uniform(0, 24 - length) + np.sort(rng.uniform(0, length, count))
        rows = blank(count)
        rows["account"], rows["time_us"] = who, moments(day, hour)
        at_merchant(population, rows, shop, rng.uniform(0.5, 4.0, count))
        rows["channel"] = Channel.ONLINE
        _thief_session(rng, rows, _code(pattern, day, number), has_login=False)
        parts.append(_mark(rows, pattern))
    return join(parts)


def _account_takeover(population: Population, pattern: Pattern, day: int, _: Rows) -> Rows:
    """3 to 8 large payments from a new device to new merchants or payees; most at night."""
    parts = []
    for number in range(started(population, pattern, day)):
        rng = population.rng(pattern.code, day, number + 1)
        count = int(rng.integers(3, 9))
        victim = _victim(population, rng)
        who = np.repeat(victim, count)
        patient = rng.random() < 0.25  # by day, with amounts that hardly stand out
        begin = rng.uniform(9, 17) if patient else rng.uniform(1.5, 4)
        hour = begin + np.minimum(np.cumsum(rng.exponential(0.25, count)), 4.0)
        home = population.customers.home[who]
        time_us = moments(day, local_to_utc(hour, home))
        factor = rng.uniform(1, 2, count) if patient else rng.uniform(2.5, 8, count)
        level = population.customers.level[who]
        shop = _unknown_shop(
            population, rng, who, np.full(count, NET), rng.choice(_SELLS_ONLINE, count)
        )
        rows = blank(count)
        rows["account"], rows["time_us"] = who, time_us
        price = _PRICE[population.merchants.category[shop]]
        at_merchant(population, rows, shop, np.minimum(price * level * factor, 4000))
        rows["channel"] = Channel.ONLINE
        mule = rng.random(count) < 0.3
        sent = transfers(
            population,
            rng,
            day,
            who[mule],
            time_us[mule],
            np.round(60 * level[mule] * factor[mule], -1).clip(20),
            np.full(int(mule.sum()), _code(pattern, day, number)),
        )
        rows[mule] = sent
        _thief_session(rng, rows, _code(pattern, day, number), has_login=True)
        parts.append(_mark(rows, pattern))
    return join(parts)


def _stolen_abroad(population: Population, pattern: Pattern, day: int, ordinary: Rows) -> Rows:
    """2 to 6 payments at tills and cash machines of a country where the customer is not.

    The first comes 20 to 150 minutes after a payment of the customer's own, too soon for the way.
    """
    at_till = (ordinary["channel"] == Channel.CARD_PRESENT) & (
        ordinary["time_us"] < moments(day, np.array([20.0]))[0]
    )
    candidates = np.sort(ordinary[at_till], order=("time_us", "account", "cents"))
    campaigns = started(population, pattern, day)
    if campaigns == 0 or len(candidates) == 0:
        return blank(0)
    here = _COUNTRY[whereabouts(population, day)]
    parts = []
    for number in range(campaigns):
        rng = population.rng(pattern.code, day, number + 1)
        count = int(rng.integers(2, 7))
        seen = candidates[rng.integers(0, len(candidates))]
        victim = int(seen["account"])
        homes = (here[victim], _COUNTRY[population.customers.home[victim]], seen["country"])
        near = distances_km(seen["latitude"], seen["longitude"]) < _TOO_NEAR_KM
        weights = np.where(near | np.isin(_COUNTRY, homes), 0.0, _THIEVES)
        city = choose(rng, np.cumsum(weights), 1)
        who, cities = np.repeat(victim, count), np.repeat(city, count)
        first = (int(seen["time_us"]) / HOUR_US) % 24 + rng.uniform(20, 150) / 60
        hour = first + np.append(0.0, np.cumsum(rng.exponential(0.7, count - 1)))
        # What would fall after midnight happens before it: campaigns of one day stay in it.
        hour = np.minimum(hour, 23.9 + 0.09 * np.arange(count) / count)
        kind = rng.choice(_SELLS_AT_TILLS, count)
        shop = population.merchants.pick(rng, cities, kind)
        rows = blank(count)
        rows["account"], rows["time_us"] = who, moments(day, hour)
        eur = usual_price(population, rng, who, shop) * rng.uniform(1, 4, count)
        at_merchant(population, rows, shop, np.minimum(eur, 3000))
        rows["channel"] = channel_of(cities, kind == CASH)
        parts.append(_mark(rows, pattern))
    return join(parts)


def _compromised_merchant(population: Population, pattern: Pattern, day: int, _: Rows) -> Rows:
    """For 14 to 28 days about 3 payments a day at one shop on cards of people who live around."""
    merchants, customers = population.merchants, population.customers
    people = np.bincount(customers.home, minlength=NET + 1)
    at_tills = np.flatnonzero(
        np.isin(merchants.city, customers.home) & (merchants.category != CASH)
    )
    # Busy merchants of places with many customers: thieves want many different cards.
    weight = np.cumsum(merchants.popularity[at_tills] * people[merchants.city[at_tills]])
    parts = []
    for ago in range(_COMPROMISED_DAYS[1]):
        for number in range(started(population, pattern, day - ago)):
            rng = population.rng(pattern.code, day - ago, number + 1)
            length = int(rng.integers(_COMPROMISED_DAYS[0], _COMPROMISED_DAYS[1] + 1))
            merchant = at_tills[choose(rng, weight, 1)]
            if ago >= length:
                continue
            key = (number + 1) * 64 + ago
            rng = population.rng(pattern.code + _DAY_OF_CAMPAIGN, day - ago, key)
            around = np.flatnonzero(customers.home == merchants.city[merchant])
            count = int(rng.poisson(_COMPROMISED_PAYMENTS))
            count = min(count, len(around))
            who = rng.choice(around, count, replace=False)
            shop = np.repeat(merchant, count)
            rows = blank(count)
            rows["account"] = who
            rows["time_us"] = moments(day, rng.uniform(7, 21, count))
            eur = usual_price(population, rng, who, shop)
            raised = rng.random(count) < 0.15
            at_merchant(population, rows, shop, np.where(raised, 2.5 * eur, eur))
            rows["channel"] = Channel.CARD_PRESENT
            parts.append(_mark(rows, pattern))
    return join(parts)


def _slow_drain(population: Population, pattern: Pattern, day: int, _: Rows) -> Rows:
    """For 15 to 35 days, daily or every second day, a small transfer to one payee."""
    parts = []
    for ago in range(_DRAIN_DAYS[1]):
        for number in range(started(population, pattern, day - ago)):
            rng = population.rng(pattern.code, day - ago, number + 1)
            victim = _victim(population, rng)
            length = int(rng.integers(_DRAIN_DAYS[0], _DRAIN_DAYS[1] + 1))
            every = int(rng.integers(1, 3))
            usual, at = rng.uniform(9, 45), rng.uniform(7, 22)
            if ago >= length or ago % every:
                continue
            key = (number + 1) * 64 + ago
            rng = population.rng(pattern.code + _DAY_OF_CAMPAIGN, day - ago, key)
            who = np.array([victim])
            eur = np.round(np.array([usual]) * rng.uniform(0.9, 1.1, 1), 2)
            rows = transfers(
                population,
                rng,
                day,
                who,
                moments(day, at + rng.normal(0, 0.5, 1)),
                eur,
                np.array([_code(pattern, day - ago, number)]),
            )
            parts.append(_mark(rows, pattern))
    return join(parts)


def _victim(population: Population, rng: np.random.Generator) -> int:
    return int(choose(rng, population.activity, 1)[0])


def _code(pattern: Pattern, day: int, number: int) -> int:
    """A device or payee that belongs to one campaign."""
    return FOREIGN_CODE + day * 4096 + pattern.code % 8 * 512 + number % 512


def _mark(rows: Rows, pattern: Pattern) -> Rows:
    rows["pattern"] = pattern.code
    return rows


def _unknown_shop(
    population: Population, rng: np.random.Generator, who: Ints, city: Ints, kind: Ints
) -> Ints:
    """Merchants, none of them a favourite of the customer where three draws can avoid it."""
    shop = population.merchants.pick(rng, city, kind)
    for _ in range(2):
        again = population.merchants.pick(rng, city, kind)
        known = (population.customers.favourites[who, 1, kind] == shop[:, None]).any(axis=1)
        shop = np.where(known, again, shop)
    return shop


def _thief_session(rng: np.random.Generator, rows: Rows, device: int, *, has_login: bool) -> None:
    """Set the device and address of a thief; three in ten come through an address that looks good.

    With a login the password was changed hours before, in one case of four long before.
    """
    rows["device"] = device
    rows["ip"] = rng.integers(0, ADDRESSES)
    rows["ip_risk"] = address_risk(rng, rng.random(1) < 0.7)
    fresh, age = rng.random() < 0.75, rng.exponential(6.0)
    since_first: Floats = (rows["time_us"] - rows["time_us"].min()) / HOUR_US
    base = age if has_login and fresh else rng.uniform(50, 9000)
    rows["login_age_hours"] = np.round(base + since_first, 1)
    rows["failed_logins_24h"] = rng.poisson(1.0 if has_login else 0.1)


PATTERNS: tuple[Pattern, ...] = (
    Pattern("card_testing", 21, 16.5, _card_testing),
    Pattern("account_takeover", 22, 5.5, _account_takeover),
    Pattern("stolen_abroad", 23, 4.0, _stolen_abroad),
    Pattern("compromised_merchant", 24, 21.0 * _COMPROMISED_PAYMENTS, _compromised_merchant),
    Pattern("slow_drain", 25, 18.9, _slow_drain),
)
"""In the order of their codes."""
