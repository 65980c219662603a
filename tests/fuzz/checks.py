"""What must hold of every message, however hostile: it is a fact of ours or has a named fault."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from fraudwatch.casework.label_intake import decode_outside
from fraudwatch.casework.ledger import stored
from fraudwatch.domain.label import decode_label, encode_label
from fraudwatch.domain.strict import EARLIEST, REASONS
from fraudwatch.domain.transaction import Transaction, content_equal, decode, encode
from fraudwatch.errors import InputError
from tests.fuzz.generate import CANARY

FUTURE_SECONDS = 300
MAX_BYTES = 65_536


class Broken(AssertionError):
    """A promise did not hold. `value` is the message."""

    def __init__(self, what: str, value: bytes) -> None:
        super().__init__(f"{what}: {value[:2000]!r}")
        self.value = value


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a message became: the reason it was put aside for, empty if it was taken in."""

    reason: str


def check_transaction(value: bytes, now: datetime) -> Verdict:
    """Decode it and check what follows. Raises `Broken`; any other error is a fault as well."""
    try:
        transaction = decode(value, now=now, max_bytes=MAX_BYTES, max_future_seconds=FUTURE_SECONDS)
    except InputError as error:
        return _rejected(error, value)
    _check(transaction.event_time >= EARLIEST, "a time before 1990", value)
    ahead = (transaction.event_time - now).total_seconds()
    _check(ahead <= FUTURE_SECONDS, "a time too far ahead", value)
    _check(0 <= transaction.amount < 10**12, "an amount out of range", value)
    _check(transaction.amount.as_tuple().exponent >= -4, "too many decimals", value)  # type: ignore[operator]
    for text in _texts(transaction):
        _check("\x00" not in text, "a NUL that no database stores", value)
        text.encode()  # a half character cannot be encoded, nor stored
    again = encode(transaction)
    other = decode(again, now=now, max_bytes=len(again), max_future_seconds=FUTURE_SECONDS)
    _check(other == transaction, "its canonical form says something else", value)
    _check(encode(other) == again, "it has two canonical forms", value)
    _check(content_equal(transaction, stored(value)), "the ledger reads something else", value)
    return Verdict("")


def check_label(value: bytes, now: datetime) -> Verdict:
    """The same of a label."""
    try:
        label = decode_outside(value, now)
    except InputError as error:
        return _rejected(error, value)
    _check(decode_label(encode_label(label), now) == label, "its canonical form differs", value)
    _check("\x00" not in label.transaction_id, "a NUL that no database stores", value)
    label.transaction_id.encode()
    return Verdict("")


def _rejected(error: InputError, value: bytes) -> Verdict:
    _check(error.reason in REASONS, f"an unknown reason {error.reason}", value)
    told = f"{error.field} {error.detail} {error}"
    _check(CANARY not in told, f"a value in the reason: {told}", value)
    _check(len(told) < 500, "an endless reason", value)
    return Verdict(error.reason)


def _texts(transaction: Transaction) -> list[str]:
    values = list(msgspec.structs.asdict(transaction).values())
    texts = [value for value in values if isinstance(value, str)]
    for name, value in transaction.attributes.items():
        texts.append(name)
        if isinstance(value, str):
            texts.append(value)
    return texts


def _check(holds: bool, what: str, value: bytes) -> None:
    if not holds:
        raise Broken(what, value)
