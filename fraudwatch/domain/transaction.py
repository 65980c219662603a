"""A payment event as received, and how bytes become one.

docs/messages.md describes the message for those who send it.
"""

from __future__ import annotations

import math
import re
import socket
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec.structs import force_setattr

from fraudwatch.domain.codes import COUNTRIES, CURRENCY_DECIMALS
from fraudwatch.domain.limits import (
    AMOUNT_DECIMALS,
    AMOUNT_LIMIT,
    ATTRIBUTE_NAME_LENGTH,
    ATTRIBUTE_TEXT_LENGTH,
    ATTRIBUTES,
    CODE_LENGTH,
    EXPONENT_DIGITS,
    ID_LENGTH,
    TEXT_LENGTHS,
)
from fraudwatch.domain.message_schema import json_schema
from fraudwatch.domain.strict import (
    REASONS,
    free_text_fault,
    input_error,
    read_object,
    require_text,
    require_time,
    shown_name,
    text_fault,
)
from fraudwatch.errors import InputError

__all__ = [
    "REASONS",
    "Transaction",
    "amount_from_e4",
    "amount_to_e4",
    "content_equal",
    "decode",
    "encode",
    "exact_amount",
    "ip_fault",
    "json_schema",
]


_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_LENGTH)]
_Code = Annotated[str, msgspec.Meta(min_length=1, max_length=CODE_LENGTH)]
_AttributeName = Annotated[str, msgspec.Meta(min_length=1, max_length=ATTRIBUTE_NAME_LENGTH)]
_AttributeText = Annotated[str, msgspec.Meta(max_length=ATTRIBUTE_TEXT_LENGTH)]

# msgspec leaves the amount as it stands in JSON, since it would take more texts for a number than
# we do; `decode` puts the exact number in its place before anyone sees the transaction.
if TYPE_CHECKING:
    _Amount = Decimal
    _Attributes = dict[str, float | str]
else:
    _Amount = msgspec.Raw
    _Attributes = Annotated[
        dict[_AttributeName, float | _AttributeText | bool | None],
        msgspec.Meta(max_length=ATTRIBUTES),
    ]


class Transaction(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One payment event. Codes are validated; `event_time` is aware and in UTC.

    `amount` is exact, in units of `currency`, 0 or more, below 10**12, with at most four decimals.
    `attributes` are the institution's own: numbers and strings.
    """

    transaction_id: _Id
    account_id: _Id
    event_time: Annotated[datetime, msgspec.Meta(tz=True)]
    amount: _Amount
    currency: str
    merchant_id: _Id | None = None
    merchant_category: _Code | None = None
    channel: _Code | None = None
    country: str | None = None
    device_id: _Id | None = None
    ip: str | None = None
    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)] | None = None
    counterparty_id: _Id | None = None
    customer_id: _Id | None = None
    attributes: _Attributes = {}


_FIELDS = frozenset(Transaction.__struct_fields__)
_DECODER = msgspec.json.Decoder(Transaction)
_ENCODER = msgspec.json.Encoder(order="sorted", decimal_format="string")
_REWRITER = msgspec.json.Encoder(decimal_format="number")
_COMMON_AMOUNTS = tuple(  # by decimals of the currency
    re.compile('"?([0-9]{1,12}' + (f"\\.[0-9]{{{decimals}}}" if decimals else "") + ')"?', re.ASCII)
    for decimals in range(AMOUNT_DECIMALS + 1)
)
_AMOUNT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?([0-9]+))?", re.ASCII)
_EXACT = Context(prec=28)
_UNITS = tuple(Decimal(1).scaleb(-decimals) for decimals in range(AMOUNT_DECIMALS + 1))


def decode(
    value: bytes,
    *,
    now: datetime,
    max_bytes: int = 65_536,
    max_future_seconds: float = 300,
) -> Transaction:
    """The transaction in a message.

    Raises `InputError` with a reason of `REASONS` for every message that docs/messages.md does not
    allow, and nothing else. Fields that we do not know become attributes.
    """
    if len(value) > max_bytes:
        raise InputError("oversized", "", f"must have at most {max_bytes} bytes")
    transaction = _read_plain(value)
    if transaction is None:
        transaction = _read_carefully(value, max_bytes)
        _require_texts(transaction)
    elif not value.isascii() or 0x7F in value:
        _require_texts(transaction)

    decimals = CURRENCY_DECIMALS.get(transaction.currency)
    if decimals is None:
        raise InputError("unknown_currency", "currency", "must be an ISO 4217 code")
    country, ip = transaction.country, transaction.ip
    if country is not None and country not in COUNTRIES:
        raise InputError("unknown_country", "country", "must be an ISO 3166-1 alpha-2 code")
    if ip is not None and ip_fault(ip):
        raise InputError("bad_ip", "ip", "must be an IPv4 or IPv6 address")
    moment = require_time("event_time", transaction.event_time, now, max_future_seconds)
    if moment is not transaction.event_time:
        force_setattr(transaction, "event_time", moment)
    written = str(transaction.amount, "utf-8", "replace")  # type: ignore[call-overload]
    force_setattr(transaction, "amount", _amount(written, decimals))
    if transaction.attributes:
        force_setattr(transaction, "attributes", _plain_attributes(transaction.attributes))
    return transaction


def encode(transaction: Transaction) -> bytes:
    """Canonical JSON: sorted names, no nulls, exact amount as text, time in UTC with `Z`.

    `decode` gives the transaction back, and two transactions of the same content give the same
    bytes.
    """
    amount, moment = transaction.amount, transaction.event_time
    decimals = CURRENCY_DECIMALS[transaction.currency]
    if moment.tzinfo is not UTC or not amount.same_quantum(_UNITS[decimals]) or amount.is_signed():
        transaction = msgspec.structs.replace(
            transaction,
            amount=_canonical_amount(amount, decimals),
            event_time=moment.astimezone(UTC),
        )
    return _ENCODER.encode(transaction)


def content_equal(one: Transaction, other: Transaction) -> bool:
    """Whether two transactions say the same, however each was written."""
    return encode(one) == encode(other)


def exact_amount(text: str) -> Decimal:
    """The amount in `text`; `InputError` if it is no number or outside of what amounts may be."""
    found = _AMOUNT.fullmatch(text)
    if not found:
        raise InputError("not_a_number", "amount", "must be a decimal number")
    if len(found[1] or "") > EXPONENT_DIGITS:
        raise InputError("out_of_range", "amount", "has too large an exponent")
    amount = Decimal(text)
    if amount < 0 or amount >= AMOUNT_LIMIT:
        raise InputError("out_of_range", "amount", "must be 0 or more and below 10**12")
    if amount.quantize(_UNITS[AMOUNT_DECIMALS], context=_EXACT) != amount:
        raise InputError("too_precise", "amount", "must have at most four decimals")
    return amount


def amount_to_e4(amount: Decimal) -> int:
    """An exact amount as a whole number of ten-thousandths."""
    return int(amount.scaleb(AMOUNT_DECIMALS))


def amount_from_e4(amount_e4: int, currency: str) -> Decimal:
    """The amount, with the decimals of its currency (more only where it has more)."""
    amount = Decimal(amount_e4).scaleb(-AMOUNT_DECIMALS)
    return _canonical_amount(amount, CURRENCY_DECIMALS[currency])


def ip_fault(ip: str) -> str | None:
    """`bad_ip`, or None if `ip` is an IPv4 or IPv6 address."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        socket.inet_pton(family, ip)
    except (OSError, ValueError):
        return "bad_ip"
    return None


def _read_plain(value: bytes) -> Transaction | None:
    """The message, if it is one of the common kind: no escapes, no nulls, no unknown or repeated
    fields.

    msgspec takes the last of repeated fields and drops unknown ones. Both show in the number of
    quotation marks: it must be the same when what came out is written again.
    """
    if 0x5C in value:  # a backslash
        return None
    try:
        found = _DECODER.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the careful way finds out what is wrong
    return found if _REWRITER.encode(found).count(b'"') == value.count(b'"') else None


def _read_carefully(value: bytes, max_bytes: int) -> Transaction:
    """Any message: find what is wrong with it, or rewrite it as one of the common kind."""
    message = read_object(value, max_bytes)
    known = {name: item for name, item in message.items() if name in _FIELDS}
    own = known.get("attributes")
    if own is not None and not isinstance(own, dict):
        raise InputError("wrong_type", "attributes", "must be an object")
    attributes: dict[str, object] = dict(own or {})
    for name, item in message.items():
        if name not in _FIELDS:
            if name in attributes:
                raise InputError("duplicate_key", f"attributes.{shown_name(name)}")
            attributes[name] = item
    if len(attributes) > ATTRIBUTES:
        raise InputError("too_many", "attributes", f"must be at most {ATTRIBUTES}")
    for name, item in attributes.items():
        _require_attribute(name, item)
    for name, item in known.items():
        if isinstance(item, str) and free_text_fault(item, max_bytes):
            raise InputError("bad_text", name)
        if isinstance(item, dict | list) and name != "attributes":
            raise InputError("wrong_type", name)
    known.pop("attributes", None)
    if attributes:
        known["attributes"] = attributes
    if isinstance(known.get("amount"), Decimal):
        known["amount"] = str(known["amount"])
    try:
        return _DECODER.decode(_REWRITER.encode(known))
    except msgspec.ValidationError as error:
        raise input_error(error) from None


def _require_attribute(name: str, item: object) -> None:
    field = f"attributes.{shown_name(name)}"
    reason = text_fault(name, ATTRIBUTE_NAME_LENGTH)
    if reason:
        raise InputError(reason, "attributes.*", "names are 1 to 64 visible characters")
    if isinstance(item, dict | list):
        raise InputError("too_deep", field, "must be a number or a text")
    if isinstance(item, Decimal) and not math.isfinite(float(item)):
        raise InputError("out_of_range", field, "must fit a 64-bit float")
    if isinstance(item, str):
        reason = free_text_fault(item, ATTRIBUTE_TEXT_LENGTH)
        if reason:
            raise InputError(reason, field, f"must be up to {ATTRIBUTE_TEXT_LENGTH} characters")


def _require_texts(transaction: Transaction) -> None:
    for name, longest in TEXT_LENGTHS.items():
        text = getattr(transaction, name)
        if text:
            require_text(name, text, longest)
    for name, item in transaction.attributes.items():
        _require_attribute(name, item)


def _amount(raw: str, decimals: int) -> Decimal:
    """The amount as it stands in JSON, number or string, with the decimals of its currency."""
    common = _COMMON_AMOUNTS[decimals].fullmatch(raw)
    if common:
        return Decimal(common[1])
    if raw == "null":
        raise InputError("missing_field", "amount")
    if raw[0] not in '"-0123456789':
        raise InputError("wrong_type", "amount", "must be a number or a text")
    return _canonical_amount(exact_amount(raw.strip('"')), decimals)


def _canonical_amount(amount: Decimal, decimals: int) -> Decimal:
    """An exact amount with the decimals of its currency, more only where it has more."""
    for unit in _UNITS[decimals:]:
        canonical = abs(amount.quantize(unit, context=_EXACT))
        if canonical == amount:
            return canonical
    raise InputError("too_precise", "amount", "must have at most four decimals")


def _plain_attributes(attributes: dict[str, Any]) -> dict[str, float | str]:
    """Booleans as 0 and 1, nulls as absent."""
    for item in attributes.values():
        if item is None or type(item) is bool:
            break
    else:
        return attributes
    return {
        name: item if isinstance(item, str) else float(item)
        for name, item in attributes.items()
        if item is not None
    }
