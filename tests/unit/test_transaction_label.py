"""Late truth comes in as strictly as transactions do."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.domain.label import PRECEDENCE, Label, LabelSource, decode_label, encode_label
from fraudwatch.domain.transaction import REASONS
from fraudwatch.errors import InputError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD: dict[str, object] = {
    "transaction_id": "t-1",
    "fraud": True,
    "source": "chargeback",
    "known_at": "2025-06-08T12:00:00+02:00",
}


def test_a_label_arrives_in_utc_with_the_precedence_of_its_source() -> None:
    label = decode_label(json.dumps(GOOD | {"more": {"is": "ignored"}}).encode(), now=NOW)
    assert label == Label(
        "t-1", True, LabelSource.CHARGEBACK, datetime(2025, 6, 8, 10, tzinfo=UTC), 30
    )
    assert label.known_at.tzinfo is UTC


@pytest.mark.parametrize("source", list(LabelSource))
def test_a_label_survives_its_message(source: LabelSource) -> None:
    label = Label("t-1", False, source, datetime(2025, 6, 8, tzinfo=UTC), PRECEDENCE[source])
    assert decode_label(encode_label(label), now=NOW) == label


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"transaction_id": None}, "missing_field", "transaction_id"),
        ({"transaction_id": ""}, "bad_length", "transaction_id"),
        ({"transaction_id": "a\0"}, "bad_text", "transaction_id"),
        ({"transaction_id": "\ud800"}, "bad_text", "transaction_id"),
        ({"transaction_id": 7}, "wrong_type", "transaction_id"),
        ({"fraud": 1}, "wrong_type", "fraud"),
        ({"fraud": "true"}, "wrong_type", "fraud"),
        ({"source": "rumour"}, "unknown_source", "source"),
        ({"known_at": "2025-06-08"}, "bad_time", "known_at"),
        ({"known_at": "2027-01-01T00:00:00Z"}, "future_time", "known_at"),
        ({"known_at": "1970-01-01T00:00:00Z"}, "absurd_time", "known_at"),
    ],
)
def test_faults_are_named_with_reason_and_field(
    changes: dict[str, object], reason: str, field: str
) -> None:
    with pytest.raises(InputError) as caught:
        decode_label(json.dumps(GOOD | changes).encode(), now=NOW)
    assert (caught.value.reason, caught.value.field) == (reason, field)


@pytest.mark.parametrize("field", sorted(GOOD))
def test_every_field_is_required_and_given_once(field: str) -> None:
    message = {name: item for name, item in GOOD.items() if name != field}
    with pytest.raises(InputError, match="missing_field"):
        decode_label(json.dumps(message).encode(), now=NOW)
    twice = f'{{"{field}":{json.dumps(GOOD[field])},'.encode() + json.dumps(GOOD).encode()[1:]
    with pytest.raises(InputError, match="duplicate_key"):
        decode_label(twice, now=NOW)


@given(
    value=st.binary(max_size=100)
    | st.dictionaries(
        st.sampled_from(sorted(GOOD)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just({}),
    ).map(lambda fields: json.dumps(GOOD | fields).encode())
)
def test_any_bytes_become_a_label_or_an_input_error(value: bytes) -> None:
    try:
        label = decode_label(value, now=NOW)
    except InputError as error:
        assert error.reason in REASONS  # noqa: PT017
        return
    assert decode_label(encode_label(label), now=NOW) == label
