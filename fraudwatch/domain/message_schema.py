"""JSON Schema (2020-12) of a transaction message, from the same limits that `decode` uses."""

from __future__ import annotations

from fraudwatch.domain.codes import COUNTRIES, CURRENCY_DECIMALS
from fraudwatch.domain.limits import (
    AMOUNT_DECIMALS,
    AMOUNT_LIMIT,
    ATTRIBUTE_NAME_LENGTH,
    ATTRIBUTE_TEXT_LENGTH,
    ATTRIBUTES,
    TEXT_LENGTHS,
)
from fraudwatch.domain.strict import UNSEEN

Schema = dict[str, object]

_SENTENCES = {
    "transaction_id": "Unique for ever. A second message with it is a duplicate or a conflict.",
    "account_id": "The payer's account or card: the key of the stream.",
    "merchant_id": "Who is paid.",
    "merchant_category": "Merchant category code (ISO 18245, four digits) or a word of your own.",
    "channel": "How the payment was made, e.g. pos, online, atm, transfer.",
    "device_id": "The device that the payment was made with.",
    "counterparty_id": "The account that is paid, where it is known.",
    "customer_id": "The person that the account belongs to.",
}
_TIME = (
    r"^(199[0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)


def json_schema() -> Schema:
    """The schema of a transaction message.

    What it accepts, `decode` accepts, with four exceptions that a schema cannot express: times
    after now, attributes and unknown fields together above 64 or of the same name, repeated names,
    and numbers with more than four decimals as amounts (`multipleOf` is left out, since common
    validators compute it in binary and would refuse 57.16).
    """
    fields: dict[str, Schema] = {
        name: _text(longest, _SENTENCES[name]) for name, longest in TEXT_LENGTHS.items()
    }
    fields["event_time"] = {
        "type": "string",
        "format": "date-time",
        "pattern": _TIME,
        "description": "RFC 3339 with an offset; from 1990 on, and not ahead of the clock.",
    }
    fields["amount"] = {
        "description": "In units of the currency, exact, at most four decimals. "
        "Text is safest: many programs round numbers.",
        "anyOf": [
            {
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": AMOUNT_LIMIT,
            },
            {
                "type": "string",
                "pattern": rf"^[0-9]{{1,12}}(\.[0-9]{{1,{AMOUNT_DECIMALS}}})?$",
            },
        ],
    }
    fields["currency"] = {"enum": sorted(CURRENCY_DECIMALS), "description": "ISO 4217."}
    fields["country"] = {
        "enum": sorted(COUNTRIES),
        "description": "Where the payment was made, ISO 3166-1 alpha-2.",
    }
    fields["ip"] = {
        "type": "string",
        "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}],
        "description": "Address that the payment came from, IPv4 or IPv6.",
    }
    fields["latitude"] = _number(90, "Where the payment was made, degrees north.")
    fields["longitude"] = _number(180, "Where the payment was made, degrees east.")
    fields["attributes"] = {
        "type": "object",
        "description": "Your own numbers and texts; numeric ones can be declared as features.",
        "maxProperties": ATTRIBUTES,
        "propertyNames": {"$ref": "#/$defs/attributeName"},
        "additionalProperties": {"$ref": "#/$defs/attribute"},
    }
    required = ["transaction_id", "account_id", "event_time", "amount", "currency"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Transaction",
        "description": "One payment event. Fields that are not named here become attributes.",
        "type": "object",
        "required": required,
        "properties": {
            name: field if name in required else {"anyOf": [field, {"type": "null"}]}
            for name, field in sorted(fields.items())
        },
        "propertyNames": {"$ref": "#/$defs/attributeName"},
        "additionalProperties": {"$ref": "#/$defs/attribute"},
        "$defs": {
            "attributeName": _text(ATTRIBUTE_NAME_LENGTH, "A name."),
            "attribute": {
                "anyOf": [
                    {
                        "type": "string",
                        "maxLength": ATTRIBUTE_TEXT_LENGTH,
                        "pattern": r"^[^\u0000]*$",
                    },
                    {"type": ["number", "boolean", "null"]},
                ],
                "description": "Numbers are 64-bit floats, booleans 0 and 1, null is absent.",
            },
        },
    }


def _text(longest: int, description: str) -> Schema:
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": longest,
        "pattern": f"^[^{UNSEEN}]+$",
        "description": description,
    }


def _number(limit: int, description: str) -> Schema:
    return {"type": "number", "minimum": -limit, "maximum": limit, "description": description}
