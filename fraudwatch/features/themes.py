"""Themes: features that say much the same thing, so that reasons do not repeat themselves.

One large payment raises the amount, every window's sum, mean and maximum, and each ratio to them.
People need to hear that once, and then what else is odd.
"""

from __future__ import annotations

_THEMES = {
    "amount": ("amount", "sum_", "mean_", "max_"),
    "pace": ("count_", "seconds_since_last"),
    "spread": ("merchants_", "countries_", "devices_"),
    "time of day": ("hour_", "night"),
    "day of week": ("weekend", "weekday_"),
    "account": ("account_",),
    "travel": ("travel_",),
    "merchant fraud": ("merchant_fraud",),
    "merchant": ("merchant_", "amount_to_merchant"),
}


def theme(name: str) -> str:
    """What a feature is about; a feature that stands alone is its own theme.

    The longest matching beginning counts: `merchant_fraud_rate_7d` is about fraud at the merchant,
    `merchant_count_7d` about the merchant.
    """
    found = [
        (len(beginning), about)
        for about, beginnings in _THEMES.items()
        for beginning in beginnings
        if name.startswith(beginning)
    ]
    return max(found)[1] if found else name
