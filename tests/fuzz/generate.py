"""Hostile messages, made from valid ones: from random bytes to almost right.

Every text that a message could carry about a person holds `CANARY`, so that a log line with any
part of a message can be told.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from streams.source import Message

CANARY = "pii"
PERSONAL = frozenset(
    {"transaction_id", "account_id", "merchant_id", "device_id", "counterparty_id", "customer_id"}
)
LARGE = 10 * 1024 * 1024

NUMBERS = (
    "0", "-0", "-0.0", "1", "-1", "0.1", "0.0001", "0.00001", "1e0", "1E+2", "1e-4", "1e-5",
    "999999999999", "999999999999.9999", "1000000000000", "1e11", "1e12", "123456789012.12345",
    "9007199254740993", "18446744073709551616", "1e308", "1.7976931348623157e308", "1e309",
    "4.9e-324", "1e-400", "1e999", "1e9999", "1e99999", "1e999999", "1e9999999", "1e-999999",
    "1e99999999999999999999", "0e999999", "0e-999999", "9" * 400, "0." + "0" * 400 + "1",
    "1" * 5000, "-1e309", "1." + "0" * 5000, "1e" + "0" * 300 + "1", "NaN", "Infinity", "nan",
    "-Infinity", "0x10", "01", "1.", ".5", "+1", "1_000", "1e", "--1", "1,5", "\u0661\u0662",
    "1 2", "90", "-90.0000001", "180",
)  # fmt: skip
TEXTS = (
    "", " ", "\x00", "a\x00b", "\n", "\t", "\\", '"', "\\N", "\\.", "\\x41", "\u00ad", "\u200b",
    "\u200d", "\u202e", "\u2028", "\u2029", "\u2066", "\ufeff", "\ufffe", "\uffff", "\ufffd",
    "e\u0301", "\u00e9", "\u212b", "\u00c5", "\ufb01", "\U0001f4a9", "\U0010ffff", "\U000e0001",
    "\U000e0041", "\u3164", "\u115f", "\u2800", "a" + "\u0300" * 60, "\u0130", "\u00df", "\u017f",
    "\u1e9e", "\ud7ff", "\ue000", "\u05d0\u0661", "%s%n", "'; DROP TABLE ledger; --", "${jndi:x}",
    "../../x", "<script>", "NULL", "null", "true", "NaN", "1e400", "x" * 128, "x" * 129, "x" * 1024,
    "x" * 1025, "x" * 65_000, "\U0001f4a9" * 128,
)  # fmt: skip
RAW_TEXTS = (  # as they stand in JSON: escapes, halves, what is no JSON
    r'"\u0000"', r'"\ud800"', r'"\udc00"', r'"\ud83d\ude00"', r'"\ude00\ud83d"', r'"\ud83d"',
    r'"\u202e"', r'"\uD800\u0041"', r'"\x41"', r'"\u12"', r'"\/"', '"\x01"', '"\x7f"', '"\x85"',
    '"unended', "'single'", '"\\', '"\\"',
)  # fmt: skip
TIMES = (
    "1990-01-01T00:00:00Z", "1989-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59",
    "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-02-29T00:00:00Z", "2024-02-29T00:00:00Z",
    "2026-04-11T00:05:00Z", "2026-04-11T00:05:01Z", "2026-03-02T24:00:00Z", "2026-03-02T12:00:60Z",
    "2026-03-02T12:00:00", "2026-03-02", "2026-03-02 12:00:00Z", "2026-03-02t12:00:00z",
    "2026-03-02T12:00:00.123456789Z", "2026-03-02T12:00:00+14:00", "2026-03-02T12:00:00+25:00",
    "2026-03-02T12:00:00+00:60", "2026-03-02T12:00:00-00:00", "1772452800", "now", "",
)  # fmt: skip
SCALARS = ("null", "true", "false", "[]", "{}", '[""]', '{"a":1}', "[[[[1]]]]", "1", '"x"')
NAMES = (
    "id", "amount", "Amount", "account_id ", "", "\x00", "__proto__", "attributes", "\u202e",
    "x" * 64, "x" * 65, "attributes.score", "\ud7ff", "a.b.c", "$", "ACCOUNT_ID",
)  # fmt: skip
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7", "utf-8-sig")

Pairs = list[tuple[str, str]]
"""Names and values of an object, each as it stands in JSON."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One message and the way it was made."""

    kind: str
    message: Message


class Generator:
    """Endless hostile messages out of valid ones. The same seed gives the same messages."""

    def __init__(
        self, valid: Sequence[Message], seed: int, *, times: Sequence[str] = (), large: int = 40_000
    ) -> None:
        """`times` are added to the event times tried; one in `large` messages has 10 MB."""
        self._random = random.Random(seed)
        self._times = (*TIMES, *times)
        self._large = large
        self._bases: list[Pairs] = []
        for message in valid:
            fields = json.loads(message.value)
            self._bases.append([(json.dumps(n), self._marked(n, v)) for n, v in fields.items()])
        self._sent: list[Message] = []
        self._count = 0
        self._ways: list[tuple[str, int, Callable[[], bytes]]] = [
            ("valid", 20, self._valid),
            ("field", 28, self._field),
            ("two fields", 6, self._fields),
            ("bytes changed", 14, self._changed),
            ("shape", 10, self._shape),
            ("random bytes", 4, self._random_bytes),
            ("nested", 3, self._nested),
            ("encoding", 2, self._encoded),
            ("attributes", 6, self._attributes),
            ("time", 5, self._at_any_time),
        ]

    def __iter__(self) -> Iterator[Hostile]:
        ways, weights = self._ways, [weight for _, weight, _ in self._ways]
        rng = self._random
        while True:
            self._count += 1
            dice = rng.random()
            if dice < 1 / self._large:
                yield Hostile("10 MB", Message(self._key(), self._huge()))
            elif dice < 0.05 and self._sent:
                yield Hostile("again", rng.choice(self._sent))
            elif dice < 0.06:
                yield Hostile("empty", Message(self._key(), b""))
            else:
                name, _, way = rng.choices(ways, weights)[0]
                message = Message(self._key(), way())
                if len(self._sent) < 5000 or rng.random() < 0.1:
                    self._keep(message)
                yield Hostile(name, message)

    def _keep(self, message: Message) -> None:
        if len(self._sent) < 5000:
            self._sent.append(message)
        else:
            self._sent[self._random.randrange(5000)] = message

    def _marked(self, name: str, value: object) -> str:
        """The value as JSON, with the canary where it tells of somebody."""
        if name in PERSONAL:
            return json.dumps(f"{CANARY}-{value}")
        if name == "attributes" and isinstance(value, dict):
            marked = {n: f"{CANARY}-{v}" if isinstance(v, str) else v for n, v in value.items()}
            return json.dumps(marked)
        return json.dumps(value)

    def _pairs(self) -> Pairs:
        """A valid message of its own."""
        pairs = list(self._random.choice(self._bases))
        pairs[self._at(pairs, '"transaction_id"')] = (
            '"transaction_id"',
            f'"{CANARY}-t{self._count}"',
        )
        return pairs

    @staticmethod
    def _at(pairs: Pairs, name: str) -> int:
        return next(i for i, pair in enumerate(pairs) if pair[0] == name)

    def _valid(self) -> bytes:
        return written(self._pairs())

    def _field(self) -> bytes:
        return written(self._with_hostile_field(self._pairs()))

    def _at_any_time(self) -> bytes:
        pairs = self._pairs()
        for at, (name, _) in enumerate(pairs):
            if name in ('"event_time"', '"known_at"'):
                pairs[at] = (name, json.dumps(self._time()))
        return written(pairs)

    def _fields(self) -> bytes:
        return written(self._with_hostile_field(self._with_hostile_field(self._pairs())))

    def _with_hostile_field(self, pairs: Pairs) -> Pairs:
        at = self._random.randrange(len(pairs))
        pairs[at] = (pairs[at][0], self._token())
        return pairs

    def _token(self) -> str:
        """Any value, as it might stand in JSON."""
        rng = self._random
        dice = rng.random()
        if dice < 0.3:
            number = rng.choice(NUMBERS)
            return number if rng.random() < 0.7 else f'"{number}"'
        if dice < 0.55:
            text = rng.choice(TEXTS)
            return json.dumps(CANARY + text, ensure_ascii=rng.random() < 0.5)
        if dice < 0.65:
            return rng.choice(RAW_TEXTS)
        if dice < 0.8:
            return json.dumps(self._time())
        if dice < 0.9:
            return rng.choice(SCALARS)
        size = rng.choice((1, 3, 20, 140))
        return json.dumps(
            "".join(chr(rng.randrange(0xD800)) for _ in range(size)), ensure_ascii=False
        )

    def _time(self) -> str:
        """One at a limit, or any of forty years: each may need a part of the ledger of its own."""
        rng = self._random
        if rng.random() < 0.6:
            return rng.choice(self._times)
        day = date(1988, 1, 1) + timedelta(days=rng.randrange(40 * 365))
        return f"{day}T{rng.randrange(24):02}:{rng.randrange(60):02}:00Z"

    def _changed(self) -> bytes:
        """A valid message with some bytes changed, lost, doubled or put in."""
        rng = self._random
        value = bytearray(self._valid())
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            at = rng.randrange(len(value) + 1)
            match rng.randrange(5):
                case 0:
                    value[at : at + 1] = bytes([rng.randrange(256)])
                case 1:
                    del value[at : at + rng.choice((1, 2, 30))]
                case 2:
                    value[at:at] = value[at : at + rng.choice((1, 10, 200))]
                case 3:
                    value[at:at] = rng.choice((b"{", b"}", b"[", b'"', b",", b":", b"\\", b"\xff"))
                case _:
                    del value[at:]
            if not value:
                break
        return bytes(value)

    def _shape(self) -> bytes:
        """Fields lost, doubled, renamed, unknown; or no object at all."""
        rng = self._random
        pairs = self._pairs()
        at = rng.randrange(len(pairs))
        match rng.randrange(6):
            case 0:
                del pairs[at]
            case 1:
                pairs.insert(rng.randrange(len(pairs) + 1), (pairs[at][0], self._token()))
            case 2:
                name = json.dumps(rng.choice(NAMES), ensure_ascii=rng.random() < 0.5)
                pairs[at] = (name, pairs[at][1])
            case 3:
                for _ in range(rng.choice((1, 3, 63, 64, 65, 200))):
                    pairs.append(
                        (json.dumps(f"{CANARY}{rng.randrange(100, 10**6)}"), self._token())
                    )
            case 4:
                # the same name, once written with an escape
                name = pairs[at][0]
                pairs.append((f'"\\u{ord(name[1]):04x}{name[2:]}', pairs[at][1]))
            case _:
                whole = written(pairs).decode()
                others = ("[]", "null", "1", '""', "true", whole[1:], whole[:-1], f"[{whole}]")
                more = (f"{whole}{whole}", f" {whole}\n", f"{whole},")
                return rng.choice((*others, *more)).encode()
        return written(pairs)

    def _random_bytes(self) -> bytes:
        return self._random.randbytes(self._random.choice((1, 2, 8, 100, 1000)))

    def _nested(self) -> bytes:
        rng = self._random
        depth = rng.choice((2, 10, 500, 990, 1100, 5000, 30_000))
        opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")))
        deep = opening * depth + "1" + (closing * depth if rng.random() < 0.7 else "")
        if rng.random() < 0.5:
            return deep.encode()
        pairs = self._pairs()
        pairs.append((rng.choice(('"attributes"', '"x"', '"amount"')), deep))
        return written(pairs)

    def _encoded(self) -> bytes:
        text = self._valid().decode()
        return text.encode(self._random.choice(ENCODINGS), "replace")

    def _attributes(self) -> bytes:
        rng = self._random
        pairs = [pair for pair in self._pairs() if pair[0] != '"attributes"']
        inner: Pairs = [
            (json.dumps(rng.choice((*NAMES, f"n{i}", f"{CANARY}{i + 100}"))), self._token())
            for i in range(rng.choice((0, 1, 2, 5, 64, 65)))
        ]
        pairs.append(('"attributes"', written(inner).decode("utf-8", "surrogatepass")))
        return written(pairs)

    def _huge(self) -> bytes:
        """Valid but for its size: the text, the number or the blank space in it."""
        pairs = self._pairs()
        at = self._random.randrange(len(pairs))
        filler = self._random.choice(
            ('"' + CANARY + "x" * LARGE + '"', "1" * LARGE, " " * LARGE + "1")
        )
        pairs[at] = (pairs[at][0], filler)
        return written(pairs)

    def _key(self) -> bytes | None:
        """Mostly some account's, not this message's: a producer may do so."""
        rng = self._random
        dice = rng.random()
        if dice < 0.05:
            return None
        if dice < 0.1:
            return rng.randbytes(rng.choice((0, 1, 16, 2000)))
        return f"{CANARY}-acc-{rng.randrange(1000)}".encode()


def written(pairs: Pairs) -> bytes:
    """The object in JSON. Halves of characters are written as they are: no UTF-8."""
    text = "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"
    return text.encode("utf-8", "surrogatepass")
