"""What simulated people spend money on: categories with prices, hours and habits of payment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Channel(IntEnum):
    """How a payment is made; the names in lower case are the values in messages."""

    CARD_PRESENT = 0
    ONLINE = 1
    ATM = 2
    TRANSFER = 3

    @property
    def word(self) -> str:
        return self.name.lower()


class Ending(IntEnum):
    """How prices end: any cent, ``.99``, in steps of 50 cents, in tens."""

    ANY = 0
    NINETY_NINE = 1
    HALVES = 2
    TENS = 3


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of merchant.

    `share` of a typical customer's payments; `price` is the median in the reference currency and
    `spread` the standard deviation of its logarithm; `online` the share paid on the net;
    `peaks` are pairs (local hour, width in hours) of equal weight; `weekend` multiplies the share
    on Saturdays and Sundays.
    """

    name: str
    mcc: str
    share: float
    price: float
    spread: float
    online: float
    peaks: tuple[tuple[float, float], ...]
    weekend: float = 1.0
    ending: Ending = Ending.ANY
    sells_easily: bool = False  # what thieves buy: easily turned into money
    cheap_online: bool = False  # where card data are tried out


_SHOPS = ((11.0, 2.0), (17.0, 2.2))
_EVENING = ((20.0, 2.3), (13.0, 3.0))

CATEGORIES: tuple[Category, ...] = (
    Category("grocer", "5411", 27, 24, 0.75, 0.04, _SHOPS, 0.9),
    Category("bakery", "5462", 10, 5.5, 0.45, 0.0, ((7.8, 1.4), (15.5, 2.0)), 1.1),
    Category("bistro", "5812", 11, 27, 0.55, 0.10, ((12.7, 1.2), (19.8, 1.6)), 1.5, Ending.HALVES),
    Category("fuel", "5541", 6, 52, 0.40, 0.0, ((7.5, 1.5), (17.5, 2.0))),
    Category("transit", "4111", 7, 6.5, 0.60, 0.45, ((8.0, 1.3), (17.5, 1.6)), 0.5, Ending.HALVES),
    Category("pharmacy", "5912", 4, 16, 0.60, 0.15, _SHOPS, 0.5),
    Category(
        "outfitter",
        "5651",
        6,
        48,
        0.65,
        0.45,
        ((15.5, 2.6), (20.0, 1.8)),
        1.4,
        Ending.NINETY_NINE,
        sells_easily=True,
    ),
    Category(
        "electronics",
        "5732",
        2,
        120,
        0.90,
        0.55,
        _EVENING,
        1.2,
        Ending.NINETY_NINE,
        sells_easily=True,
    ),
    Category(
        "jeweller", "5944", 0.5, 140, 0.80, 0.25, ((14.0, 2.5), (16.5, 2.0)), 1.2, sells_easily=True
    ),
    Category(
        "homeware", "5200", 4, 42, 0.85, 0.30, ((11.5, 2.5), (16.5, 2.5)), 1.5, Ending.NINETY_NINE
    ),
    Category("leisure", "7922", 4, 29, 0.60, 0.50, _EVENING, 1.6, Ending.HALVES),
    Category(
        "digital",
        "5816",
        8,
        8.5,
        0.65,
        1.0,
        ((21.0, 2.2), (18.0, 3.0)),
        1.1,
        Ending.NINETY_NINE,
        cheap_online=True,
    ),
    Category("travel", "4722", 1, 210, 0.80, 0.90, _EVENING, 1.0, sells_easily=True),
    Category(
        "charity", "8398", 0.5, 18, 0.60, 1.0, _EVENING, 1.0, Ending.HALVES, cheap_online=True
    ),
    Category("cash", "6011", 5, 90, 0.55, 0.0, _SHOPS, 0.9, Ending.TENS),
)

CASH = next(i for i, category in enumerate(CATEGORIES) if category.name == "cash")
