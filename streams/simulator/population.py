"""Who lives in a world: customers with their habits, and merchants. Drawn once from the seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.simulator.config import WorldConfig
from streams.simulator.places import CITIES, COUNTRIES, CURRENCIES, HOME_CITIES
from streams.simulator.rows import Bools, Floats, Ints, choose, choose_each, generator
from streams.simulator.trade import CATEGORIES

NET = len(CITIES)
"""The city of merchants without a place."""

FAVOURITES = 3
_FAVOURITE_SHARES = np.array([0.6, 0.3, 0.1])
_POPULATION = 1  # purpose of randomness, see rows.generator
_SYLLABLES = (
    "bel",
    "dor",
    "fen",
    "gal",
    "hol",
    "jas",
    "kel",
    "lin",
    "mar",
    "nor",
    "osk",
    "pel",
    "rav",
    "sol",
    "tam",
    "und",
    "vel",
    "wis",
    "yor",
    "zan",
)
_ENDINGS = ("a", "en", "ia", "o", "ora", "um", "ix", "ow")


@dataclass(frozen=True, slots=True)
class Merchants:
    """Arrays over merchants, which are sorted by (city, category)."""

    city: Ints
    category: Ints
    country: Ints
    currency: Ints
    latitude: Floats
    longitude: Floats
    price: Floats  # factor on the category's price
    popularity: Floats  # heavy-tailed
    names: tuple[str, ...]
    popularity_sum: Floats  # running sum of popularity
    group_start: Ints  # group = city * len(CATEGORIES) + category

    def pick(self, rng: np.random.Generator, city: Ints, category: Ints) -> Ints:
        """A merchant of each city and category, the popular ones more often."""
        group = city * len(CATEGORIES) + category
        first, last = self.group_start[group], self.group_start[group + 1] - 1
        before = np.where(first > 0, self.popularity_sum[first - 1], 0.0)
        u = before + rng.random(len(group)) * (self.popularity_sum[last] - before)
        picked: Ints = np.clip(np.searchsorted(self.popularity_sum, u, side="right"), first, last)
        return picked


@dataclass(frozen=True, slots=True)
class Customers:
    """Arrays over customers: what is usual for each."""

    home: Ints  # city
    rate: Floats  # payments a day
    level: Floats  # factor on prices
    spread: Floats  # factor on the spread of prices
    loyalty: Floats  # share of payments at favourite merchants
    online: Floats  # factor on the share paid online
    shift_hours: Floats  # early birds and night owls
    weekday: Floats  # [n, 7] factor on the rate, Monday first, mean 1
    tastes: Floats  # [n, 2, categories] running sums; 0 working day, 1 weekend
    favourites: Ints  # [n, 2, categories, FAVOURITES] merchants; 0 in the home city, 1 online
    payday: Ints  # day of the month
    device_days: Ints  # [n] life of a device in days
    credential_days: Ints  # [n] days between two changes of password
    phase: Ints  # [n] where in these cycles the customer stands
    vpn: Bools  # goes online through addresses that look risky


@dataclass(frozen=True, slots=True)
class StandingOrders:
    """Monthly payments: rent and bills to a counterparty, subscriptions at an online merchant."""

    account: Ints
    day_of_month: Ints
    hour: Floats
    eur: Floats
    counterparty: Ints  # -1 for subscriptions
    merchant: Ints  # -1 for transfers


@dataclass(frozen=True, slots=True)
class Population:
    """A world at rest. Same configuration, same population."""

    config: WorldConfig
    merchants: Merchants
    customers: Customers
    orders: StandingOrders
    activity: Floats  # running sum of the customers' rates

    @property
    def expected_per_day(self) -> float:
        """Expected ordinary payments a day."""
        return float(self.activity[-1] + len(self.orders.account) / 30.44)

    def rng(self, purpose: int, day: int, number: int = 0) -> np.random.Generator:
        """The randomness of one purpose on one day (days since 1970-01-01)."""
        return generator(self.config.seed, purpose, day, number)


def populate(config: WorldConfig) -> Population:
    """Draw merchants, customers and standing orders."""
    rng = generator(config.seed, _POPULATION)
    merchants = _merchants(rng, config.merchants)
    customers = _customers(rng, config, merchants)
    orders = _orders(rng, config.customers, customers, merchants)
    return Population(config, merchants, customers, orders, np.cumsum(customers.rate))


def _merchants(rng: np.random.Generator, count: int) -> Merchants:
    kinds = len(CATEGORIES)
    groups = (NET + 1) * kinds
    # One merchant everywhere, the rest where the people are; a fifth of them on the net.
    city_weight = np.array([city.people + 0.15 * city.visitors for city in CITIES])
    city_weight = np.append(city_weight, 0.25 * city_weight.sum())
    kind_weight = np.array([max(c.share, 2.0) for c in CATEGORIES])
    weight = np.outer(city_weight, kind_weight).ravel()
    group = np.sort(
        np.concatenate([np.arange(groups), choose(rng, np.cumsum(weight), count - groups)])
    )
    city, category = np.divmod(group, kinds)
    popularity = np.arange(1, count + 1, dtype=np.float64)[rng.permutation(count)] ** -0.8
    # Online merchants have a seat, which decides country and currency; a quarter is abroad.
    seat_weight = np.array([c.people + 0.7 * (c.people == 0) for c in CITIES])
    seat = np.where(city == NET, choose(rng, np.cumsum(seat_weight), count), city)
    country = np.array([COUNTRIES.index(c.country) for c in CITIES])[seat]
    currency = np.array([CURRENCIES.index(c.currency) for c in CITIES])[seat]
    place = np.array([(c.latitude, c.longitude) for c in CITIES])[seat]
    place = np.round(place + rng.normal(0, 0.03, (count, 2)), 4)
    place[city == NET] = np.nan
    word = rng.integers(0, (len(_SYLLABLES), len(_SYLLABLES), len(_ENDINGS)), (count, 3))
    names = tuple(
        f"{_SYLLABLES[a]}{_SYLLABLES[b]}{_ENDINGS[c]}-{CATEGORIES[k].name}-{i:04d}"
        for i, ((a, b, c), k) in enumerate(zip(word.tolist(), category.tolist(), strict=True))
    )
    return Merchants(
        city=city,
        category=category,
        country=country,
        currency=currency,
        latitude=place[:, 0],
        longitude=place[:, 1],
        price=np.exp(rng.normal(0, 0.3, count)),
        popularity=popularity,
        names=names,
        popularity_sum=np.cumsum(popularity),
        group_start=np.searchsorted(group, np.arange(groups + 1)).astype(np.int64),
    )


def _customers(rng: np.random.Generator, config: WorldConfig, merchants: Merchants) -> Customers:
    n, kinds = config.customers, len(CATEGORIES)
    home_weight = np.array([CITIES[i].people for i in HOME_CITIES])
    home = np.array(HOME_CITIES)[choose(rng, np.cumsum(home_weight), n)]
    rate = config.payments_per_day * rng.gamma(2.5, 1 / 2.5, n).clip(0.08)
    weekday = rng.gamma(20, 1 / 20, (n, 7)) * np.array([0.9, 0.92, 0.95, 1, 1.15, 1.2, 0.88])
    share = np.array([c.share for c in CATEGORIES]) * rng.gamma(1.5, 1, (n, kinds))
    weekend = share * np.array([c.weekend for c in CATEGORIES])
    every = np.repeat(np.arange(n), kinds * FAVOURITES)
    kind = np.tile(np.repeat(np.arange(kinds), FAVOURITES), n)
    shape = (n, kinds, FAVOURITES)
    local = merchants.pick(rng, home[every], kind).reshape(shape)
    online = merchants.pick(rng, np.full(len(every), NET), kind).reshape(shape)
    return Customers(
        home=home,
        rate=rate,
        level=np.exp(rng.normal(0, 0.35, n)),
        spread=rng.uniform(0.6, 1.2, n),
        loyalty=rng.beta(6, 2.5, n),
        online=rng.gamma(3, 1 / 3, n).clip(0.05, 2.0),
        shift_hours=rng.normal(0, 1.1, n),
        weekday=weekday / weekday.mean(axis=1, keepdims=True),
        tastes=np.cumsum(np.stack([share, weekend], axis=1), axis=2),
        favourites=np.stack([local, online], axis=1),
        payday=rng.choice(np.array([1, 15, 25, 27, 28]), n),
        device_days=rng.integers(350, 1100, n),
        credential_days=rng.integers(60, 500, n),
        phase=rng.integers(0, 1100, n),
        vpn=rng.random(n) < 0.04,
    )


def _orders(
    rng: np.random.Generator, n: int, customers: Customers, merchants: Merchants
) -> StandingOrders:
    rent = np.arange(n)[rng.random(n) < 0.08]  # others pay it elsewhere
    bills = np.repeat(np.arange(n), rng.integers(0, 3, n))
    subscriptions = np.repeat(np.arange(n), rng.integers(0, 4, n))
    account = np.concatenate([rent, bills, subscriptions])
    count, transfers = len(account), len(rent) + len(bills)
    price = np.concatenate(
        [
            np.round(450 * np.exp(rng.normal(0, 0.3, len(rent))), -1),
            np.round(58 * np.exp(rng.normal(0, 0.5, len(bills)))),
            rng.choice(np.array([4.99, 7.99, 9.99, 12.99, 17.99, 29.99]), len(subscriptions)),
        ]
    )
    digital = next(i for i, c in enumerate(CATEGORIES) if c.name == "digital")
    provider = merchants.pick(rng, np.full(count, NET), np.full(count, digital))
    # Landlords and utilities are shared: about one per eight orders.
    payee = rng.integers(0, max(1, transfers // 8), count)
    is_transfer = np.arange(count) < transfers
    shared = np.where(np.arange(count) < len(rent), customers.level[account], 1.0)
    return StandingOrders(
        account=account,
        day_of_month=rng.integers(1, 29, count),
        hour=rng.uniform(5, 9, count),
        eur=np.where(is_transfer, np.round(price * shared), price),
        counterparty=np.where(is_transfer, payee, -1),
        merchant=np.where(is_transfer, -1, provider),
    )


def favourite(
    rng: np.random.Generator, customers: Customers, who: Ints, net: Bools, kind: Ints
) -> Ints:
    """One of each customer's favourite merchants of a category, at home or (`net`) online."""
    slot = choose_each(rng, np.cumsum(_FAVOURITE_SHARES)[None, :], np.zeros(len(who), np.int64))
    return customers.favourites[who, net.astype(np.int64), kind, slot]
