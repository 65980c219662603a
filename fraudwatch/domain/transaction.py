"""A payment event as received, and how bytes become one."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec


class Transaction(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One payment event. Codes are validated; `event_time` is aware and in UTC.

    `amount` is exact, in units of `currency`, 0 or more, below 10**12, with at most four decimals.
    `attributes` are the institution's own: numbers and strings.
    """

    transaction_id: str
    account_id: str
    event_time: datetime
    amount: Decimal
    currency: str
    merchant_id: str | None = None
    merchant_category: str | None = None
    channel: str | None = None
    country: str | None = None
    device_id: str | None = None
    ip: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    counterparty_id: str | None = None
    customer_id: str | None = None
    attributes: dict[str, float | str] = {}
