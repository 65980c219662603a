"""Every feature's definition: name, unit, formula and plain sentence.

`formulas.py` computes them under the same names.
"""

from __future__ import annotations

from dataclasses import dataclass

from fraudwatch.features.spans import WINDOWS

WINDOW_WORDS = {
    "10m": "10 minutes",
    "1h": "hour",
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
}


@dataclass(frozen=True, slots=True)
class Feature:
    """One number about a transaction.

    `unit`: money, count, ratio, share, seconds, days, hour, flag, km, km/h, deviations or number.
    `sentence` holds `{value}`; `absent` replaces it for a flag that is 0. `own_range`: how much of
    an account's past before a transaction (microseconds) must be known to recompute the feature
    from the history that is kept, for the account's own normal range; None: there is none.
    """

    name: str
    unit: str
    formula: str
    sentence: str
    absent: str = ""
    own_range: int | None = None


def _windows() -> list[Feature]:
    made = []
    for (window, words), span in zip(WINDOW_WORDS.items(), WINDOWS, strict=True):
        rows = f"the account's transactions in (t - {window}, t], this one included"
        own = span if window != "30d" else None
        made += [
            Feature(
                f"count_{window}",
                "count",
                f"number of {rows}",
                f"{{value}} payments in the last {words}",
                own_range=own,
            ),
            Feature(
                f"sum_{window}",
                "money",
                f"sum of the amounts of {rows}",
                f"{{value}} spent in the last {words}",
                own_range=own,
            ),
            Feature(
                f"mean_{window}",
                "money",
                f"sum_{window} / count_{window}",
                f"Payments of {{value}} on average in the last {words}",
                own_range=own,
            ),
            Feature(
                f"max_{window}",
                "money",
                f"largest amount of {rows}",
                f"Largest payment of the last {words}: {{value}}",
                own_range=own,
            ),
        ]
    for what in ("merchants", "countries", "devices"):
        made += [
            Feature(
                f"{what}_{window}",
                "count",
                f"number of different {what} among the account's transactions in "
                f"(t - {window}, t], this one included; those without one do not count",
                f"{{value}} different {what} in the last {WINDOW_WORDS[window]}",
                own_range=span if window != "30d" else None,
            )
            for window, span in zip(WINDOW_WORDS, WINDOWS, strict=True)
        ]
    return made


def _habits() -> list[Feature]:
    past = "the account's past in (t - 30d, t), this transaction excluded"
    made = [
        Feature(
            f"amount_ratio_{window}",
            "ratio",
            f"amount / mean amount of the account's past {window}, this transaction excluded; "
            "1 without past or where that mean is 0; at most 1000",
            f"The amount is {{value}} the account's own mean of the last {WINDOW_WORDS[window]}",
            own_range=span,
        )
        for window, span in (("7d", WINDOWS[3]), ("30d", None))
    ]
    made += [
        Feature(
            "amount_to_max_30d",
            "ratio",
            f"amount / largest amount of {past}; 1 without past or where that is 0; at most 1000",
            "The amount is {value} the account's largest payment of the last 30 days",
        ),
        Feature(
            "amount_deviation_30d",
            "deviations",
            f"(amount - m) / max(s, m / 10, 0.01), with m and s the mean and the sample standard "
            f"deviation of {past}; 0 with fewer than 2 of them; within ±1000",
            "The amount is {value} standard deviations from the account's own mean",
        ),
        Feature(
            "amount_rank_30d",
            "share",
            f"(number of smaller amounts + half of the equal ones + 0.5) / (n + 1), over the n "
            f"transactions of {past}",
            "The amount is larger than {value} of the account's payments of the last 30 days",
        ),
    ]
    made += [
        Feature(
            f"count_ratio_24h_{window}",
            "ratio",
            f"count_24h / (count_{window} / days), with days = account_age_days held within "
            f"1 and {window[:-1]}",
            f"{{value}} as many payments in 24 hours as on the account's mean day of the last "
            f"{WINDOW_WORDS[window]}",
        )
        for window in ("7d", "30d")
    ]
    made += [
        Feature(
            "sum_ratio_24h_30d",
            "ratio",
            "sum_24h / (sum_30d / days), with days = account_age_days held within 1 and 30; "
            "1 where sum_30d is 0",
            "{value} as much spent in 24 hours as on the account's mean day of the last 30 days",
        ),
        Feature(
            "seconds_since_last",
            "seconds",
            "seconds since the account's latest transaction at or before t; 30 days where there "
            "is none within 30 days",
            "The account's last payment was {value} earlier",
            own_range=0,
        ),
        Feature("hour_of_day", "hour", "hour of t in UTC, 0 to 23", "Paid at {value}", own_range=0),
        Feature(
            "night",
            "flag",
            "1 where hour_of_day is 0 to 6",
            "Paid at night (UTC)",
            absent="Not paid at night",
        ),
        Feature(
            "weekend",
            "flag",
            "1 on Saturday and Sunday (UTC)",
            "Paid at a weekend",
            absent="Not paid at a weekend",
        ),
        Feature(
            "hour_share_30d",
            "share",
            f"(k + 1/12) / (n + 1), with k those of the n transactions of {past} whose time of "
            "day is within 1 hour of this one's, around midnight too",
            "{value} of the account's payments of the last 30 days were made about this hour",
        ),
        Feature(
            "weekday_share_30d",
            "share",
            f"(k + 1/7) / (n + 1), with k those of the n transactions of {past} on the same day "
            "of the week",
            "{value} of the account's payments of the last 30 days were made on this weekday",
        ),
    ]
    return made


def _novelty() -> list[Feature]:
    made = [
        Feature(
            f"first_{what}",
            "flag",
            f"1 where the account has a past but none of its transactions of the last 365 days "
            f"had this {words}; 0 without {words}",
            f"The account's first payment with this {words} in a year",
            absent=f"The account has paid with this {words} before",
        )
        for what, words in (
            ("merchant", "merchant"),
            ("category", "merchant category"),
            ("channel", "channel"),
            ("country", "country"),
            ("device", "device"),
            ("counterparty", "counterparty"),
        )
    ]
    made += [
        Feature(
            "account_count",
            "count",
            "number of transactions of the account before this one, ever",
            "The account made {value} payments before",
        ),
        Feature(
            "account_age_days",
            "days",
            "days from the account's first transaction to t; 0 without past",
            "The account is known for {value}",
        ),
        Feature(
            "travel_km",
            "km",
            "great-circle distance to the account's latest located transaction (haversine, "
            "radius 6371 km); 0 where either place is unknown",
            "{value} away from the account's last located payment",
        ),
        Feature(
            "travel_speed",
            "km/h",
            "travel_km / hours between the two, at least 1 minute; at most 10000",
            "The card would have travelled at {value} since its last located payment",
        ),
    ]
    return made


def _merchants() -> list[Feature]:
    profile = "in the merchant's profile of the day (days are UTC, before the profile's day)"
    made = [
        Feature(
            "merchant_known",
            "flag",
            f"1 where the merchant has a transaction {profile}",
            "The merchant is known from earlier payments",
            absent="The merchant was not seen in recent weeks",
        )
    ]
    made += [
        Feature(
            f"merchant_count_{window}",
            "count",
            f"number of transactions of the last {window[:-1]} days {profile}",
            f"{{value}} payments at this merchant in the {words} before today",
        )
        for window, words in (("1d", "day"), ("7d", "7 days"), ("30d", "30 days"))
    ]
    made += [
        Feature(
            "merchant_mean_30d",
            "money",
            f"mean amount of the last 30 days {profile}; 0 without any; single amounts count as "
            "at most 10^8",
            "Payments at this merchant are {value} on average",
        ),
        Feature(
            "amount_to_merchant_mean",
            "ratio",
            "amount / merchant_mean_30d; 1 where that is 0; at most 1000",
            "The amount is {value} the merchant's mean of the last 30 days",
        ),
    ]
    made += [
        Feature(
            f"merchant_fraud_rate_{window}",
            "share",
            f"known frauds / transactions, over the {window[:-1]} days that end label_delay_days "
            f"before the profile's day, {profile}; 0 without transactions",
            f"{{value}} of this merchant's payments were fraud ({words} up to the newest day "
            "whose truth is known)",
        )
        for window, words in (("1d", "the day"), ("7d", "7 days"), ("30d", "30 days"))
    ]
    made += [
        Feature(
            f"merchant_frauds_{window}",
            "count",
            f"number of frauds known so far, of the last {window[:-1]} days {profile}",
            f"{{value}} known frauds at this merchant in the last {window[:-1]} days",
        )
        for window in ("7d", "30d")
    ]
    return made


CATALOGUE: tuple[Feature, ...] = (
    Feature(
        "amount",
        "money",
        "amount * rate of its currency, rounded half to even to 0.0001",
        "The amount is {value}",
        own_range=0,
    ),
    *_windows(),
    *_habits(),
    *_novelty(),
    *_merchants(),
)
