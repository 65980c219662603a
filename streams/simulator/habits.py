"""The ordinary payments of one day: habits, and the exceptions that honest life has."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from streams.simulator.payments import (
    at_merchant,
    channel_of,
    local_to_utc,
    own_session,
    usual_price,
)
from streams.simulator.places import CITIES, HOME_CITIES
from streams.simulator.population import NET, Population, favourite
from streams.simulator.rows import (
    DAY_US,
    HOUR_US,
    Floats,
    Ints,
    Rows,
    blank,
    choose,
    choose_each,
    join,
)
from streams.simulator.trade import CASH, CATEGORIES, Channel

EPOCH = date(1970, 1, 1)

_DAY, _JOURNEY, _ORDERS, _FRIENDS = 10, 11, 12, 13  # purposes of randomness
_LONGEST_JOURNEY = 10
_AWAY_AT_HOME = 0.03  # share of days spent in another city of one's own region
_FRIEND_TRANSFERS = 0.05  # transfers to persons, per payment
_GENUINE_LARGE = 0.005  # share of payments that are several times the usual
_ONLINE = np.array([c.online for c in CATEGORIES])
_PEAKS = np.array([[p[0] for p in c.peaks] for c in CATEGORIES])
_WIDTHS = np.array([[p[1] for p in c.peaks] for c in CATEGORIES])
_VISITORS = np.cumsum([c.visitors for c in CITIES])
_SALARY = 0.6 * np.exp(-np.arange(30) / 4.0)
_SALARY = (1 + _SALARY) / (1 + _SALARY.mean())  # by days since payday, mean 1


def whereabouts(population: Population, day: int) -> Ints:
    """The city each customer is in on that day: home, another city nearby, or a journey abroad."""
    config, home = population.config, population.customers.home
    rng = population.rng(_DAY, day, 1)
    other = np.array(HOME_CITIES)[rng.integers(0, len(HOME_CITIES), len(home))]
    city = np.where(rng.random(len(home)) < _AWAY_AT_HOME, other, home)
    for ago in range(_LONGEST_JOURNEY - 1, -1, -1):
        if day - ago < 0:
            continue
        rng = population.rng(_JOURNEY, day - ago)
        leaves = rng.random(len(home)) < config.trips_per_year / 365.25
        nights = rng.integers(2, _LONGEST_JOURNEY + 1, len(home))
        target = choose(rng, _VISITORS, len(home))
        city = np.where(leaves & (nights > ago), target, city)
    return city


def ordinary_day(population: Population, day: int) -> Rows:
    """All payments of a day without fraud, in no order. `day` counts from 1970-01-01."""
    city = whereabouts(population, day)
    return join(
        [
            _shopping(population, day, city),
            _friends(population, day),
            _standing_orders(population, day),
        ]
    )


def _rate_today(population: Population, day: int) -> Floats:
    customers, today = population.customers, EPOCH + timedelta(days=day)
    since_payday = (today.day - customers.payday) % 30
    return customers.rate * customers.weekday[:, today.weekday()] * _SALARY[since_payday]


def _shopping(population: Population, day: int, city: Ints) -> Rows:
    rng = population.rng(_DAY, day)
    customers, merchants = population.customers, population.merchants
    rate = _rate_today(population, day) * (1 - _FRIEND_TRANSFERS)
    who = np.repeat(np.arange(len(rate)), rng.poisson(rate))
    weekend = int((EPOCH + timedelta(days=day)).weekday() >= 5)
    kind = choose_each(rng, customers.tastes[:, weekend], who)
    net = rng.random(len(who)) < _ONLINE[kind] * np.where(
        _ONLINE[kind] < 1, np.minimum(customers.online[who], 1 / _ONLINE[kind].clip(1e-9)), 1
    )
    here = np.where(net, NET, city[who])
    by_habit = (rng.random(len(who)) < customers.loyalty[who]) & (
        net | (city[who] == customers.home[who])
    )
    shop = np.where(
        by_habit,
        favourite(rng, customers, who, net, kind),
        merchants.pick(rng, here, kind),
    )
    eur = usual_price(population, rng, who, shop)
    large = rng.random(len(who)) < _GENUINE_LARGE
    eur = np.where(large, eur * rng.uniform(3, 8, len(who)), eur)
    peak = rng.integers(0, 2, len(who))
    hour = rng.normal(_PEAKS[kind, peak], _WIDTHS[kind, peak]) + customers.shift_hours[who]
    rows = blank(len(who))
    rows["account"] = who
    rows["time_us"] = moments(day, local_to_utc(hour, city[who]))
    at_merchant(population, rows, shop, eur)
    rows["channel"] = channel_of(merchants.city[shop], kind == CASH)
    online = rows[net]
    own_session(population, rng, online, day)
    rows[net] = online
    return rows


def _friends(population: Population, day: int) -> Rows:
    """Transfers to persons one knows, now and then to somebody new."""
    rng = population.rng(_FRIENDS, day)
    customers = population.customers
    n = len(customers.rate)
    who = np.repeat(np.arange(n), rng.poisson(_rate_today(population, day) * _FRIEND_TRANSFERS))
    known = (who * 7919 + rng.integers(0, 5, len(who)) * 104_729) % (n * 20)
    somebody = rng.integers(0, n * 20, len(who))
    hour = rng.normal(18.5, 3.0, len(who)) + customers.shift_hours[who]
    eur = 45 * customers.level[who] * np.exp(rng.normal(0, 0.9, len(who)))
    return transfers(
        population,
        rng,
        day,
        who,
        moments(day, local_to_utc(hour, customers.home[who])),
        np.where(eur < 60, np.ceil(eur), np.ceil(eur / 10) * 10),
        n + np.where(rng.random(len(who)) < 0.88, known, somebody),
    )


def _standing_orders(population: Population, day: int) -> Rows:
    orders = population.orders
    due = np.flatnonzero(orders.day_of_month == (EPOCH + timedelta(days=day)).day)
    rng = population.rng(_ORDERS, day)
    who, shop = orders.account[due], orders.merchant[due]
    time_us = moments(day, orders.hour[due] + rng.uniform(0, 0.2, len(due)))
    is_transfer = shop < 0
    paid = transfers(
        population,
        rng,
        day,
        who[is_transfer],
        time_us[is_transfer],
        orders.eur[due][is_transfer],
        orders.counterparty[due][is_transfer],
    )
    # Nobody sits at a device when an order or a subscription is executed.
    paid["device"], paid["ip"] = -1, -1
    for name in ("login_age_hours", "ip_risk", "failed_logins_24h"):
        paid[name] = np.nan
    renewed = blank(int((~is_transfer).sum()))
    renewed["account"], renewed["time_us"] = who[~is_transfer], time_us[~is_transfer]
    at_merchant(population, renewed, shop[~is_transfer], orders.eur[due][~is_transfer])
    renewed["channel"] = Channel.ONLINE
    return join([paid, renewed])


def transfers(
    population: Population,
    rng: np.random.Generator,
    day: int,
    who: Ints,
    time_us: Ints,
    eur: Floats,
    counterparty: Ints,
) -> Rows:
    """Transfers in the reference currency by customers on their own devices, no country known."""
    rows = blank(len(who))
    rows["account"], rows["time_us"], rows["counterparty"] = who, time_us, counterparty
    rows["cents"] = np.maximum(np.round(eur * 100), 100).astype(np.int64)
    rows["channel"] = Channel.TRANSFER
    own_session(population, rng, rows, day)
    return rows


def moments(day: int, hour: Floats) -> Ints:
    """UTC hours of a day to microseconds since 1970, to the millisecond, never past the day."""
    within = np.clip(np.floor(hour * HOUR_US / 1000) * 1000, 0, DAY_US - 1000).astype(np.int64)
    moment: Ints = day * DAY_US + within
    return moment
