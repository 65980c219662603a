"""Reading JSON from strangers: exactly, within limits, and without repeating what it says.

An `InputError` made here names a reason, a field and a rule. It never holds a value of the
message, and the name of an unknown field only where it looks like a name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec

from fraudwatch.domain.limits import EXPONENT_DIGITS
from fraudwatch.errors import InputError

REASON_MEANINGS = {
    "oversized": "The message is larger than FRAUDWATCH_MAX_MESSAGE_BYTES.",
    "not_utf8": "The bytes are not UTF-8.",
    "not_json": "The text is not one JSON value (NaN and Infinity are not JSON).",
    "not_an_object": "The JSON value is not an object.",
    "too_deep": "Objects or arrays are nested where only numbers and strings may stand.",
    "duplicate_key": "A field is given twice, so it is unclear which one counts.",
    "too_many": "There are more than 64 attributes.",
    "missing_field": "A required field is absent or null.",
    "wrong_type": "A field has another JSON type than its own.",
    "bad_length": "A text is empty or too long.",
    "bad_text": "A text holds control characters, invisible marks or half characters.",
    "not_a_number": "An amount is not a decimal number.",
    "out_of_range": "A number is outside of its limits.",
    "too_precise": "An amount has more than four decimals.",
    "unknown_currency": "The currency is not an ISO 4217 code in use.",
    "unknown_country": "The country is not an ISO 3166-1 alpha-2 code.",
    "bad_ip": "The address is neither IPv4 nor IPv6.",
    "bad_time": "A time is not RFC 3339 with an offset.",
    "absurd_time": "A time lies before 1990.",
    "future_time": "A time lies further ahead than FRAUDWATCH_MAX_FUTURE_SECONDS.",
    "unknown_source": "The source of a label is not one that we know.",
    "damaged": "The carrier could not read the record.",
    "duplicate": "The same transaction came before, with the same content.",
    "conflict": "A transaction with this id came before, with other content.",
    "closed_day": "The day of the event has gone into the archive of the ledger.",
}
REASONS: tuple[str, ...] = tuple(REASON_MEANINGS)

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)

# Control characters, and marks that are not seen but change what is seen (direction marks, joiners,
# line separators): in an id they make two accounts look like one. Half characters (surrogates)
# cannot be stored. Everything here is also unprintable for `str.isprintable`.
UNSEEN = (
    "\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u200b-\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ufffe\\uffff"
)
_UNSEEN = re.compile(f"[{UNSEEN}\\ud800-\\udfff]")
_UNSTORABLE = re.compile("[\\x00\\ud800-\\udfff]")
# No name of a field has three digits in a row; numbers of accounts, cards and telephones do.
_NAME = re.compile(r"(?!.*[0-9]{3})[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_MESSAGE_PATH = re.compile(r" - at `\$\.?([A-Za-z_.]*)")
_MISSING = re.compile(r"missing required field `(\w+)`")

JsonScalar = str | Decimal | bool | None


def text_fault(text: str, longest: int) -> str | None:
    """The reason why `text` is no id or code: `bad_length`, `bad_text`, or None if it is one."""
    if not 0 < len(text) <= longest:
        return "bad_length"
    if not text.isprintable() and _UNSEEN.search(text):
        return "bad_text"
    return None


def free_text_fault(text: str, longest: int) -> str | None:
    """Like `text_fault` for texts that are only kept: may be empty and hold line breaks."""
    if len(text) > longest:
        return "bad_length"
    if not text.isprintable() and _UNSTORABLE.search(text):
        return "bad_text"
    return None


def require_text(name: str, text: str, longest: int) -> None:
    """Raise `InputError` unless `text` is 1 to `longest` visible characters."""
    reason = text_fault(text, longest)
    if reason:
        raise InputError(reason, name, f"must be 1 to {longest} visible characters")


def require_time(name: str, moment: datetime, now: datetime, max_future_seconds: float) -> datetime:
    """`moment` in UTC; `InputError` if before 1990 or more than `max_future_seconds` after now."""
    if moment < EARLIEST:
        raise InputError("absurd_time", name, "must not be before 1990")
    if moment > now and moment - now > timedelta(seconds=max_future_seconds):
        raise InputError("future_time", name, f"must be at most {max_future_seconds:g} s ahead")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def shown_name(name: str) -> str:
    """A field name for an error: itself if it looks like a name, `*` if it might be data."""
    return name if _NAME.fullmatch(name) else "*"


def read_object(value: bytes, max_bytes: int) -> dict[str, object]:
    """The JSON object in `value`, numbers as exact `Decimal`.

    Raises `InputError` for anything that is not one object without repeated names.
    """
    if len(value) > max_bytes:
        raise InputError("oversized", "", f"must have at most {max_bytes} bytes")
    try:
        parsed = json.loads(
            value.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError:
        raise InputError("not_utf8") from None
    except RecursionError:
        raise InputError("too_deep") from None
    except json.JSONDecodeError:
        raise InputError("not_json") from None
    if not isinstance(parsed, dict):
        raise InputError("not_an_object")
    return parsed


def _without_duplicates(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for name, item in pairs:
        if name in result:
            raise InputError("duplicate_key", shown_name(name))
        result[name] = item
    return result


def _number(text: str) -> Decimal:
    exponent = text.lower().partition("e")[2].lstrip("+-")
    if len(exponent) > EXPONENT_DIGITS:
        raise InputError("out_of_range", "", "a number has too large an exponent")
    return Decimal(text)


def _no_constant(_: str) -> object:
    raise InputError("not_json", "", "NaN and Infinity are not JSON")


def input_error(error: msgspec.ValidationError) -> InputError:
    """What msgspec found, as reason and path; its own words could quote the message."""
    message = str(error)
    missing = _MISSING.search(message)
    if missing:
        return InputError("missing_field", missing[1])
    path = _MESSAGE_PATH.search(message)
    field = path[1] if path else ""
    if "got `null`" in message:
        return InputError("missing_field", field)
    if "of length" in message:
        return InputError("bad_length", field)
    if "RFC3339" in message or "timezone" in message:
        return InputError("bad_time", field, "must be RFC 3339 with an offset")
    if "out of range" in message or "<=" in message or ">=" in message:
        return InputError("out_of_range", field)
    return InputError("wrong_type", field)
