"""From an institution's columns to canonical ones, a whole column at a time.

Every function takes the column as read (Arrow, n rows), adds what cannot be used to `faults` and
returns n values; rows with faults hold something harmless, since the caller raises in the end.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fraudwatch.domain.limits import AMOUNT_DECIMALS, AMOUNT_LIMIT
from fraudwatch.domain.strict import EARLIEST
from fraudwatch.domain.transaction import amount_to_e4, exact_amount
from fraudwatch.errors import InputError
from streams.faults import Faults

Check = Callable[[str], str | None]
_ISO = r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?"
_OFFSET = r"(?:[zZ]|[+-]\d\d:?\d\d)"
_TICKS = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}


def as_texts(column: pa.ChunkedArray, name: str, faults: Faults) -> pa.ChunkedArray:
    """Any scalar column as text; whole numbers without a decimal point, empty texts as null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_floating(kind):  # whole numbers with gaps are often stored so
        column = pc.if_else(pc.is_nan(column), None, column)
        broken = pc.not_equal(pc.floor(column), column)
        faults.add_mask(_mask(broken), name, "wrong_type", "must be text or a whole number")
        column = pc.cast(pc.floor(column), pa.int64(), safe=False)
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        faults.add_row(0, name, "too_deep", "must be a column of numbers or texts")
        return pa.chunked_array([pa.nulls(len(column), pa.string())])
    texts = column.cast(pa.string())
    return pc.if_else(pc.equal(texts, ""), None, texts)


def text_column(
    column: pa.ChunkedArray,
    name: str,
    faults: Faults,
    check: Check,
    *,
    required: bool,
    plain: int = 0,
) -> pd.Series[str]:
    """Texts that pass `check` (which gives a reason or None); missing ones if not `required`.

    Printable ASCII of up to `plain` characters is known to pass, and not checked one by one.
    """
    texts = as_texts(column, name, faults)
    if required:
        faults.add_mask(_mask(pc.is_null(texts)), name, "missing_field")
    suspects = texts
    if plain:
        passing = pc.and_(pc.ascii_is_printable(texts), pc.less_equal(pc.utf8_length(texts), plain))
        suspects = pc.if_else(passing, None, texts)
    if suspects.null_count < len(suspects):
        codes, uniques = _factorize(suspects)
        reasons = [check(text) for text in uniques]
        for reason in sorted(filter(None, set(reasons))):
            broken = np.array([found == reason for found in reasons])
            faults.add_mask((codes >= 0) & broken[codes], name, reason)
    return _as_series(texts)


def amount_column(
    column: pa.ChunkedArray,
    name: str,
    faults: Faults,
    *,
    decimal_point: str,
    minor_decimals: NDArray[np.int64] | None,
) -> NDArray[np.int64]:
    """Exact amounts in ten-thousandths of the currency's unit.

    Texts, whole numbers and decimals are exact; floats are rounded to four decimals. Where the
    column counts in the smallest unit of the currency, `minor_decimals` (int64[n]) are those of
    each row's currency.
    """
    amounts: NDArray[np.int64]
    if pa.types.is_floating(column.type):
        numbers = column.to_numpy().astype(np.float64)
        missing = np.isnan(numbers)
        faults.add_mask(missing, name, "missing_field")
        outside = ~missing & ~((numbers > -0.00005) & (numbers < AMOUNT_LIMIT))
        faults.add_mask(outside, name, "out_of_range", "must be 0 or more and below 10**12")
        sound = np.where(missing | outside, 0.0, numbers)
        amounts = np.rint(sound * 10**AMOUNT_DECIMALS).astype(np.int64)
    else:
        codes, uniques = _factorize(as_texts(column, name, faults))
        faults.add_mask(codes < 0, name, "missing_field")
        parsed = [_parse_amount(text, decimal_point) for text in uniques]
        for reason in sorted({found for found in parsed if isinstance(found, str)}):
            broken = np.array([found == reason for found in parsed])
            faults.add_mask((codes >= 0) & broken[codes], name, reason)
        values = [0 if isinstance(found, str) else found for found in parsed]
        amounts = np.array([*values, 0], dtype=np.int64)[codes]  # -1, missing, takes the last
    if minor_decimals is not None:
        unit = 10**minor_decimals
        faults.add_mask(amounts % unit != 0, name, "too_precise", "must be whole smallest units")
        amounts //= unit
    return amounts


def time_column(
    column: pa.ChunkedArray, name: str, faults: Faults, *, form: str, zone: str
) -> pd.Series[pd.Timestamp]:
    """Times in UTC, to the microsecond.

    `form` is `iso`, `seconds`, `milliseconds`, `microseconds` (since 1970) or a strptime format.
    Times without an offset are in `zone`; of an hour that comes twice there the first one counts,
    one that never was is a fault.
    """
    missing = _mask(pc.is_null(column, nan_is_null=True))
    faults.add_mask(missing, name, "missing_field")
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        tz = getattr(column.type, "tz", None)
        moments = column.cast(pa.timestamp("us", tz), safe=False).to_pandas()
    elif form in _TICKS:
        moments = _from_ticks(column, name, faults, _TICKS[form])
    else:
        moments = _from_texts(_as_series(as_texts(column, name, faults)), form, zone)
    utc = _to_utc(moments, zone)
    faults.add_mask(utc.isna().to_numpy() & ~missing, name, "bad_time")
    faults.add_mask((utc < EARLIEST).to_numpy(), name, "absurd_time", "must not be before 1990")
    return utc


def number_column(
    column: pa.ChunkedArray, name: str, faults: Faults, low: float = -np.inf, high: float = np.inf
) -> NDArray[np.float64]:
    """Finite numbers from `low` to `high`, NaN where missing; booleans as 0 and 1."""
    numbers, strange = _numbers(column, name, faults)
    faults.add_mask(strange, name, "wrong_type", "must be a number")
    outside = np.isinf(numbers) | (numbers < low) | (numbers > high)
    faults.add_mask(outside, name, "out_of_range")
    return numbers


def holds_numbers(column: pa.ChunkedArray, name: str, faults: Faults) -> bool:
    """Whether every value that is there is a number."""
    return not _numbers(column, name, faults)[1].any()


def label_column(
    column: pa.ChunkedArray,
    name: str,
    faults: Faults,
    fraud: frozenset[str],
    legitimate: frozenset[str],
) -> NDArray[np.bool_]:
    """True for fraud; a value that is in neither list is a fault."""
    codes, uniques = _factorize(as_texts(column, name, faults))
    faults.add_mask(codes < 0, name, "missing_field")
    known = np.array([text.lower() in fraud | legitimate for text in uniques] + [True])
    faults.add_mask(~known[codes], name, "wrong_type", "is in neither list of label values")
    return np.array([text.lower() in fraud for text in uniques] + [False])[codes]


def _factorize(texts: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Codes (-1 where null) and the unique texts."""
    encoded = texts.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, encoded.dictionary.to_pylist()


def _as_series(texts: pa.ChunkedArray) -> pd.Series[str]:
    return pd.Series(texts.to_pandas(), dtype="str")


def _mask(array: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(array, False).to_numpy(), dtype=np.bool_)


def _parse_amount(text: str, decimal_point: str) -> int | str:
    """Ten-thousandths, or the reason why `text` is no amount."""
    try:
        return amount_to_e4(exact_amount(text.replace(decimal_point, ".")))
    except InputError as error:
        return error.reason


def _numbers(
    column: pa.ChunkedArray, name: str, faults: Faults
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers (NaN where missing), and where there is something that is no number."""
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
        return numbers, np.zeros(len(numbers), dtype=np.bool_)
    texts = _as_series(as_texts(column, name, faults))
    parsed = pd.to_numeric(texts, errors="coerce")
    numbers = parsed.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers, (texts.notna().to_numpy() & np.isnan(numbers))


def _from_ticks(
    column: pa.ChunkedArray, name: str, faults: Faults, factor: int
) -> pd.Series[pd.Timestamp]:
    if pa.types.is_integer(column.type):
        ticks = column.cast(pa.int64()).fill_null(0).to_numpy()
        outside = np.abs(ticks) > 10**16 // factor
        micros = np.where(outside, 0, ticks) * factor
    else:
        numbers = np.nan_to_num(number_column(column, name, faults))
        outside = np.abs(numbers) > 1e16 / factor
        micros = np.rint(np.where(outside, 0.0, numbers) * factor).astype(np.int64)
    faults.add_mask(outside, name, "bad_time")
    return pd.Series(micros.view("datetime64[us]")).dt.tz_localize("UTC")


def _from_texts(texts: pd.Series[str], form: str, zone: str) -> pd.Series[pd.Timestamp]:
    if form != "iso":
        with_offset = "%z" in form or "%Z" in form
        return pd.to_datetime(texts, format=form, errors="coerce", utc=with_offset)
    aware = texts.str.fullmatch(_ISO + _OFFSET, na=False)
    moments = pd.to_datetime(texts.where(aware), format="ISO8601", errors="coerce", utc=True)
    if not aware.all():
        naive = texts.where(texts.str.fullmatch(_ISO, na=False))
        local = pd.to_datetime(naive, format="ISO8601", errors="coerce")
        moments = moments.where(aware, _to_utc(local, zone))
    return moments


def _to_utc(moments: pd.Series[pd.Timestamp], zone: str) -> pd.Series[pd.Timestamp]:
    if moments.dt.tz is None:
        first = np.ones(len(moments), dtype=np.bool_)  # the earlier reading is summer time
        moments = moments.dt.tz_localize(zone, ambiguous=first, nonexistent="NaT")
    return moments.dt.tz_convert("UTC").astype("datetime64[us, UTC]")
