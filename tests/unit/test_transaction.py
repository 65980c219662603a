"""A message is a transaction or an `InputError`, and the error never repeats the message."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraudwatch.domain.codes import COUNTRIES, CURRENCY_DECIMALS
from fraudwatch.domain.transaction import (
    REASONS,
    Transaction,
    amount_from_e4,
    amount_to_e4,
    content_equal,
    decode,
    encode,
)
from fraudwatch.errors import InputError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD: dict[str, object] = {
    "transaction_id": "t-1",
    "account_id": "a-1",
    "event_time": "2025-06-01T12:00:00Z",
    "amount": "57.16",
    "currency": "EUR",
}


def message(**changes: object) -> bytes:
    """The good message with some fields changed (`...` leaves a field out)."""
    fields = {name: item for name, item in (GOOD | changes).items() if item is not ...}
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")


def with_raw(field: str, raw: str) -> bytes:
    """The good message with `field` set to a piece of JSON as it stands."""
    return message(**{field: "RAW"}).replace(b'"RAW"', raw.encode())


def refused(value: bytes) -> tuple[str, str]:
    """Reason and field of the refusal."""
    with pytest.raises(InputError) as caught:
        decode(value, now=NOW)
    assert caught.value.reason in REASONS
    return caught.value.reason, caught.value.field


def test_every_field_arrives() -> None:
    transaction = decode(
        message(
            merchant_id="m-1",
            merchant_category="5411",
            channel="pos",
            country="DE",
            device_id="d-1",
            ip="192.0.2.7",
            latitude=52.5,
            longitude=-13,
            counterparty_id="p-1",
            customer_id="c-1",
            attributes={"score": 1.5, "kind": "x"},
        ),
        now=NOW,
    )
    assert transaction == Transaction(
        transaction_id="t-1",
        account_id="a-1",
        event_time=datetime(2025, 6, 1, 12, tzinfo=UTC),
        amount=Decimal("57.16"),
        currency="EUR",
        merchant_id="m-1",
        merchant_category="5411",
        channel="pos",
        country="DE",
        device_id="d-1",
        ip="192.0.2.7",
        latitude=52.5,
        longitude=-13.0,
        counterparty_id="p-1",
        customer_id="c-1",
        attributes={"score": 1.5, "kind": "x"},
    )


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("57.16", "57.16"),
        ('"57.16"', "57.16"),
        ("57.1", "57.10"),
        ("57", "57.00"),
        ('"57.1600"', "57.16"),
        ("57.1612", "57.1612"),
        ("5.716e1", "57.16"),
        ("0", "0.00"),
        ("-0.0", "0.00"),
        ("0e999999", "0.00"),
        ("0.3", "0.30"),
        ("999999999999.9999", "999999999999.9999"),
        ('"0057.16"', "57.16"),
    ],
)
def test_amounts_are_exact_and_get_the_decimals_of_their_currency(
    written: str, amount: str
) -> None:
    decoded = decode(with_raw("amount", written), now=NOW).amount
    assert str(decoded) == amount


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("-0.01", "out_of_range"),
        ("1000000000000", "out_of_range"),
        ("1e999999", "out_of_range"),
        ("1e9999999999999999999", "out_of_range"),
        ("9" * 5000, "out_of_range"),
        ("0.00001", "too_precise"),
        ("1e-999999", "too_precise"),
        ("0." + "0" * 5000 + "1", "too_precise"),
        ('"NaN"', "not_a_number"),
        ('"Infinity"', "not_a_number"),
        ('"1_000"', "not_a_number"),
        ('" 5 "', "not_a_number"),
        ('"٣"', "not_a_number"),
        ('""', "not_a_number"),
        ('"1,50"', "not_a_number"),
        ("NaN", "not_json"),
        ("Infinity", "not_json"),
        ("true", "wrong_type"),
        ("[1]", "wrong_type"),
        ('{"a":1}', "wrong_type"),
        ("null", "missing_field"),
    ],
)
def test_what_is_no_amount_is_refused(written: str, reason: str) -> None:
    assert refused(with_raw("amount", written))[0] == reason


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2025-06-01T12:00:00+02:00", datetime(2025, 6, 1, 10, tzinfo=UTC)),
        ("2025-06-01T12:00:00.123456Z", datetime(2025, 6, 1, 12, 0, 0, 123456, UTC)),
        ("2025-06-01T12:00:00.5-00:30", datetime(2025, 6, 1, 12, 30, 0, 500000, UTC)),
        ("1990-01-01T00:00:00Z", datetime(1990, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:05:00Z", datetime(2026, 1, 1, 0, 5, tzinfo=UTC)),
    ],
)
def test_times_are_brought_to_utc(written: str, moment: datetime) -> None:
    decoded = decode(message(event_time=written), now=NOW).event_time
    assert decoded == moment
    assert decoded.tzinfo is UTC


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("2025-06-01T12:00:00", "bad_time"),
        ("2025-06-01", "bad_time"),
        ("2025-02-30T12:00:00Z", "bad_time"),
        ("2025-06-01T24:00:00Z", "bad_time"),
        ("2025-06-01T12:00:60Z", "bad_time"),
        ("yesterday", "bad_time"),
        ("", "bad_time"),
        ("1989-12-31T23:59:59Z", "absurd_time"),
        ("0001-01-01T00:00:00+23:59", "absurd_time"),
        ("9999-12-31T23:59:59-23:59", "future_time"),
        ("2026-01-01T00:05:01Z", "future_time"),
        (1748779200, "wrong_type"),
        (None, "missing_field"),
    ],
)
def test_what_is_no_sensible_time_is_refused(written: object, reason: str) -> None:
    assert refused(message(event_time=written)) == (reason, "event_time")


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"transaction_id": ...}, "missing_field", "transaction_id"),
        ({"account_id": None}, "missing_field", "account_id"),
        ({"amount": ...}, "missing_field", "amount"),
        ({"account_id": 7}, "wrong_type", "account_id"),
        ({"account_id": ["x"]}, "wrong_type", "account_id"),
        ({"account_id": ""}, "bad_length", "account_id"),
        ({"account_id": "x" * 129}, "bad_length", "account_id"),
        ({"account_id": "a\x00b"}, "bad_text", "account_id"),
        ({"account_id": "a\x7fb"}, "bad_text", "account_id"),
        ({"account_id": "a\nb"}, "bad_text", "account_id"),
        ({"account_id": "a\u202eb"}, "bad_text", "account_id"),
        ({"account_id": "a\u0085b"}, "bad_text", "account_id"),
        ({"channel": "x" * 65}, "bad_length", "channel"),
        ({"currency": "EUX"}, "unknown_currency", "currency"),
        ({"currency": "eur"}, "unknown_currency", "currency"),
        ({"currency": "XAU"}, "unknown_currency", "currency"),
        ({"currency": "\u0000"}, "bad_text", "currency"),
        ({"country": "DEU"}, "unknown_country", "country"),
        ({"country": ""}, "unknown_country", "country"),
        ({"country": "UK"}, "unknown_country", "country"),
        ({"ip": "300.1.1.1"}, "bad_ip", "ip"),
        ({"ip": ""}, "bad_ip", "ip"),
        ({"ip": "fe80::1%eth0"}, "bad_ip", "ip"),
        ({"latitude": 90.01}, "out_of_range", "latitude"),
        ({"longitude": -181}, "out_of_range", "longitude"),
        ({"latitude": "52"}, "wrong_type", "latitude"),
        ({"latitude": True}, "wrong_type", "latitude"),
        ({"attributes": [1]}, "wrong_type", "attributes"),
        ({"attributes": {"a": {"b": 1}}}, "too_deep", "attributes.a"),
        ({"attributes": {"a": [1]}}, "too_deep", "attributes.a"),
        ({"attributes": {"a": 10**400}}, "out_of_range", "attributes.a"),
        ({"attributes": {"a": "x" * 1025}}, "bad_length", "attributes.a"),
        ({"attributes": {"a": "x\x00"}}, "bad_text", "attributes.a"),
        ({"attributes": {"": 1}}, "bad_length", "attributes.*"),
        ({"attributes": {"n" * 65: 1}}, "bad_length", "attributes.*"),
        ({"attributes": {"\x01": 1}}, "bad_text", "attributes.*"),
        ({"attributes": {str(n): n for n in range(65)}}, "too_many", "attributes"),
        ({"own": {"b": 1}}, "too_deep", "attributes.own"),
        ({"own": 1, "attributes": {"own": 2}}, "duplicate_key", "attributes.own"),
    ],
)
def test_faults_are_named_with_reason_and_field(
    changes: dict[str, object], reason: str, field: str
) -> None:
    assert refused(message(**changes)) == (reason, field)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"nonsense", "not_json"),
        (message() + b" {}", "not_json"),
        (message()[:-1] + b",}", "not_json"),
        (b"\xef\xbb\xbf" + message(), "not_json"),
        (message().replace(b"a-1", b"a\n1"), "not_json"),
        (message().replace(b"a-1", b"a\xff1"), "not_utf8"),
        (message().replace(b"57.16", b"57\xff16"), "not_a_number"),
        (message(account_id="a\ud8001"), "not_utf8"),
        (message().replace(b"a-1", b"a\\ud8001"), "bad_text"),
        (with_raw("account_id", r'{"\ud800":1}'), "wrong_type"),
        (with_raw("amount", r'{"\ud800":1}'), "wrong_type"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b"[" * 60_000, "too_deep"),
        (message()[:-1] + b',"own":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "too_deep"),
        (message(attributes={"a": "x" * 70_000}), "oversized"),
    ],
)
def test_what_is_not_one_json_object_is_refused(value: bytes, reason: str) -> None:
    assert refused(value)[0] == reason


@pytest.mark.parametrize(
    "value",
    [
        b'{"amount":1,' + message()[1:],
        b'{"amount":"1",' + message(amount=57.16)[1:],
        b'{"account_id":"a-1",' + message()[1:],
        b'{"latitude":1,"latitude":2,' + message()[1:],
        b'{"latitude":1,"latitude":2,' + message(amount=57.16)[1:],
        b'{"latitude":1,"latitude":2,"longitude" :1,' + message()[1:],
        b'{"latitude":null,"latitude":null,' + message()[1:],
        b'{"attributes":{"a":1,"a":2},' + message()[1:],
        b'{"attributes":{"a":null,"a":null},' + message()[1:],
        b'{"attributes":{},"attributes":{},' + message()[1:],
        b'{"own":1,"own":1,' + message()[1:],
        b'{"own":1,"o\\u0077n":1,' + message()[1:],
        b'{"account\\u005fid":"a-1",' + message()[1:],
    ],
)
def test_a_repeated_name_is_never_overlooked(value: bytes) -> None:
    assert refused(value)[0] == "duplicate_key"


def test_unknown_fields_become_attributes_and_null_is_absent() -> None:
    decoded = decode(
        message(own=5, flag=True, word="w\n", nothing=None, merchant_id=None, attributes={"a": 1}),
        now=NOW,
    )
    assert decoded.attributes == {"a": 1.0, "own": 5.0, "flag": 1.0, "word": "w\n"}
    assert decoded.merchant_id is None
    assert decode(message(attributes={"yes": True, "no": False, "none": None}), now=NOW) == decode(
        message(attributes={"yes": 1, "no": 0}), now=NOW
    )
    assert decode(message(attributes=None), now=NOW).attributes == {}


def test_an_unknown_name_that_might_be_data_is_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        decode(message(**{"4111 1111": [1]}), now=NOW)
    assert "4111" not in str(caught.value)


def test_letters_of_all_languages_may_stand_in_ids() -> None:
    assert decode(message(account_id="Größe-帳戶-😀"), now=NOW).account_id == "Größe-帳戶-😀"


def test_canonical_bytes_do_not_depend_on_how_a_message_was_written() -> None:
    one = decode(message(amount=57.1, attributes={"b": 1, "a": 2.5}), now=NOW)
    other = decode(
        json.dumps(
            {"attributes": {"a": 2.5, "b": 1.0, "c": None}, "channel": None}
            | GOOD
            | {"amount": "57.100", "event_time": "2025-06-01T13:00:00+01:00"},
            indent=2,
        ).encode(),
        now=NOW,
    )
    assert content_equal(one, other)
    assert encode(one) == (
        b'{"account_id":"a-1","amount":"57.10","attributes":{"a":2.5,"b":1.0},'
        b'"currency":"EUR","event_time":"2025-06-01T12:00:00Z","transaction_id":"t-1"}'
    )
    assert not content_equal(one, decode(message(amount=57.11), now=NOW))


def test_canonical_bytes_mend_what_code_of_ours_left_uncanonical() -> None:
    berlin = timezone(timedelta(hours=2))
    loose = Transaction(
        transaction_id="t",
        account_id="a",
        event_time=datetime(2025, 6, 1, 12, tzinfo=berlin),
        amount=Decimal("1E+3"),
        currency="JPY",
    )
    assert b'"amount":"1000"' in encode(loose)
    assert b'"2025-06-01T10:00:00Z"' in encode(loose)


@given(
    amount_e4=st.integers(0, 10**16 - 1),
    currency=st.sampled_from(sorted(CURRENCY_DECIMALS)),
)
def test_whole_ten_thousandths_and_decimals_are_the_same_amount(
    amount_e4: int, currency: str
) -> None:
    amount = amount_from_e4(amount_e4, currency)
    assert amount_to_e4(amount) == amount_e4
    assert amount * 10_000 == amount_e4


texts = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=64)
floats = st.floats(allow_nan=False, allow_infinity=False)
transactions = st.builds(
    Transaction,
    transaction_id=texts,
    account_id=texts,
    event_time=st.datetimes(datetime(1990, 1, 1), datetime(2025, 12, 31)).map(  # noqa: DTZ001
        lambda moment: moment.replace(tzinfo=UTC)
    ),
    amount=st.decimals(0, 10**12 - 1, places=4),
    currency=st.sampled_from(sorted(CURRENCY_DECIMALS)),
    merchant_id=st.none() | texts,
    merchant_category=st.none() | texts,
    country=st.none() | st.sampled_from(sorted(COUNTRIES)),
    ip=st.none() | st.ip_addresses().map(str),
    latitude=st.none() | st.floats(-90, 90),
    longitude=st.none() | st.floats(-180, 180),
    attributes=st.dictionaries(
        texts,
        floats | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        max_size=5,
    ),
)


@given(transaction=transactions)
def test_decode_gives_back_what_encode_wrote(transaction: Transaction) -> None:
    value = encode(transaction)
    decoded = decode(value, now=NOW)
    assert decoded == transaction
    assert encode(decoded) == value


@given(transaction=transactions)
def test_escapes_spaces_and_numbers_change_nothing(transaction: Transaction) -> None:
    """The quick way and the careful way must read the same transaction."""
    loose = json.loads(encode(transaction))
    careful = json.dumps(loose, ensure_ascii=True, indent=1).encode()
    careful = careful.replace(b'"amount"', b'"\\u0061mount"')
    assert decode(careful, now=NOW) == transaction


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from([GOOD[name] for name in GOOD]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.sampled_from([*Transaction.__struct_fields__, "own", "x y"])
hostile_objects = st.dictionaries(names, json_values, max_size=8).map(
    lambda fields: json.dumps(GOOD | fields).encode()
)


@st.composite
def damaged_messages(draw: st.DrawFn) -> bytes:
    value = bytearray(draw(hostile_objects))
    for _ in range(draw(st.integers(0, 3))):
        value[draw(st.integers(0, len(value) - 1))] = draw(st.integers(0, 255))
    return bytes(value)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(value=st.binary(max_size=300) | hostile_objects | damaged_messages())
def test_any_bytes_become_a_transaction_or_an_input_error(value: bytes) -> None:
    try:
        transaction = decode(value, now=NOW)
    except InputError as error:
        assert error.reason in REASONS  # noqa: PT017
        return
    assert decode(encode(transaction), now=NOW) == transaction
    assert "\0" not in str(transaction)
    assert all(
        isinstance(item, str) or math.isfinite(item) for item in transaction.attributes.values()
    )


SECRET = "Zq7secretXv"


@given(
    field=names,
    item=st.sampled_from(
        [SECRET, f"{SECRET}\0", f"{SECRET}\u202e", SECRET * 200, [SECRET], {"a": {"b": SECRET}}]
    ),
    position=st.integers(0, 200),
)
def test_no_value_of_a_message_shows_in_its_error(field: str, item: object, position: int) -> None:
    value = json.dumps(GOOD | {field: item, "own2": [SECRET]}).encode()
    for attempt in (value, value[:position] + b"\xff" + value[position:], value[:-position]):
        with pytest.raises(InputError) as caught:
            decode(attempt, now=NOW)
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
