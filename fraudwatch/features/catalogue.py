"""The catalogue: what each feature is called, means and reads like.

The definitions are in `definitions.py`; docs/features.md is written from them. `FeatureSpec` says
which institution attributes and exchange rates a model was built with.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fraudwatch.errors import ConfigurationError
from fraudwatch.features.definitions import CATALOGUE, Feature

__all__ = [
    "ATTRIBUTE_PREFIX",
    "BY_NAME",
    "CATALOGUE",
    "Feature",
    "FeatureSpec",
    "catalogue_markdown",
    "describe",
    "sentence",
]

# Raise when a computation changes without its name, unit or formula text changing.
DEFINITIONS = 2

ATTRIBUTE_PREFIX = "attributes."
MAX_RATE = 1e12
_WHOSE = {"account": "this account", "everyone": "most accounts"}

BY_NAME: Mapping[str, Feature] = {feature.name: feature for feature in CATALOGUE}


def describe(name: str) -> Feature:
    """The feature of that name; an institution attribute gets a description of its own."""
    if name.startswith(ATTRIBUTE_PREFIX):
        own = name.removeprefix(ATTRIBUTE_PREFIX)
        return Feature(
            name,
            "number",
            f"attribute {own} as received; missing where absent",
            f"{own} is {{value}}",
        )
    return BY_NAME[name]


@dataclass(frozen=True)
class FeatureSpec:
    """What a model's features are made of: part of its manifest.

    `attributes`: numeric institution attributes that become features. `rates`: units of the
    reference currency per unit of a currency; a currency not named counts as 1.
    Raises `ConfigurationError` for a rate outside (0, MAX_RATE] or a doubled attribute.
    """

    attributes: tuple[str, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.attributes)) != len(self.attributes):
            raise ConfigurationError("feature attributes: a name is given twice")
        for currency, rate in self.rates.items():
            if not 0 < rate <= MAX_RATE:
                raise ConfigurationError(
                    f"rate of {currency}: must be a number above 0, at most {MAX_RATE:g}"
                )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the feature matrix's columns, in order."""
        return (
            *(feature.name for feature in CATALOGUE),
            *(ATTRIBUTE_PREFIX + name for name in self.attributes),
        )

    @cached_property
    def version(self) -> str:
        """Changes with whatever changes the meaning of a feature or of an account's state."""
        facts = {
            "definitions": DEFINITIONS,
            "features": [(f.name, f.unit, f.formula) for f in map(describe, self.names)],
            "rates": sorted((currency, float(rate)) for currency, rate in self.rates.items()),
        }
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for a manifest."""
        return {"attributes": list(self.attributes), "rates": dict(self.rates)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FeatureSpec:
        """The inverse of `to_dict`."""
        rates = {str(currency): float(rate) for currency, rate in data["rates"].items()}
        return cls(attributes=tuple(data["attributes"]), rates=rates)


def catalogue_markdown() -> str:
    """The text of docs/features.md."""
    lines = [
        "# Features",
        "",
        "Written by `catalogue_markdown()` in `fraudwatch/features/catalogue.py`; do not edit.",
        "",
        "Each is computed before the transaction joins its account's past. `t` is its event time.",
        "A window `(t - w, t]` holds what was received before it and happened in that time. Of an",
        "account the newest 37 days and 8,192 transactions are kept: later events and busier",
        "accounts count no more than that. A late transaction, behind its account's newest, is",
        "measured at its own time and counts from then on; up to 7 days behind nothing of its",
        "windows is missing. [What happens beyond](same-answer.md#late-transactions)",
        "All values are finite, but institution attributes (`attributes.NAME`) may be missing.",
        "Money is in the reference currency; single amounts saturate at 5·10^10.",
        "",
        "| Feature | Unit | Formula | In words |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{f.name}` | {f.unit} | {f.formula} | {f.sentence.replace('{value}', '…')} |"
        for f in (*CATALOGUE, describe(ATTRIBUTE_PREFIX + "NAME"))
    ]
    return "\n".join(lines) + "\n"


def sentence(
    name: str, value: float | None, low: float | None, high: float | None, normal_of: str
) -> str:
    """A sentence such as "The amount is 523.10; usual for this account: 12.00 to 88.40."

    `low` and `high` bound what is normal (None or NaN: unknown); `normal_of` is `account` or
    `everyone`. Raises `KeyError` for a name that is not a feature.
    """
    feature = describe(name)
    if value is None or math.isnan(value):
        return f"{name.removeprefix(ATTRIBUTE_PREFIX)} is not known."
    if feature.unit == "flag":
        return (feature.sentence if value else feature.absent) + "."
    text = feature.sentence.format(value=_words(value, feature.unit))
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return text + "."
    usual = f"{_words(low, feature.unit)} to {_words(high, feature.unit)}"
    if _words(low, feature.unit) == _words(high, feature.unit):
        usual = _words(low, feature.unit)
    return f"{text}; usual for {_WHOSE[normal_of]}: {usual}."


def _words(value: float, unit: str) -> str:
    match unit:
        case "money":
            return f"{value:,.2f}"
        case "count":
            return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"
        case "ratio":
            return f"{value:,.1f} times" if value >= 0.1 else f"{value:,.3f} times"
        case "share":
            return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.1f} %"
        case "seconds":
            return _duration(value)
        case "days":
            return f"{value:,.0f} days" if value >= 2 else _duration(value * 86_400)
        case "hour":
            return f"{int(value):02d}:00 UTC"
        case "km":
            return f"{value:,.0f} km"
        case "km/h":
            return f"{value:,.0f} km/h"
        case "deviations":
            return f"{value:+,.1f}"
        case _:
            return f"{value:,.6g}"


def _duration(seconds: float) -> str:
    for size, word in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {word}"
    return f"{seconds:,.0f} seconds"
