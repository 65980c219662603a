"""The published JSON Schema and `decode` agree on what a message is."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import jsonschema_rs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fraudwatch.domain.transaction import Transaction, decode, json_schema
from fraudwatch.errors import InputError

FAR_AHEAD = datetime(9999, 12, 31, tzinfo=UTC)
VALIDATOR = jsonschema_rs.Draft202012Validator(json_schema(), validate_formats=True)
GOOD: dict[str, object] = {
    "transaction_id": "t-1",
    "account_id": "a-1",
    "event_time": "2025-06-01T12:00:00Z",
    "amount": "57.16",
    "currency": "EUR",
}


def decodes(message: dict[str, object]) -> bool:
    try:
        decode(json.dumps(message).encode(), now=FAR_AHEAD)
    except InputError:
        return False
    return True


def test_the_schema_is_itself_valid() -> None:
    jsonschema_rs.meta.validate(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_the_schema_names_every_field_of_a_transaction() -> None:
    properties = json_schema()["properties"]
    assert isinstance(properties, dict)
    assert set(properties) == set(Transaction.__struct_fields__)


AGREED: dict[str, list[object]] = {
    "transaction_id": ["t", "é", "", "x" * 128, "x" * 129, "a\nb", "a\u202eb", 5, None, True],
    "account_id": ["a", "", None, [], {}],
    "event_time": [
        "2025-06-01T12:00:00+02:00",
        "2025-06-01T12:00:00.123456789Z",
        "2025-06-01T12:00:00",
        "2025-02-30T12:00:00Z",
        "2025-06-01T12:00:60Z",
        "1989-12-31T23:59:59Z",
        "soon",
        5,
        None,
    ],
    "amount": [
        *(0, 1, 57.16, 0.3, 1.1, 0.0001, 999999999999, 123456.7891, 10**12, -1, -0.01),
        *("0", "57.16", "0.0001", "0.00001", "1000000000000", "-1", "NaN", "", " 1", True, None),
    ],
    "currency": ["EUR", "JPY", "eur", "XXX", "", 5, None],
    "merchant_category": ["5411", "grocery_pos", "x" * 65, "", None, 5411],
    "country": ["DE", "XK", "de", "UK", "", None, 5],
    "ip": ["192.0.2.1", "2001:db8::1", "192.0.2.256", "nowhere", "", None, 5],
    "latitude": [0, 90, -90, 90.5, "1", True, None],
    "longitude": [180, -180, 180.5, None],
    "attributes": [
        *({}, {"a": 1, "b": "x", "c": True, "d": None}, None, [], 5, "x"),
        *({"a": []}, {"a": {}}, {"": 1}, {"n" * 64: 1}, {"n" * 65: 1}, {"a": "x" * 1025}),
        {"a": "\0"},
        {str(n): n for n in range(64)},
        {str(n): n for n in range(65)},
    ],
    "own": [1, 1.5, "x", True, None, [], {}, "x" * 1024, "x" * 1025],
}
CASES = [(field, item) for field, items in AGREED.items() for item in items]


@pytest.mark.parametrize(("field", "item"), CASES)
def test_schema_and_decode_agree_on_chosen_values(field: str, item: object) -> None:
    message = GOOD | {field: item}
    assert VALIDATOR.is_valid(message) == decodes(message)


@pytest.mark.parametrize("field", sorted(GOOD))
def test_schema_and_decode_require_the_same_fields(field: str) -> None:
    message = {name: item for name, item in GOOD.items() if name != field}
    assert not VALIDATOR.is_valid(message)
    assert not decodes(message)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.decimals(-1, 10**13, places=5).map(str)
    | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
    | st.dictionaries(texts, st.integers() | texts, max_size=2)
)
chosen = st.sampled_from(CASES)


@settings(max_examples=400)
@given(
    changes=st.dictionaries(st.sampled_from([*AGREED, "own name"]), anything, max_size=3),
    more=st.lists(chosen, max_size=3).map(dict),
)
def test_what_the_schema_accepts_decodes(
    changes: dict[str, object], more: dict[str, object]
) -> None:
    message = GOOD | more | changes
    # What the schema cannot say: decimals of numbers, and attributes and unknown fields together.
    if isinstance(message["amount"], float):
        message["amount"] = round(message["amount"], 4)
    own = message.get("attributes")
    assume(not isinstance(own, dict) or len(own) < 60)
    if VALIDATOR.is_valid(message):
        assert decodes(message)
